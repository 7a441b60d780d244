"""Two nodes in one run, and a carrier that delivers when told to: a node link without the link."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from enfilade.actors import Node, Ref
from enfilade.actors.messages.ref import RemoteRef
from enfilade.actors.messages.signals import Call, Signal
from enfilade.actors.processes.local_ref import LocalRef


class Reply(Call):
    """A call that came from the other side: its outcome travels back at once."""

    def __init__(self, origin: Any, caller: Ref[Any] | None) -> None:
        super().__init__(origin.method, origin.args, origin.kwargs, caller)
        self.origin = origin

    def reply(self, value: Any) -> None:
        self.settled = True
        self.origin.reply(value)

    def fail(self, error: BaseException) -> None:
        self.settled = True
        self.origin.fail(error)

    def abandon(self, reason: Any) -> None:
        self.settled = True
        self.origin.abandon(reason)


class Way:
    """One direction, in order; `deliver` puts a signal in, `arrive` lets the oldest come out."""

    def __init__(self, origin: Node, destination: Node) -> None:
        self.origin = origin
        self.destination = destination
        self.under_way: deque[tuple[int, Signal]] = deque()
        self.back: Way

    @property
    def node_name(self) -> str:
        return self.destination.full_name

    @property
    def incarnation(self) -> int:
        return self.destination.incarnation

    def ref(self, ref: Ref[Any]) -> RemoteRef[Any]:
        """How `ref`, a process of the destination, looks from the origin."""
        return RemoteRef(self.origin, self, ref.serial)

    def deliver(self, ref: RemoteRef[Any], signal: Signal) -> None:
        self.under_way.append((ref.serial, signal))

    def look(self) -> None:
        """Nothing arrives by itself."""

    def given_up(self, number: int) -> None:
        """Nobody is told."""

    async def send_wait(self, ref: RemoteRef[Any], message: Any) -> None:
        """There always is room."""
        ref.send(message)

    def arrive(self) -> bool:
        """Let one signal arrive; false when none is under way."""
        if not self.under_way:
            return False
        serial, signal = self.under_way.popleft()
        process = self.destination.processes.get(serial)
        if process is not None:
            process.deliver(self.translate(signal))
        return True

    def translate(self, signal: Any) -> Any:
        """`signal` as the destination sees it."""
        if isinstance(signal, Call):
            return Reply(signal, None)
        changes = {
            name: self.back.ref(value)
            for name in signal.__struct_fields__
            if isinstance(value := getattr(signal, name), LocalRef)
        }
        return msgspec.structs.replace(signal, **changes)


def connect(one: Node, other: Node) -> tuple[Way, Way]:
    """The ways from the first to the second, and back."""
    there, back = Way(one, other), Way(other, one)
    there.back, back.back = back, there
    return there, back
