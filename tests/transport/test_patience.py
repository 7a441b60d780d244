"""When the loop is held for a peer that is about to speak, and when not."""

import pytest
import trio

from enfilade.transport.patience import COMPANY, LONGEST_REST, SLICE, Patience
from tests.transport.model import tasks_runnable


class HandClock:
    """The time, which stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def opportunities_passed(held: Patience) -> int:
    """How many opportunities are let pass before the next one is taken."""
    passed = 0
    while not held.is_worth_it():
        passed += 1
        assert passed <= LONGEST_REST
    return passed


async def test_it_rests_ever_longer_while_it_is_in_vain(clock: HandClock) -> None:
    """The first opportunity is taken; then ever fewer, down to one after each `LONGEST_REST`."""
    held = Patience(clock, tasks_runnable)
    rests = []
    for _ in range(40):
        rests.append(opportunities_passed(held))
        held.learn(False)
    assert rests[0] == 0 < rests[1]
    assert rests == sorted(rests)
    assert rests[-1] == max(rests) == LONGEST_REST
    assert len(set(rests[:6])) == 6  # it learns from each of the first disappointments


async def test_holding_in_vain_costs_little(clock: HandClock) -> None:
    """Of a hundred thousand opportunities of which none is any good, not one in five hundred is taken."""
    held = Patience(clock, tasks_runnable)
    taken = 0
    for _ in range(100_000):
        if held.is_worth_it():
            taken += 1
            held.learn(False)
    assert 0 < taken < 200


async def test_success_makes_up_for_failure(clock: HandClock) -> None:
    """While the peer speaks in time every opportunity is taken, and as many successes as failures make a
    next failure cost what the first one did.
    """
    fresh = Patience(clock, tasks_runnable)
    fresh.learn(False)
    first = opportunities_passed(fresh)
    held = Patience(clock, tasks_runnable)
    for _ in range(5):
        held.learn(False)
    worst = opportunities_passed(held)
    for _ in range(5):
        held.learn(True)
        assert held.is_worth_it()
    held.learn(False)
    assert opportunities_passed(held) == first < worst


async def test_nobody_is_held_up_who_could_run(clock: HandClock) -> None:
    held = Patience(clock, tasks_runnable)
    ran = trio.Event()

    async def run() -> None:
        ran.set()

    async with trio.open_nursery() as nursery:
        assert held.is_worth_it()
        nursery.start_soon(run)
        assert not held.is_worth_it()
        await ran.wait()
        assert held.is_worth_it()


async def test_the_loop_goes_round_after_a_slice(clock: HandClock) -> None:
    held = Patience(clock, tasks_runnable)
    steps = 0
    while held.is_worth_it():
        steps += 1
        clock.now += SLICE / 10
    assert steps in (10, 11)
    clock.now += SLICE / 10
    assert not held.is_worth_it()
    held.went_round()
    assert held.is_worth_it()


async def test_after_a_pause_a_slice_begins_anew(clock: HandClock) -> None:
    """Whoever calls now and then has waited outside in between."""
    held = Patience(clock, tasks_runnable)
    for _ in range(100):
        assert held.is_worth_it()
        clock.now += 2 * SLICE


async def test_company_is_better_served_together(clock: HandClock) -> None:
    held = Patience(clock, tasks_runnable)
    held.have_company()
    assert opportunities_passed(held) == COMPANY
