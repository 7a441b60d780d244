"""The restart window: inclusive at its edge, and the same as a plain count whatever the instants."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from enfilade.actors.supervision.restart_window import RestartWindow


def test_inclusive_edge() -> None:
    window = RestartWindow(1, 5.0)
    assert window.admit(10.0)
    assert not window.admit(15.0)
    window = RestartWindow(1, 5.0)
    assert window.admit(10.0)
    assert window.admit(15.000001)


def test_what_lies_within_the_period() -> None:
    """Told at any later time: one that is exactly as old as the period is within it."""
    window = RestartWindow(5, 5.0)
    for now in (10.0, 12.0):
        window.admit(now)
    assert [window.within(now) for now in (12.0, 15.0, 15.5, 17.0, 17.5)] == [2, 2, 1, 1, 0]


def test_zero_admits_nothing() -> None:
    assert not RestartWindow(0, 5.0).admit(0.0)


def test_the_last_restart_is_taken_back() -> None:
    """It is the last that was none: the first still leaves the window at its own time."""
    window = RestartWindow(1, 5.0)
    assert window.admit(10.0)
    assert not window.admit(14.0)
    window.take_back()
    assert window.admit(15.5)
    assert not window.admit(16.0)


def test_a_restart_that_has_left_the_window_is_taken_back_as_well() -> None:
    """An attempt in another zone takes longer than a short period."""
    window = RestartWindow(1, 0.1)
    assert window.admit(10.0)
    assert window.admit(11.0)
    assert len(window.instants) == 1
    window.take_back()
    assert len(window.instants) == 0
    window.take_back()
    assert window.admit(12.0)


@given(steps=st.lists(st.floats(0, 10), max_size=50), intensity=st.integers(0, 5), period=st.floats(0.1, 20))
def test_is_a_count(steps: list[float], intensity: int, period: float) -> None:
    """An instant is admitted when at most `intensity` of them, itself included, lie within the period."""
    window = RestartWindow(intensity, period)
    now, instants = 0.0, []
    for step in steps:
        now += step
        instants.append(now)
        recent = sum(instant >= now - period for instant in instants)
        assert window.admit(now) == (recent <= intensity)
