"""Faults made on purpose, one in each patch, which the scenes must find: so a scene can see at all."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from enfilade.actors.messages.errors import NoProcess
from enfilade.actors.peers.inbound import Inbound
from enfilade.actors.peers.ledger import Ledger
from enfilade.actors.peers.mesh.global_ref import HolderSeeker
from enfilade.actors.peers.remote_node import RemoteNode
from enfilade.actors.processes.timers import Timers
from enfilade.transport import node_link, wire
from enfilade.transport.mesh.lease import Owner, Watch
from enfilade.transport.node_link import NodeLink

__all__ = ["SABOTAGE"]

Patch = Callable[[pytest.MonkeyPatch], None]


def link_after_the_news(patch: pytest.MonkeyPatch) -> None:
    """Enter a child of another node in the books after its start was told, not before."""
    say = RemoteNode.say

    def late(self: Any, frame: Any) -> None:
        if not isinstance(frame, wire.Spawned):
            say(self, frame)
            return
        books = self._open
        newest = list(books.links.items())[-1:]
        for key, _ in newest:
            del books.links[key]
        say(self, frame)
        books.links.update(newest)

    patch.setattr(RemoteNode, "say", late)


def children_outlive_the_node_link(patch: pytest.MonkeyPatch) -> None:
    """Forget the links across a node link that is lost, instead of ending them."""
    lose = Ledger.lose

    def forgetful(self: Any, watcher: Any) -> None:
        self.links.clear()
        lose(self, watcher)

    patch.setattr(Ledger, "lose", forgetful)


def no_sequence(patch: pytest.MonkeyPatch) -> None:
    """Take in a batch that came before."""
    decode = node_link.decode_batch

    def renumbered(data: Any) -> Any:
        batch = decode(data)
        batch.sequence = renumbered.link._expected  # type: ignore[attr-defined]
        return batch

    check = NodeLink.received

    def received(self: Any, *args: Any, **kwargs: Any) -> Any:
        renumbered.link = self  # type: ignore[attr-defined]
        return check(self, *args, **kwargs)

    patch.setattr(NodeLink, "received", received)
    patch.setattr(node_link, "decode_batch", renumbered)


def messages_vanish(patch: pytest.MonkeyPatch) -> None:
    """Let all messages of other nodes vanish on their arrival, from the hundredth on."""
    hand_in = Inbound._hand_in
    numbers = itertools.count()

    def forgetful(self: Any, *message: Any) -> None:
        if next(numbers) < 100:
            hand_in(self, *message)

    patch.setattr(Inbound, "_hand_in", forgetful)


def answers_come_late(patch: pytest.MonkeyPatch) -> None:
    """Answer each call of another node with what the one before was to be answered with."""
    answer = RemoteNode.answer
    latest: list[Any] = [0]

    def late(self: Any, number: int, succeeded: bool, value: Any) -> None:
        if succeeded:
            latest.append(value)
            value = latest.pop(0)
        answer(self, number, succeeded, value)

    patch.setattr(RemoteNode, "answer", late)


def calls_have_more_time(patch: pytest.MonkeyPatch) -> None:
    """Let a call wait half as long again as its limit says."""
    lane = Timers.lane
    patch.setattr(Timers, "lane", lambda self, seconds: lane(self, 1.5 * seconds))


def leases_that_last_too_long(patch: pytest.MonkeyPatch) -> None:
    """Go on as a holder when others may know already that the lease is over."""
    confirm = Owner._confirm

    def confirmed(self: Any, lease: Any, now: float) -> None:
        confirm(self, lease, now)
        if self.term:
            self.good_until = now + 4 * self._times.seconds

    patch.setattr(Owner, "_confirm", confirmed)


def leases_are_broken_at_once(patch: pytest.MonkeyPatch) -> None:
    """Take what a node holds without waiting until it knows that it does not."""
    patch.setattr(Watch, "is_over", lambda self, now: self._seen is not None)


def holders_are_remembered(patch: pytest.MonkeyPatch) -> None:
    """Go on calling the child that had a name, and waits for it now, when another one has got it."""
    patch.setattr(HolderSeeker, "absences", (NoProcess,))


SABOTAGE: dict[str, tuple[str, Patch, int]] = {
    "link after the news": ("emigrants", link_after_the_news, 21),
    "children outlive the node link": ("emigrants", children_outlive_the_node_link, 0),
    "no sequence": ("messages", no_sequence, 0),
    "messages vanish": ("messages", messages_vanish, 0),
    "answers come late": ("messages", answers_come_late, 0),
    "calls have more time": ("gates", calls_have_more_time, 0),
    "leases that last too long": ("contested keys", leases_that_last_too_long, 8),
    "leases are broken at once": ("keyed actors", leases_are_broken_at_once, 7),
    "holders are remembered": ("contested names", holders_are_remembered, 1),
}
"""For each fault: the scene that finds it, the patch, and the first seed that found it when last looked."""
