"""When the loop is held for a peer that is about to speak, and when not."""

import pytest
import trio

from enfilade.transport import patience
from enfilade.transport.patience import COMPANY, LONGEST_REST, SLICE, Patience


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still until the test moves it."""
    now = [100.0]
    monkeypatch.setattr(patience, "perf_counter", lambda: now[0])
    return now


def opportunities_passed(held: Patience) -> int:
    """How many opportunities are let pass before the next one is taken."""
    passed = 0
    while not held.is_worth_it():
        passed += 1
    return passed


async def test_it_rests_ever_longer_while_it_is_in_vain(clock: list[float]) -> None:
    held = Patience()
    passed = []
    for _ in range(13):
        passed.append(opportunities_passed(held))
        held.learn(False)
    assert passed == [0, *(2**n for n in range(1, 11)), LONGEST_REST, LONGEST_REST]


async def test_success_makes_up_for_failure(clock: list[float]) -> None:
    held = Patience()
    for _ in range(5):
        held.learn(False)
    opportunities_passed(held)
    for _ in range(5):
        held.learn(True)
        assert held.is_worth_it()
    held.learn(False)
    assert opportunities_passed(held) == 2


async def test_nobody_is_held_up_who_could_run(clock: list[float]) -> None:
    held = Patience()
    ran = trio.Event()

    async def run() -> None:
        ran.set()

    async with trio.open_nursery() as nursery:
        assert held.is_worth_it()
        nursery.start_soon(run)
        assert not held.is_worth_it()
        await ran.wait()
        assert held.is_worth_it()


async def test_the_loop_goes_round_after_a_slice(clock: list[float]) -> None:
    held = Patience()
    steps = 0
    while held.is_worth_it():
        steps += 1
        clock[0] += SLICE / 10
    assert steps in (10, 11)
    clock[0] += SLICE / 10
    assert not held.is_worth_it()
    held.went_round()
    assert held.is_worth_it()


async def test_after_a_pause_a_slice_begins_anew(clock: list[float]) -> None:
    """Whoever calls now and then has waited outside in between."""
    held = Patience()
    for _ in range(100):
        assert held.is_worth_it()
        clock[0] += 2 * SLICE


async def test_company_is_better_served_together(clock: list[float]) -> None:
    held = Patience()
    held.have_company()
    assert opportunities_passed(held) == COMPANY
