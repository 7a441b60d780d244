"""Outlets of a mesh: the ways to the inlets of one start of a node, and to whoever has a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import trio

from enfilade.transport.carrier import CarrierError, Handle, Outlet, Status
from enfilade.transport.mesh.connection import Connection
from enfilade.transport.mesh.doubts import Doubts
from enfilade.transport.mesh.presence import Death
from enfilade.transport.mesh.protocol import Message, opening_of

__all__ = ["MeetingOutlet", "MeshOutlet", "Place"]


class Place(NamedTuple):
    """An inlet of another node."""

    node: str
    incarnation: int
    number: int


class Home(Protocol):
    """The carrier that outlets are of: `carrier.MeshCarrier`."""

    @property
    def connection(self) -> Connection: ...

    @property
    def doubts(self) -> Doubts: ...

    def head(self, handles: Sequence[Handle]) -> bytes: ...

    def subject_of(self, place: Place) -> str: ...

    def meeting_of(self, node: str) -> str: ...

    def closed(self, outlet: MeshOutlet) -> None: ...


class _Outlet(Outlet):
    """What both kinds of outlets share: the answer that is waited for, and the fault that ends it."""

    def __init__(self, carrier: Home) -> None:
        self._carrier = carrier
        self._answer: Status | None = None
        self._is_wanted = False
        self._fault = ""
        self._changed = trio.Event()

    def answer(self) -> Status | None:
        self._check()
        answer, self._answer = self._answer, None
        if answer is not None:
            self._is_wanted = False
        return answer

    async def wait(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._answer is None or not self._is_wanted:
            self._check()
            self._changed = trio.Event()
            await self._changed.wait()
        self._check()

    def want(self) -> None:
        self._is_wanted = True
        self._changed.set()

    def break_off(self, fault: str) -> None:
        """Fail from now on."""
        self._fault = self._fault or fault
        self._changed.set()

    def _check(self) -> None:
        if self._fault:
            raise CarrierError(self._fault)

    def _answered(self) -> None:
        self._answer = Status.ACCEPTED
        self._changed.set()


class MeshOutlet(_Outlet):
    """The right to publish for one inlet; see `Outlet`.

    Attributes:
        place: where it leads.
    """

    def __init__(self, carrier: Home, place: Place) -> None:
        super().__init__(carrier)
        self.place = place
        self._opening = opening_of(carrier.subject_of(place))
        self._kept: bytes | None = None

    def start(
        self, data: bytes, handles: Sequence[Handle] = (), *, repeatable: bool = False
    ) -> Status | None:
        self._check()
        head = self._carrier.head(handles)
        opening = self._opening % (len(head) + len(data))
        message = b"".join((opening, head, data, b"\r\n"))  # copied once, however long
        connection = self._carrier.connection
        if connection.is_ready and connection.publish_encoded(message):
            return Status.ACCEPTED
        self._kept = message
        return None

    @property
    def is_waiting(self) -> bool:
        """True while a batch is kept until there is a server."""
        return self._kept is not None

    def try_again(self) -> None:
        """Publish the batch that was kept, if there is one, and the connection is ready."""
        connection = self._carrier.connection
        if self._kept is not None and connection.is_ready and connection.publish_encoded(self._kept):
            self._kept = None
            self._answered()

    def died(self, death: Death) -> None:
        """Fail, because the node at the other end is dead."""
        self.break_off(f"{death.node} is dead: {death.reason}")

    def leads_to(self, node: str, incarnation: int, number: int) -> bool:
        """Tell whether it leads to an inlet."""
        return self.place == (node, incarnation, number)

    def close(self) -> None:
        self.break_off("the outlet is closed")
        self._kept = None
        self._carrier.closed(self)


class MeetingOutlet(_Outlet):
    """The right to say Hello to a node by its name; the absence of the node is an answer, too."""

    def __init__(self, carrier: Home, node: str) -> None:
        super().__init__(carrier)
        self._node = node
        self._forget: Callable[[], None] | None = None

    def start(
        self, data: bytes, handles: Sequence[Handle] = (), *, repeatable: bool = False
    ) -> Status | None:
        self._check()
        if not self._carrier.connection.is_up:
            raise CarrierError(f"node {self._node} cannot be called: no server of the mesh answers now")
        message = self._carrier.head(handles) + data
        self._forget = self._carrier.connection.ask(
            self._carrier.meeting_of(self._node), message, self._heard
        )
        return None

    def _heard(self, message: Message) -> None:
        if message.has_no_responders:
            self._carrier.doubts.hint(self._node)
            self.break_off(f"no node {self._node} is in the mesh")
        else:
            self._answered()

    def close(self) -> None:
        if self._forget is not None:
            self._forget()
        self.break_off("the outlet is closed")
