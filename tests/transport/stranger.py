"""A peer that keeps to no rule: it shakes hands as a node does, and then says what the test tells it to."""

from collections.abc import Sequence
from typing import Any

import msgspec
import trio.testing

from enfilade.transport.carrier import Carrier, CarrierError, Handle, Inlet, Outlet, Status, hand_over
from enfilade.transport.terms import version_of
from enfilade.transport.wire import (
    Frame,
    Hello,
    Ready,
    Welcome,
    decode_batch,
    encode_batch,
    encode_frame,
)

__all__ = ["Stranger", "payload"]


def payload(value: Any) -> msgspec.Raw:
    """Plain MessagePack as a payload."""
    return msgspec.Raw(msgspec.msgpack.encode(value))


class Stranger:
    """One node link that is made and used by hand."""

    def __init__(self, carrier: Carrier, name: str = "mallory@wild", incarnation: int = 666) -> None:
        self.carrier = carrier
        self.name = name
        self.incarnation = incarnation
        self.inlet: Inlet = carrier.inlet(capacity=1 << 24, largest=1 << 24)
        self.outlet: Outlet
        self.sequence = 0
        self.heard: list[Frame] = []
        self.is_cut_off = False

    async def say_hello(self, address: str, **fields: Any) -> Frame:
        """Say Hello at a rendezvous, and return the first answer."""
        version = version_of(has_secret=False, is_lossless=self.carrier.traits.lossless)
        hello = {
            "oldest": version,
            "newest": version,
            "name": self.name,
            "zone": "wild",
            "incarnation": self.incarnation,
            "window": 1 << 20,
            "period": 1000.0,
        }
        meeting = await self.carrier.open(address)
        frame = encode_frame(Hello(**{**hello, **fields}))
        await hand_over(meeting, encode_batch(0, 0, [frame]), (self.inlet.handle,))
        meeting.close()
        return await self.answer()

    async def answer(self) -> Frame:
        """The next answer of a handshake."""
        arrival, *rest = await self.inlet.receive()
        self.is_cut_off = any(later.data is None for later in rest)
        if arrival.data is None:
            raise CarrierError("the other end hung up")
        if arrival.handles:
            self.outlet = self.carrier.outlet(arrival.handles[0])
        (frame,) = decode_batch(arrival.data).frames
        return frame

    async def connect(self, address: str) -> None:
        """Become a peer of the node at the address."""
        answer = await self.say_hello(address)
        assert isinstance(answer, Welcome), answer
        await self.say(Ready())

    async def say(self, frame: Frame) -> None:
        """Say something of the handshake."""
        await hand_over(self.outlet, encode_batch(0, 0, [encode_frame(frame)]))

    async def throw(
        self, *frames: Any, handles: Sequence[Handle] = (), consumed: int | None = None
    ) -> Status:
        """Send one batch of frames, of `wire` or lists, and wait until it has been taken in."""
        data = [each if isinstance(each, bytes) else msgspec.msgpack.encode(each) for each in frames]
        status = await hand_over(self.outlet, encode_batch(self.sequence, consumed or 0, data), handles)
        self.sequence += status is Status.ACCEPTED
        await trio.testing.wait_all_tasks_blocked()
        self.listen()
        return status

    def listen(self) -> None:
        """Take in what has come."""
        for arrival in self.inlet.take():
            if arrival.data is None:
                self.is_cut_off = True
            else:
                self.heard += decode_batch(arrival.data).frames
            for handle in arrival.handles:
                self.carrier.discard(handle)

    def heard_of(self, kind: type[Any]) -> list[Any]:
        """The frames of one kind that have come."""
        self.listen()
        return [frame for frame in self.heard if isinstance(frame, kind)]

    def close(self) -> None:
        """Be gone."""
        self.inlet.close()
        self.outlet.close()
