"""Agreement among servers on one order of entries: Raft, as far as a registry needs it.

A replica's term, vote and log survive the end of its process. An entry is committed when a majority has it,
and an entry of the leader's own term has been. A leader that has not heard a majority for as long as an
election takes steps down; until then it takes entries that it can never commit, and answers reads from what
it knows. That is what a client of the real servers has to live with.

Source: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", where it describes Raft.

Nothing here does input or output, or looks at a clock.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias

import attrs

__all__ = ["ELECTION", "TICK", "Replica"]

TICK: Final = 0.1
"""Seconds between calls of `Replica.tick`."""

BEAT: Final = 2
"""Ticks between two words of a leader that has nothing to say."""

ELECTION: Final = (0.5, 1.0)
"""Seconds without a leader after which a replica stands for election; drawn, so that not all do at once."""

MOST_ENTRIES: Final = 64
"""Entries in one message."""

Word: TypeAlias = list[Any]
"""What one replica says to another: a kind, a term, and what belongs to the kind."""


class Draws(Protocol):
    """A stream of chance."""

    def random(self) -> float:
        """Draw a float from 0 to 1, 1 excluded."""
        ...


@attrs.define(eq=False)
class Memory:
    """The contents of a replica's disk.

    Attributes:
        term: the latest that it has heard of.
        vote: whom it has elected in it.
        log: the entries, each with the term that it was made in.
    """

    term: int = 0
    vote: str | None = None
    log: list[tuple[int, bytes]] = attrs.field(factory=list)


class Replica:
    """One server's part in the agreement.

    Args:
        name: of the server.
        others: the names of all other servers.
        memory: what it has on its disk.
        say: says a word to another server, which may get lost.
        apply: is given each entry that is committed, in order, with its place in the log.
        changed: called when it becomes the leader, or is it no longer.
        draws: when it stands for election.

    Attributes:
        is_leader: whether it takes itself for the leader.
    """

    def __init__(
        self,
        name: str,
        others: Sequence[str],
        memory: Memory,
        *,
        say: Callable[[str, Word], None],
        apply: Callable[[int, bytes], None],
        changed: Callable[[], None],
        draws: Draws,
    ) -> None:
        self.is_leader = False
        self._name = name
        self._others = tuple(others)
        self._memory = memory
        self._say = say
        self._apply = apply
        self._changed = changed
        self._draws = draws
        self._committed = 0
        self._votes: dict[str, None] = {}
        self._is_candidate = False
        self._matching: dict[str, int] = {}
        self._next: dict[str, int] = {}
        self._heard: dict[str, int] = {}
        self._ticks = 0
        self._patience = 0
        self._rest()

    @property
    def is_majority(self) -> int:
        """The number of servers that make a majority."""
        return (len(self._others) + 1) // 2 + 1

    def propose(self, entry: bytes) -> int | None:
        """Take an entry, and return its place in the log; None if this is not the leader. Whether it is
        committed is seen when it is applied.
        """
        if not self.is_leader:
            return None
        self._memory.log.append((self._memory.term, entry))
        self._replicate()
        self._commit()
        return len(self._memory.log)

    def tick(self) -> None:
        """Let `TICK` seconds pass."""
        self._ticks += 1
        if self.is_leader:
            recent = [name for name, tick in self._heard.items() if self._ticks - tick < _ticks(ELECTION[1])]
            if len(recent) + 1 < self.is_majority:
                self._follow(self._memory.term)
            elif self._ticks % BEAT == 0:
                self._replicate()
        else:
            self._patience -= 1
            if self._patience <= 0:
                self._stand()

    def step_down(self) -> None:
        """Be the leader no longer, as a server does that is about to go."""
        if self.is_leader:
            self._follow(self._memory.term)

    def heard(self, sender: str, word: Word) -> None:
        """Take a word of another server."""
        kind, term, *rest = word
        if term > self._memory.term:
            self._memory.vote = None
            self._follow(term)
        match kind:
            case "elect":
                self._vote(sender, term, *rest)
            case "vote":
                if self._is_candidate and term == self._memory.term and rest[0]:
                    self._votes[sender] = None
                    self._count()
            case "append":
                self._append(sender, term, *rest)
            case "appended":
                if self.is_leader and term == self._memory.term:
                    self._appended(sender, *rest)

    # Elections.

    def _stand(self) -> None:
        self._memory.term += 1
        self._memory.vote = self._name
        self._is_candidate = True
        self._votes = {self._name: None}
        self._rest()
        for other in self._others:
            self._say(other, ["elect", self._memory.term, *self._end()])
        self._count()

    def _end(self) -> tuple[int, int]:
        log = self._memory.log
        return len(log), log[-1][0] if log else 0

    def _vote(self, candidate: str, term: int, size: int, last: int) -> None:
        memory = self._memory
        own_size, own_last = self._end()
        is_behind = (last, size) < (own_last, own_size)
        is_given = term == memory.term and memory.vote in (None, candidate) and not is_behind
        if is_given:
            memory.vote = candidate
            self._rest()
        self._say(candidate, ["vote", memory.term, is_given])

    def _count(self) -> None:
        if self._is_candidate and len(self._votes) >= self.is_majority:
            self._is_candidate = False
            self.is_leader = True
            self._matching = dict.fromkeys(self._others, 0)
            self._next = dict.fromkeys(self._others, len(self._memory.log))
            self._heard = dict.fromkeys(self._others, self._ticks)
            self._changed()
            self.propose(b"")  # of this term, so that what came before it can be committed

    def _follow(self, term: int) -> None:
        self._memory.term = term
        self._is_candidate = False
        self._rest()
        if self.is_leader:
            self.is_leader = False
            self._changed()

    def _rest(self) -> None:
        low, high = ELECTION
        self._patience = _ticks(low + (high - low) * self._draws.random())

    # Entries.

    def _replicate(self) -> None:
        for other in self._others:
            self._send(other)

    def _send(self, other: str) -> None:
        log, begin = self._memory.log, self._next[other]
        before = log[begin - 1][0] if begin else 0
        entries = log[begin : begin + MOST_ENTRIES]
        self._say(other, ["append", self._memory.term, begin, before, entries, self._committed])

    def _append(
        self, leader: str, term: int, begin: int, before: int, entries: list[Any], committed: int
    ) -> None:
        memory = self._memory
        if term < memory.term:
            self._say(leader, ["appended", memory.term, False, 0])
            return
        self._is_candidate = False
        self._rest()
        log = memory.log
        if begin > len(log) or (begin and log[begin - 1][0] != before):
            self._say(leader, ["appended", term, False, min(begin - 1, len(log))])
            return
        for place, (made_in, entry) in enumerate(entries, begin):
            if place < len(log) and log[place][0] != made_in:
                del log[place:]
            if place == len(log):
                log.append((made_in, entry))
        known = begin + len(entries)
        self._say(leader, ["appended", term, True, known])
        self._apply_to(min(committed, known))

    def _appended(self, follower: str, is_done: bool, known: int) -> None:
        self._heard[follower] = self._ticks
        if not is_done:
            self._next[follower] = max(0, known)
            self._send(follower)
            return
        self._matching[follower] = max(self._matching[follower], known)
        self._next[follower] = max(self._next[follower], known)
        self._commit()
        if self._next[follower] < len(self._memory.log):
            self._send(follower)

    def _commit(self) -> None:
        log = self._memory.log
        places = sorted([len(log), *self._matching.values()], reverse=True)
        agreed = places[self.is_majority - 1]
        if agreed and log[agreed - 1][0] == self._memory.term:
            self._apply_to(agreed)

    def _apply_to(self, end: int) -> None:
        while self._committed < end:
            self._committed += 1
            self._apply(self._committed, self._memory.log[self._committed - 1][1])


def _ticks(seconds: float) -> int:
    return round(seconds / TICK)
