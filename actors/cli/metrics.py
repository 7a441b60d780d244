"""`enfilade metrics`: the metrics of nodes as text, once or whenever somebody asks over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import trio
import typer

from enfilade.actors.cli.observe.command import nodes_behind
from enfilade.actors.cli.observe.observed import Look, Observed
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.cli.scrapes import AT_A_TIME, PATH, answer_scrapes, text_of
from enfilade.actors.observing.protocol.views import MetricsView
from enfilade.actors.observing.telemetry.metrics import Readings
from enfilade.actors.observing.watches.client import State

__all__ = ["print_metrics", "serve_metrics"]

PATIENCE: Final = 10.0
"""Seconds to wait for the first metrics of a node."""

EVERY: Final = 5.0
"""Seconds between two readings while they are served."""


class Reader:
    """The last readings of one node.

    Attributes:
        observed: the node.
        settled: set once there are readings, or the node cannot be connected to.
    """

    def __init__(self, observed: Observed, *, messages: bool) -> None:
        self.observed = observed
        self.settled = trio.Event()
        self._readings: Readings | None = None
        observed.on_change = self._changed
        self._look = observed.look(Look(MetricsView(messages), self._take, interval=EVERY))

    @property
    def name(self) -> str:
        """The name of the node."""
        return self.observed.name

    async def refresh(self) -> None:
        """Nothing: it reads all the time."""

    @property
    def readings(self) -> Readings | None:
        """The last readings of the node; None while it is not connected."""
        return self._readings if self.observed.is_up else None

    @property
    def problem(self) -> str:
        """Why there are no readings."""
        return self._look.refused or self.observed.trouble or f"{self.observed.name} has not answered in time"

    async def _take(self, state: State) -> None:
        self._readings = state.fields["readings"]
        self.settled.set()

    def _changed(self) -> None:
        if self.observed.trouble:
            self.settled.set()


def print_metrics(given: Sequence[Path], secret: Path | None, *, messages: bool = False) -> int:
    """Print the metrics of nodes, in the text format of Prometheus.

    Args:
        given: the nodes, as of `places.place_of`; none for the node that runs.
        secret: the file of the secret that they ask for; None.
        messages: whether messages are counted.

    Returns:
        0.

    Raises:
        Refusal: a node cannot be reached or does not let us, or a package is missing.
    """
    nodes = nodes_behind(given, secret)

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            readers = [Reader(node, messages=messages) for node in nodes]
            for node in nodes:
                nursery.start_soon(node.run)
            with trio.move_on_after(PATIENCE):
                for reader in readers:
                    await reader.settled.wait()
            text = text_of(readers)[1]
            silent = next((reader.problem for reader in readers if reader.readings is None), None)
            nursery.cancel_scope.cancel()
        if silent is not None:
            raise Refusal(silent)
        typer.echo(text.decode(), nl=False)

    trio.run(run)
    return 0


def serve_metrics(given: Sequence[Path], secret: Path | None, port: int, *, messages: bool = True) -> int:
    """Serve the metrics of nodes at a port of the loopback addresses, until interrupted.

    A node that is gone is left out until it is there again.

    Args:
        given: the nodes, as of `places.place_of`; none for the node that runs.
        secret: the file of the secret that they ask for; None.
        port: the port; 0 for a free one.
        messages: whether messages are counted.

    Returns:
        0.

    Raises:
        Refusal: the port cannot be had, there is no such node, or a package is missing.
    """
    nodes = nodes_behind(given, secret)
    try:
        text_of([])
        trio.run(_serve, nodes, port, messages)
    except* KeyboardInterrupt:
        pass
    return 0


async def _serve(nodes: Sequence[Observed], port: int, messages: bool) -> None:
    try:
        from enfilade.actors.cli.observe.web.server import open_listeners  # h11 is of the extra "observe"
    except ImportError as error:
        raise Refusal("--listen needs the extra \"observe\": pip install 'enfilade[observe]'") from error
    try:
        listeners = await open_listeners(port)
    except OSError as error:
        raise Refusal(f"metrics cannot be served at port {port}: {error.strerror}") from error
    readers = [Reader(node, messages=messages) for node in nodes]
    limit = trio.CapacityLimiter(AT_A_TIME)
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.run)
        nursery.start_soon(trio.serve_listeners, partial(answer_scrapes, readers, limit), listeners)
        found = listeners[0].socket.getsockname()[1]
        typer.echo(f"metrics at http://127.0.0.1:{found}{PATH}; ctrl-c to end")
