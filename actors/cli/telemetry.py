"""The table `[telemetry]` of a zone file: what the node tells the tools of others.

What tells them is imported by a node that does.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal

import msgspec
import trio
import typer

from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.node.node import Node

__all__ = ["TelemetryTable"]


class TelemetryTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The table: the arguments of `instrument`, and the address at which metrics are served."""

    metrics: bool = False
    messages: bool = True
    spans: float | None = None
    durations: int | None = None
    record_exceptions: bool = False
    propagation: Literal["parent", "link"] = "parent"
    listen: str | None = None

    def __post_init__(self) -> None:
        if self.spans is not None and not 0 <= self.spans <= 1:
            raise ValueError(f"telemetry.spans: expected a probability between 0 and 1, got {self.spans}")
        if self.durations is not None and self.durations < 1:
            raise ValueError(f"telemetry.durations: expected an integer of at least 1, got {self.durations}")
        if self.listen is not None:
            self.place()

    def place(self) -> tuple[str, int]:
        """The address and the port at which metrics are served. Raises ValueError if others reach it, too."""
        host, _, port = str(self.listen).rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        with contextlib.suppress(ValueError):
            if port.isdecimal() and int(port) < 1 << 16 and ipaddress.ip_address(host).is_loopback:
                return host, int(port)
        raise ValueError(
            "telemetry.listen: expected a loopback address and a port, such as '127.0.0.1:9464', "
            f"got {self.listen!r}; other machines get at it by `ssh -L`"
        )

    def instrument(self, node: Node) -> None:
        """Have metrics and spans made of the node, as far as the table wants it, by OpenTelemetry's global
        providers.

        Raises:
            Refusal: a package is missing.
        """
        if not self.metrics and self.spans is None and self.durations is None:
            return
        from enfilade.actors.observing.telemetry import instrument
        from enfilade.actors.observing.telemetry.extra import MissingExtra

        try:
            instrument(
                node,
                messages=self.messages,
                spans=self.spans,
                durations=self.durations,
                record_exceptions=self.record_exceptions,
                propagation=self.propagation,
            )
        except MissingExtra as error:
            raise Refusal(f"[telemetry]: {error}") from error

    async def open_server(self, node: Node) -> Callable[[], Awaitable[None]] | None:
        """Listen where metrics are served, and return what serves them until cancelled; None for nowhere.

        Raises:
            Refusal: the port cannot be had, or a package is missing.
        """
        if self.listen is None:
            return None
        from enfilade.actors.cli.scrapes import PATH, own_answers

        answer = own_answers(node, messages=self.messages)
        host, port = self.place()
        try:
            listeners = await trio.open_tcp_listeners(port, host=host)
        except OSError as error:
            raise Refusal(f"[telemetry] listen: {self.listen} cannot be had: {error.strerror}") from error
        shown = f"[{host}]" if ":" in host else host
        typer.echo(f"metrics at http://{shown}:{listeners[0].socket.getsockname()[1]}{PATH}")
        return partial(trio.serve_listeners, answer, listeners)
