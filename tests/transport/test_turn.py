"""How much of a peer's batch is one turn: less after a turn that took long, more again after short ones."""

from collections import deque

from enfilade.transport.turn import MOST, SECONDS, Part, Turn
from enfilade.transport.wire import NIL, Cancel, Send


def test_a_turn_shrinks_and_grows_again() -> None:
    now = [0.0]
    turn = Turn(lambda: now[0])
    for expected in (256, 128, 64):
        now[0] += 2 * SECONDS
        turn.end(turn.frames, now[0] - 2 * SECONDS)
        assert turn.frames == expected
    for expected in (128, 256, MOST, MOST):
        turn.end(turn.frames, now[0])
        assert turn.frames == expected


def test_few_frames_that_took_long_leave_one() -> None:
    """What follows from the time of a turn is how many frames it had, not how many it might have had."""
    turn = Turn(lambda: 2 * SECONDS)
    turn.end(3, 0.0)
    assert turn.frames == 1
    turn.end(1, 0.0)
    assert turn.frames == 1


def test_a_turn_is_over_after_its_time_and_not_before() -> None:
    now = [SECONDS]
    turn = Turn(lambda: now[0])
    assert not turn.is_over(0.0)
    now[0] = 1.5 * SECONDS
    assert turn.is_over(0.0)


def test_a_batch_is_divided_into_turns() -> None:
    turn = Turn(lambda: 0.0)
    parts: deque[Part] = deque()
    frames = [Cancel(number) for number in range(MOST + 1)]
    turn.divide(frames, [], parts)
    assert [len(taken) for taken, _ in parts] == [MOST, 1]
    assert [frame for taken, _ in parts for frame in taken] == frames


def test_a_batch_whose_frames_name_handles_that_did_not_come_is_divided_as_any() -> None:
    """The frame that names some is refused in its part; one of a batch that brought others, with all."""
    turn = Turn(lambda: 0.0)
    frames = [Send(1, NIL, files=number == MOST) for number in range(MOST + 1)]
    parts: deque[Part] = deque()
    turn.divide(frames, [], parts)
    assert list(parts) == [(frames[:MOST], ()), (frames[MOST:], ())]
    whole: deque[Part] = deque()
    turn.divide(frames, [7, 8], whole)
    assert list(whole) == [(frames, [7, 8])]
