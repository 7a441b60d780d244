"""The memory of a node, and what follows from it: no node, no real time."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.columns import PROCESSES, fit
from enfilade.actors.cli.observe.history import SERIES, History
from enfilade.actors.cli.observe.lints import warnings_of
from enfilade.actors.cli.observe.observed import Observed
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.terminal.glyphs import ASCII, UNICODE, bars

BY_NAME = {series.name: series for series in SERIES}


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sight(clock: Clock) -> Sight:
    def connect() -> Any:
        return nullcontext()

    return Sight(Observed("shop.door", connect, clock))


def fields(**given: Any) -> dict[str, Any]:
    return {"incarnation": "1", "processes": 7, "queued": 0, "dead_letters": 0, **given}


def test_a_counter_becomes_a_rate() -> None:
    history = History()
    history.note(10.0, fields(dead_letters=100))
    history.note(12.0, fields(dead_letters=110))
    assert history.last(BY_NAME["dead_letters"]) == 5.0
    assert history.last(BY_NAME["processes"]) == 7


def test_a_new_incarnation_and_a_long_silence_make_no_rate() -> None:
    history = History()
    history.note(10.0, fields(dead_letters=100))
    history.note(11.0, fields(dead_letters=900, incarnation="2"))
    assert history.last(BY_NAME["dead_letters"]) is None
    history.note(60.0, fields(dead_letters=1000, incarnation="2"))
    assert history.last(BY_NAME["dead_letters"]) is None
    history.note(61.0, fields(dead_letters=1003, incarnation="2"))
    assert history.last(BY_NAME["dead_letters"]) == 3


def test_what_is_older_than_ten_minutes_is_forgotten() -> None:
    history = History()
    for second in range(700):
        history.note(float(second), fields(queued=second))
    plot = history.plot(BY_NAME["queued"], 60)
    assert plot[-1] == 699
    assert plot[0] == 109
    assert history.latest(BY_NAME["queued"], 1_000)[0] == 99


def test_a_plot_has_gaps_where_nothing_was_heard_and_none_between_slow_updates() -> None:
    history = History()
    history.note(0.0, fields(queued=1))
    history.note(5.0, fields(queued=3))
    history.note(90.0, fields(queued=2))
    assert history.plot(BY_NAME["queued"], 10, seconds=100.0) == [1, 3, *[None] * 7, 2]
    assert history.plot(BY_NAME["queued"], 100, seconds=100.0)[9:15] == [1, 3, 3, 3, 3, 3]


@pytest.mark.parametrize(
    ("values", "height", "shown"),
    [
        ([0, 1, 8], 1, [" ▁█"]),
        ([None, 4, 8], 2, ["  █", " ██"]),
        ([0.001, 1000], 1, ["▁█"]),
        ([0, 0], 1, ["  "]),
    ],
)
def test_bars(values: list[float | None], height: int, shown: list[str]) -> None:
    assert bars(values, height, UNICODE) == shown
    assert "".join(bars(values, height, ASCII)).isascii()


def test_columns_that_do_not_fit_are_left_out_and_the_rest_is_shared() -> None:
    columns = [PROCESSES.column(name) for name in PROCESSES.first]
    narrow, wide = fit(columns, 80), fit(columns, 160)
    assert [column.name for column, _ in narrow] == [*PROCESSES.first[:7]]
    assert len(wide) == len(columns)
    for fitting, width in ((narrow, 80), (wide, 160)):
        assert sum(cells for _, cells in fitting) + len(fitting) - 1 == width


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (words.number(None), "-"),
        (words.number(1234567), "1.2M"),
        (words.number(48_200), "48,200"),
        (words.number(0.25), "0.2"),
        (words.size(0), "0 B"),
        (words.size(1536), "1.5 KiB"),
        (words.size(300 * 2**20), "300 MiB"),
        (words.share(0.004), "<1%"),
        (words.share(0.424), "42%"),
        (words.age(0.04), "40ms"),
        (words.age(0.0001), "<1ms"),
        (words.age(600), "10m"),
        (words.age(184), "3m04s"),
        (words.age(7 * 3600 + 60 * 5), "7h05m"),
        (words.age(9 * 86_400), "9d"),
    ],
)
def test_words(shown: str, text: str) -> None:
    assert shown == text


# Lints. Each is seen to hold, and not to hold just before.


def abouts(sight: Sight) -> list[str]:
    return [warned.about for warned in warnings_of(sight)]


def event(kind: str, at: float, **given: Any) -> dict[str, Any]:
    ref = {"serial": 7, "text": "<shop@east:7 floor>"}
    return {"kind": kind, "number": 1, "at": at, "node": "shop@east", "supervisor": ref, "ref": ref, **given}


def test_a_mailbox_that_grows_for_ten_seconds(sight: Sight) -> None:
    for second in range(10):
        sight.mailboxes.note(float(second), [{"serial": 7, "name": "till", "queued": 10 + second}])
        assert abouts(sight) == []
    sight.mailboxes.note(10.0, [{"serial": 7, "name": "till", "queued": 20}])
    (warned,) = warnings_of(sight)
    assert warned.text == "the mailbox of till (7) has grown from 10 to 20 in 10s"
    assert warned.process == 7
    sight.mailboxes.note(11.0, [{"serial": 7, "name": "till", "queued": 20}])
    assert abouts(sight) == []


def test_a_supervisor_that_has_used_half_of_its_restarts(sight: Sight) -> None:
    sight.timeline.append(event("child.restarted", 100.0, child_id="till", in_period=2, intensity=4))
    assert abouts(sight) == []
    sight.timeline.append(event("child.restarted", 100.0, child_id="till", in_period=3, intensity=4))
    (warned,) = warnings_of(sight)
    assert warned.text == "<shop@east:7 floor> has used 3 of 4 restarts, the last for till"


def test_events_are_worth_a_warning_for_a_minute(sight: Sight, clock: Clock) -> None:
    sight.timeline.append(event("supervisor.gave_up", 100.0, child_id="till", restarts=3, period=5.0))
    sight.timeline.append(event("process.slow", 100.0, seconds=0.4))
    sight.timeline.append(event("process.deadlock", 100.0, calls=["a", "b"]))
    sight.timeline.append(event("process.unkillable", 100.0, stack=None))
    assert abouts(sight) == ["circle", "gave_up", "unkillable", "slow"]
    clock.time += 61
    assert abouts(sight) == []


def test_the_clock_of_the_node_may_be_another(sight: Sight) -> None:
    sight.ahead = 5_000.0
    sight.timeline.append(event("process.slow", 5_090.0, seconds=0.4))
    assert sight.seconds_ago(sight.timeline[0]) == 10.0


def test_a_process_that_waits_for_a_call(sight: Sight) -> None:
    waits = {"serial": 9, "actor": "clerk", "waits_for": "<shop@east:3 bank>"}
    sight.waits.note(0.0, [waits])
    sight.waits.note(5.0, [waits])
    assert abouts(sight) == []
    sight.waits.note(6.0, [waits])
    assert warnings_of(sight)[0].text == "clerk (9) has waited for <shop@east:3 bank> for 6s"
    sight.waits.note(7.0, [{**waits, "waits_for": "<shop@east:4 mint>"}])
    assert abouts(sight) == []


def test_a_handler_that_the_watchdog_has_seen_is_named_with_its_place(sight: Sight) -> None:
    ref = {"serial": 8, "text": "<shop@east:8 mill>"}
    sight.timeline.append(event("loop.held", 99.0, ref=ref, place="Mill.turn (mill.py:5)", seconds=0.15))
    sight.timeline.append(event("process.slow", 99.0, ref=ref, seconds=0.15))
    sight.timeline.append(event("loop.held", 99.0, ref=None, place="run (main.py:7)", seconds=2.0))
    assert [(warned.about, warned.text, warned.process) for warned in warnings_of(sight)] == [
        ("slow", "<shop@east:8 mill> held the loop for 150ms, in Mill.turn (mill.py:5)", 8),
        ("slow", "a task held the loop for 2s, in run (main.py:7)", None),
    ]


def test_a_busy_loop(sight: Sight) -> None:
    for second in range(12):
        sight.history.note(float(second), fields(loop={"busy": 0.89 if second < 1 else 0.95}))
    assert abouts(sight) == ["loop"]
    sight.history.note(12.0, fields(loop={"busy": 0.3}))
    assert abouts(sight) == []


def test_dead_letters_that_go_on(sight: Sight) -> None:
    for second in range(15):
        sight.history.note(float(second), fields(dead_letters=second * 2))
    assert warnings_of(sight)[0].text == "dead letters: 2 a second, and they go on"
    sight.history.note(15.0, fields(dead_letters=28))
    assert abouts(sight) == []


def test_a_link_without_credit(sight: Sight) -> None:
    link = {"name": "mill@west", "window": 1000, "under_way": 1000}
    sight.credit.note(0.0, [link])
    sight.credit.note(5.0, [link])
    assert abouts(sight) == []
    sight.credit.note(6.0, [link])
    assert abouts(sight) == ["credit"]
    sight.credit.note(7.0, [{**link, "under_way": 0}])
    assert abouts(sight) == []


def test_a_guest_near_its_limits(sight: Sight) -> None:
    guest = {"serial": 4, "name": "mill", "memory": 800, "memory_limit": 1000, "cpu": 1.0, "cpu_limit": None}
    sight.guests = [guest, {**guest, "memory": None}]
    assert abouts(sight) == []
    sight.guests = [{**guest, "memory": 850}]
    assert warnings_of(sight)[0].text == "guest mill (4) has used 85% of its memory"
    sight.guests = [{**guest, "cpu_limit": 1.1}]
    assert warnings_of(sight)[0].text == "guest mill (4) has used 91% of its processor time"


def test_observation_above_its_budget(sight: Sight) -> None:
    sight.observation_share = 0.05
    assert abouts(sight) == []
    sight.observation_share = 0.08
    assert warnings_of(sight)[0].text == "observation takes 8% of the time, above its 5%"
