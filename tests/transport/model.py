"""What the tests of the node link share: a host that writes down what it is told."""

import random
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import trio

from enfilade.transport.carrier import Credentials, Handle
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.peer import Peer
from enfilade.transport.policy import Policy
from enfilade.transport.rendezvous import Rendezvous
from enfilade.transport.settings import Settings
from enfilade.transport.wire import OVERHEAD, Frame, Send


class Recorder:
    """A host that keeps everything."""

    def __init__(self) -> None:
        self.up: list[Peer] = []
        self.down: list[tuple[str, str]] = []
        self.frames: list[Frame] = []
        self.handles: list[Handle] = []
        self.refused: list[str] = []
        self.failed: list[str] = []
        self.news: list[bool] = []
        """Whether each of the failures had another reason than the one before."""

    def peer_up(self, peer: Peer) -> None:
        self.up.append(peer)

    def peer_frames(self, peer: Peer, frames: Sequence[Frame], handles: Sequence[Handle]) -> None:
        self.frames += frames
        self.handles += handles

    def peer_down(self, peer: Peer, reason: str) -> None:
        self.down.append((peer.name, reason))

    def attempt_failed(self, address: str, error: Exception, *, is_known: bool) -> None:
        self.failed.append(str(error))
        self.news.append(not is_known)

    def caller_refused(self, reason: str) -> None:
        self.refused.append(reason)

    def tasks_runnable(self) -> int:
        return tasks_runnable()

    def numbers(self) -> list[int]:
        """The numbers in the plain messages that came, in order."""
        return [
            msgspec.msgpack.decode(frame.payload, type=int)
            for frame in self.frames
            if isinstance(frame, Send)
        ]


def message(number: int) -> Send:
    """A plain message with a number in it."""
    return Send(1, msgspec.Raw(msgspec.msgpack.encode(number)))


def tasks_runnable() -> int:
    """The tasks of the loop that wait for their turn."""
    return trio.lowlevel.current_statistics().tasks_runnable


class Loss:
    """Loses a part of what is said after handshakes, at random.

    Attributes:
        share: of the batches that are lost.
        lost: how many were.
        carried: how many were not.
    """

    def __init__(self, share: float, seed: int) -> None:
        self.share = share
        self.lost = self.carried = 0
        self._random = random.Random(seed)

    def __call__(self, data: bytes) -> bool:
        if self._random.random() >= self.share or is_of_handshake(data):
            self.carried += 1
            return False
        self.lost += 1
        return True


def is_of_handshake(data: bytes) -> bool:
    """Tell whether a batch is one of a handshake: its frame is an array that opens with a tag up to 5."""
    return len(data) > OVERHEAD + 1 and data[OVERHEAD] & 0xF0 == 0x90 and data[OVERHEAD + 1] <= 5


class Station:
    """One node of a test: a rendezvous on a memory network, and its recorder."""

    def __init__(
        self,
        network: MemoryNetwork,
        name: str,
        *,
        incarnation: int = 1,
        credentials: Credentials | None = None,
        policy: Policy | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.host = Recorder()
        self.carrier = network.carrier(name, credentials)
        self.rendezvous = Rendezvous(
            self.carrier,
            name=name,
            zone="z",
            incarnation=incarnation,
            policy=policy or Policy.same_user(),
            host=self.host,
            settings=settings,
        )

    async def run(
        self, address: str | None, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Be there until cancelled."""
        addresses = [] if address is None else [address]
        async with trio.open_nursery() as nursery, self.rendezvous.open(addresses, nursery):
            task_status.started()
            await trio.sleep_forever()


class Start(Protocol):
    """What the fixture `start` is."""

    async def __call__(self, name: str, *, listens: bool = True, **options: Any) -> Station: ...
