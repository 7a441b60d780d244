"""Scrapes: requests for the metrics of nodes over HTTP, and their answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol

import trio

from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.node.node import Node
from enfilade.actors.observing.telemetry.extra import MissingExtra
from enfilade.actors.observing.telemetry.metrics import Readings
from enfilade.actors.observing.telemetry.opentelemetry import Instrumentation
from enfilade.actors.observing.telemetry.prometheus import exposition

__all__ = ["AT_A_TIME", "PATH", "answer_scrapes", "own_answers", "text_of"]

AT_A_TIME: Final = 4
"""How many clients are served at a time."""

PATH: Final = "/metrics"


class NodeReader(Protocol):
    """The readings of one node."""

    @property
    def name(self) -> str:
        """The name of the node."""

    @property
    def readings(self) -> Readings | None:
        """The last readings; None while there are none."""

    async def refresh(self) -> None:
        """Have the last readings, before they are told."""


class OwnReader:
    """The readings of the node that serves them itself. Nothing is measured while nobody asks.

    Attributes:
        name: the name of the node.
        readings: the last ones.
    """

    def __init__(self, node: Node, *, messages: bool) -> None:
        self.name = node.full_name
        self.readings: Readings | None = None
        self._metrics = Instrumentation(node, None, messages=messages)
        node.start_service(self._metrics.run, "metrics")

    async def refresh(self) -> None:
        """Take the last readings, or the first. A checkpoint."""
        self.readings = await self._metrics.read()


def own_answers(node: Node, *, messages: bool) -> Callable[[trio.abc.Stream], Awaitable[None]]:
    """Return what answers the scrapes of one connection with the metrics of `node`. Not a checkpoint.

    Raises:
        Refusal: a package is missing.
    """
    text_of([])
    try:
        import enfilade.actors.cli.observe.web.http  # noqa: F401 - h11 is of the extra "observe"
    except ImportError as error:
        text = "[telemetry] listen needs the extra \"observe\": pip install 'enfilade[observe]'"
        raise Refusal(text) from error
    return partial(answer_scrapes, [OwnReader(node, messages=messages)], trio.CapacityLimiter(AT_A_TIME))


async def answer_scrapes(
    readers: Sequence[NodeReader], limit: trio.CapacityLimiter, stream: trio.abc.Stream
) -> None:
    """Answer the requests of one connection: GET and HEAD of `/metrics`, and nothing else."""
    from enfilade.actors.cli.observe.web.http import Answer, HttpConnection, Malformed

    lost = trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError
    async with stream:
        http = HttpConnection(stream)
        try:
            while (request := await http.request()) is not None:
                if request.method not in ("GET", "HEAD"):
                    answer = Answer(405, headers=(("allow", "GET, HEAD"),))
                elif request.path != PATH:
                    answer = Answer(404, f"expected {PATH}\n".encode())
                else:
                    async with limit:
                        for reader in readers:
                            await reader.refresh()
                        kind, text = text_of(readers, request.header("accept") or "")
                    answer = Answer(200, text, kind)
                if not await http.answer(answer):
                    return
        except Malformed as error:
            await http.answer(Answer(error.status))
        except lost:
            return


def text_of(readers: Sequence[NodeReader], accept: str = "") -> tuple[str, bytes]:
    """The media type and the text of the metrics of all nodes of which there are readings.

    Raises:
        Refusal: a package is missing.
    """
    found = {reader.name: reader.readings for reader in readers}
    try:
        return exposition({name: each for name, each in found.items() if each is not None}, accept)
    except MissingExtra as error:
        raise Refusal(f"metrics: {error}") from error
