"""The strategy against a blocking reimplementation of OTP's supervisor, over random histories."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enfilade.actors.messages.errors import RuntimeFault
from enfilade.actors.messages.reasons import KILLED, NORMAL, SHUTDOWN, Reason, Shutdown
from enfilade.actors.supervision.child_spec import Child, Flags
from tests.actors.supervision.reference import Reference
from tests.actors.supervision.world import BOOM, World, child

IDS = "abcdef"
OUTCOMES = st.sampled_from(["ok", "ok", "ignore", BOOM])
REQUESTS = st.sampled_from(["restart_child", "terminate_child", "delete_child"])
REASONS = st.sampled_from([NORMAL, SHUTDOWN, Shutdown("enough"), BOOM, KILLED])


@st.composite
def specs(draw: st.DrawFn, ids: str, auto_shutdown: str) -> Child:
    restart = draw(st.sampled_from(["permanent", "permanent", "transient", "temporary"]))
    significant = auto_shutdown != "never" and restart != "permanent" and draw(st.booleans())
    return child(draw(st.sampled_from(ids)), restart=restart, significant=significant)


@st.composite
def supervisors(draw: st.DrawFn) -> tuple[Flags, list[Child]]:
    flags = Flags(
        strategy=draw(st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"])),
        intensity=draw(st.integers(0, 4)),
        period=draw(st.sampled_from([1.0, 5.0])),
        auto_shutdown=draw(st.sampled_from(["never", "any_significant", "all_significant"])),
    )
    count = draw(st.integers(0, 4))
    return flags, [draw(specs(letter, flags.auto_shutdown)) for letter in IDS[:count]]


class Histories(RuleBasedStateMachine):
    """Each rule happens to both; after each, what was started and stopped must be the same, in order."""

    world: World
    reference: Reference

    @initialize(supervisor=supervisors(), outcomes=st.lists(OUTCOMES, max_size=2))
    def boot(self, supervisor: tuple[Flags, list[Child]], outcomes: list[Any]) -> None:
        flags, children = supervisor
        self.world = World(
            children,
            strategy=flags.strategy,
            intensity=flags.intensity,
            period=flags.period,
            auto_shutdown=flags.auto_shutdown,
        )
        self.reference = Reference(flags, children)
        self.reference.now = self.world.now
        self.plan_outcomes("b", outcomes)
        self.world.boot()
        self.reference.boot()

    def plan_outcomes(self, letter: str, outcomes: list[Any]) -> None:
        self.world.script[letter] = list(outcomes)
        self.reference.script[letter] = list(outcomes)

    def lives(self) -> bool:
        return self.world.ended is None

    @precondition(lives)
    @rule(letter=st.sampled_from(IDS), outcomes=st.lists(OUTCOMES, max_size=3))
    def coming_starts(self, letter: str, outcomes: list[Any]) -> None:
        self.plan_outcomes(letter, outcomes)

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds
        self.reference.now += seconds

    @precondition(lambda self: self.world.alive)
    @rule(data=st.data(), reason=REASONS, at_once=st.booleans())
    def a_child_ends(self, data: st.DataObject, reason: Reason, at_once: bool) -> None:
        ref = data.draw(st.sampled_from(self.world.alive))
        self.world.exit(ref, reason, at_once=at_once)
        self.reference.exited(ref[0], reason)

    @precondition(lambda self: self.lives() and self.world.retries)
    @rule()
    def a_retry_comes(self) -> None:
        self.world.retry()
        self.reference.retry()

    def both(self, request: str, argument: Any) -> None:
        strategy = self.world.strategy
        try:
            if request == "delete_child":
                answer = strategy.children.delete(argument)
            else:
                answer = self.world.request(getattr(strategy, request)(argument))
        except RuntimeFault as refusal:
            answer = refusal
        name = type(answer).__name__ if isinstance(answer, Exception) else answer
        assert name == getattr(self.reference, request)(argument)

    @precondition(lives)
    @rule(data=st.data())
    def start_child(self, data: st.DataObject) -> None:
        self.both("start_child", data.draw(specs(IDS, self.world.strategy.children.flags.auto_shutdown)))

    @precondition(lives)
    @rule(
        letter=st.sampled_from(IDS),
        request=st.sampled_from(["restart_child", "terminate_child", "delete_child"]),
    )
    def administer(self, letter: str, request: str) -> None:
        self.both(request, letter)

    @precondition(lives)
    @rule()
    def told_to_stop(self) -> None:
        self.world.do(self.world.strategy.shut_down(SHUTDOWN))
        self.reference.end()

    @invariant()
    def same_history(self) -> None:
        assert self.world.log == self.reference.log

    @invariant()
    def same_children(self) -> None:
        if self.lives():
            assert self.world.shown() == self.reference.shown()
            assert list(self.world.shown()) == list(self.reference.shown())

    @invariant()
    def same_end(self) -> None:
        assert (self.world.ended is not None) == self.reference.ended
        if self.world.ended is not None:
            assert self.world.alive == []

    @invariant()
    def never_left_busy(self) -> None:
        assert not self.world.strategy.busy

    @invariant()
    def counts_agree(self) -> None:
        counts = self.world.strategy.children.counts()
        assert counts.active == len(self.world.alive)
        assert counts.specs == counts.workers == len(self.world.infos())


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=100, stateful_step_count=40)
