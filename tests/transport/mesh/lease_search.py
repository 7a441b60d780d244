"""A search at random for two nodes that act for one name at a time, at an unfaithful registry.

Three nodes want one name. Their clocks are wrong by up to 9 %. Requests and answers are late or lost, a third
of the reads shows what was there up to 8 seconds ago, nodes are stopped for up to 15 seconds, or killed and
started again, and the registry loses its data now and then. What a node does is decided by `lease`; what is
left out in order to see that the search finds it is given as `Rules`.
"""

import heapq
import random
from collections.abc import Callable, Generator
from typing import Any, TypeAlias

import attrs

from enfilade.transport.mesh import lease as real
from enfilade.transport.mesh.lease import VERSION, Claim, Era, Lease, Owner, Place, Step, Times, Watch, broken

LEASE = 6.0
DRIFT = 0.09
STALE_SECONDS = 8.0
EPOCH = 1000
LONGEST_STOP = 15.0
LATEST_ANSWER = 20.0
PATIENCE = 2.0

Program: TypeAlias = Generator[tuple[Any, ...], Any, None]
LOST = object()
REFUSED = object()


@attrs.frozen
class Rules:
    """What the nodes go by."""

    judge: Callable[..., Step] = real.judge
    times: Times = attrs.field(factory=lambda: Times(LEASE))


@attrs.define
class Entry:
    """What a key held, and since when; nothing is revision 0."""

    revision: int
    value: Any
    since: float


class Store:
    """The registry: writes are faithful, reads may be old."""

    def __init__(self) -> None:
        self.epoch = 0
        self.keys: dict[str, list[Entry]] = {}
        self.lose(0.0)
        self.write("settled", self.epoch, 0, 0.0)  # the first registry that there was has lost nothing

    def lose(self, now: float) -> None:
        self.epoch += EPOCH
        self.revision = 0
        self.keys = {}
        self.write("epoch", self.epoch, 0, now)

    def write(self, key: str, value: Any, revision: int, now: float) -> Any:
        entries = self.keys.setdefault(key, [Entry(0, None, -1.0)])
        if entries[-1].revision != revision:
            return REFUSED
        self.revision += 1
        entries.append(Entry(self.revision, value, now))
        return self.revision

    def read(self, key: str, at: float) -> tuple[Any, int]:
        """What the key held at a time."""
        entries = self.keys.get(key, [Entry(0, None, -1.0)])
        found = next((entry for entry in reversed(entries) if entry.since <= at), entries[0])
        return found.value, found.revision


class Node:
    """One node, and the name that it may hold."""

    def __init__(self, search: "Search", name: str) -> None:
        self.search = search
        self.name = name
        self.rate = 1 + search.random.uniform(-DRIFT, DRIFT)
        self.stopped_until = 0.0
        self.incarnation = 0
        self.session = 0
        self.restart()

    def restart(self) -> None:
        self.incarnation += 1
        self.search.living.add(self.place)
        self.owner = Owner(self.incarnation, self.place, self.search.rules.times)
        self.era = Era()
        self.held: int | None = None
        self.watches: dict[str, Watch] = {}
        for program in (self.renewing(), self.taking()):
            self.search.resume(self, self.incarnation, program, None)

    @property
    def place(self) -> Place:
        return Place(self.name, self.incarnation, 0)

    @property
    def now(self) -> float:
        return self.search.now * self.rate

    @property
    def acts(self) -> bool:
        return (
            self.search.now >= self.stopped_until
            and self.held is not None
            and self.owner.is_good(self.held, self.now)
        )

    def is_dead(self, lease: Lease | None) -> bool:
        """The word of the kernel, which nodes have of one another with two of the three."""
        return lease is not None and not lease.is_broken and lease.place not in self.search.living

    def renewing(self) -> Program:
        key, times = f"lease.{self.name}", self.search.rules.times
        found: Lease | None = None
        while True:
            if self.owner.must_read:
                epoch, answer = (yield "read", "epoch"), (yield "read", key)
                if LOST in (epoch, answer):
                    continue
                self.owner.epoch = max(self.owner.epoch, epoch[0] or 0)
                self.owner.found(*answer, self.now)
                found = answer[0]
                if found is None and self.held is not None and not (yield from self.claimed_anew()):
                    self.owner.unanswered()
                    continue
            write = self.owner.proposal(self.now, is_witness=self.is_dead(found))
            if write is not None:
                answer = yield "write", key, write.value, write.revision
                if answer is LOST:
                    self.owner.unanswered()
                    continue
                if answer is REFUSED:
                    self.owner.refused()
                    continue
                self.owner.confirmed(write, answer, self.now)
                yield "sleep", times.pause
            else:
                yield "sleep", times.pause / 2
                self.owner.unanswered()

    def claimed_anew(self) -> Generator[tuple[Any, ...], Any, bool]:
        """Write the claim again, because the registry has lost it, before the lease counts there."""
        assert self.held is not None
        claim, revision = Claim(VERSION, self.name, self.incarnation, self.held), 0
        found = yield "read", "name"
        if found is LOST or self.held is None:
            return False
        if found[0] != claim:
            if found[0] is not None:
                self.held = None
                return True
            revision = found[1]
            answer = yield "write", "name", claim, revision
            return isinstance(answer, int)
        return True

    def taking(self) -> Program:
        times = self.search.rules.times
        while True:
            yield "sleep", 0.5
            if self.held is not None and not self.owner.is_good(self.held, self.now):
                self.held = None
            if self.held is not None:
                if self.search.random.random() < 0.1:
                    held, self.held = self.held, None
                    found = yield "read", "name"
                    if found is not LOST and found[0] == Claim(VERSION, self.name, self.incarnation, held):
                        yield "write", "name", None, found[1]
                continue
            session = self.session
            epoch, settled = (yield "read", "epoch"), (yield "read", "settled")
            found = yield "read", "name"
            if LOST in (epoch, settled, found):
                continue
            self.era.seen(epoch[0] or 0, settled[0] or 0, self.now)
            claim, revision = found
            if claim is not None and (claim.node, claim.incarnation) == (self.name, self.incarnation):
                claim = None  # its own, of which it was not told, or of a term that is over
            lease, at = None, 0
            if claim is not None:
                answer = yield "read", f"lease.{claim.node}"
                if answer is LOST:
                    continue
                lease, at = answer
                watch = self.watches.setdefault(claim.node, Watch(times))
                watch.seen(at, self.now)
            may_break = claim is not None and (watch.is_over(self.now) or self.is_dead(lease))
            match self.search.rules.judge(claim, lease, may_break=may_break):
                case Step.BREAK:
                    yield "write", f"lease.{claim.node}", broken(lease, claim.term), at
                case Step.TAKE if self.owner.is_good(self.owner.term, self.now):
                    if not self.era.is_settled(times, self.now):
                        continue
                    if settled[0] != self.era.epoch:
                        yield "write", "settled", self.era.epoch, settled[1]
                    term = self.owner.term
                    if session != self.session or not self.owner.is_good(term, self.now):
                        continue  # it may be another registry by now
                    answer = yield (
                        "write",
                        "name",
                        Claim(VERSION, self.name, self.incarnation, term),
                        revision,
                    )
                    if isinstance(answer, int):
                        self.held = term


class Search:
    """One run.

    Args:
        seed: of everything that is left to chance.
        seconds: how long faults happen; after them nothing fails any more.
        rules: what the nodes go by.
    """

    def __init__(self, seed: int, seconds: float = 90.0, rules: Rules | None = None) -> None:
        self.random = random.Random(seed)
        self.rules = rules or Rules()
        self.loss = self.random.choice([0.002, 0.02, 0.08])
        self.slowness = self.random.choice([0.005, 0.03, 0.15])
        self.harm = self.random.choice([0.03, 0.1, 0.2])
        self.seconds = seconds
        self.now = 0.0
        self.living: set[Place] = set()
        self.store = Store()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.calm = False
        self.nodes = [Node(self, name) for name in "abc"]
        self.acted = 0

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, what))

    def resume(self, node: Node, incarnation: int, program: Program, answer: Any) -> None:
        """Let a node go on with an answer, when it runs."""
        if node.incarnation != incarnation:
            return
        if self.now < node.stopped_until:
            self.at(node.stopped_until, lambda: self.resume(node, incarnation, program, answer))
            return
        match program.send(answer):
            case ("sleep", seconds):
                when = self.now + seconds / node.rate
                self.at(when, lambda: self.resume(node, incarnation, program, None))
            case request:
                self._ask(node, incarnation, program, request)

    def _ask(self, node: Node, incarnation: int, program: Program, request: tuple[Any, ...]) -> None:
        session, state = node.session, [False]

        def answered(answer: Any) -> None:
            if not state[0] and (answer is LOST or node.session == session):
                state[0] = True
                self.resume(node, incarnation, program, answer)

        def arrive() -> None:
            if request[0] == "read":
                is_stale = not self.calm and self.random.random() < 0.33
                at = self.now - (self.random.uniform(0, STALE_SECONDS) if is_stale else 0)
                answer: Any = self.store.read(request[1], at)
            elif node.session == session or request[1] != "name":
                answer = self.store.write(*request[1:], self.now)
            else:
                answer = REFUSED
            if not self._is_lost():
                self.at(self.now + self._delay(), lambda: answered(answer))

        if not self._is_lost():
            self.at(self.now + self._delay(), arrive)
        self.at(self.now + PATIENCE / node.rate, lambda: answered(LOST))

    def _is_lost(self) -> bool:
        return not self.calm and self.random.random() < self.loss

    def _delay(self) -> float:
        if self.calm or self.random.random() > self.slowness:
            return self.random.uniform(0.001, 0.02)
        return self.random.uniform(0, 10.0)

    def _harm(self) -> None:
        if self.calm:
            return
        node = self.random.choice(self.nodes)
        match self.random.choices(["stop", "kill", "lose"], [8, 2, 1])[0]:
            case "stop":
                node.stopped_until = self.now + self.random.uniform(0, LONGEST_STOP)
            case "kill":
                self.living.discard(node.place)
                node.stopped_until = self.now
                node.restart()
            case "lose":
                self.store.lose(self.now)
                for each in self.nodes:
                    each.session += 1
                    each.watches.clear()
                    each.owner.reconnected()
        self.at(self.now + self.random.expovariate(self.harm), self._harm)

    def run(self) -> bool:
        """Run; return false when two acted at a time.

        Raises:
            AssertionError: with the faults over, nobody has come to hold the name in time.
        """
        self.at(1.0, self._harm)
        heal = self.seconds
        end = heal + LATEST_ANSWER + 2 * LEASE + 2
        is_held = False
        while self._events:
            when, _, what = heapq.heappop(self._events)
            if when > end:
                break
            self.now = when
            if not self.calm and when >= heal:
                self.calm = True
                for node in self.nodes:
                    node.stopped_until = min(node.stopped_until, self.now)
            what()
            acting = sum(node.acts for node in self.nodes)
            self.acted += acting > 0
            is_held = is_held or (acting > 0 and when > heal + LATEST_ANSWER)
            if acting > 1:
                return False
        assert is_held, "nobody holds the name though nothing fails any more"
        return True
