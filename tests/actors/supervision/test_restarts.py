"""The decisions about restarts, rule by rule: which, when, how often, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from enfilade.actors.messages.reasons import KILLED, NORMAL, SHUTDOWN, Custom, Reason, Shutdown
from enfilade.actors.supervision.backoff import Backoff
from enfilade.actors.supervision.children import ChildCounts
from enfilade.actors.supervision.refusals import (
    AlreadyPresent,
    ChildRestarting,
)
from tests.actors.supervision.world import BOOM, World, booted, child

ABCD = ("a", "b", "c", "d")


# Restart types.


EXITS = (NORMAL, SHUTDOWN, Shutdown("enough"), BOOM, KILLED, Custom("odd"))


@pytest.mark.parametrize("reason", EXITS, ids=str)
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_restart_decision(restart: Any, reason: Reason) -> None:
    """SUP-10: the decision table."""
    tree = World([child("a", restart=restart)]).boot()
    tree.exit("a1", reason)
    restarted = restart == "permanent" or (restart == "transient" and not reason.is_normal)
    assert tree.log == ["start a1", "start a2"] if restarted else ["start a1"]
    expected = {"a": "a2"} if restarted else {} if restart == "temporary" else {"a": None}
    assert tree.shown() == expected
    reported = restart == "permanent" and reason.is_normal  # the node notes an abnormal end itself
    assert tree.reports == (["child_terminated a1"] if reported else [])


# Strategies.


@pytest.mark.parametrize(
    ("strategy", "log"),
    [
        ("one_for_one", ["start b2"]),
        ("one_for_all", ["stop d1", "stop c1", "stop a1", "start a2", "start b2", "start c2", "start d2"]),
        ("rest_for_one", ["stop d1", "stop c1", "start b2", "start c2", "start d2"]),
    ],
)
def test_each_strategy_restarts_its_group(strategy: Any, log: list[str]) -> None:
    """SUP-12: which siblings are stopped and started."""
    tree = booted("abcd", strategy=strategy)
    tree.exit("b1")
    assert tree.log_since(4) == log
    assert [info.id for info in tree.infos()] == list(ABCD)
    assert [record.key for record in reversed(tree.strategy.children)] == list(reversed(ABCD))


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_group_revives_the_terminated(strategy: Any) -> None:
    """Later siblings that were stopped by request come back with the group; earlier ones only under
    one_for_all.
    """
    tree = booted("abc", strategy=strategy)
    tree.request(tree.strategy.terminate_child("a"))
    tree.request(tree.strategy.terminate_child("c"))
    tree.exit("b1")
    assert tree.shown() == {"a": "a2" if strategy == "one_for_all" else None, "b": "b2", "c": "c2"}


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_group_removes_temporary_siblings(strategy: Any) -> None:
    tree = World([child("a"), child("t", restart="temporary"), child("c")], strategy=strategy).boot()
    tree.exit("a1")
    assert tree.log_since(3) == ["stop c1", "stop t1", "start a2", "start c2"]
    assert tree.shown() == {"a": "a2", "c": "c2"}


def test_sibling_that_died_before_its_stop() -> None:
    """SUP-14: an exit that came during the plan is the answer to the stop, and its reason stands in the
    report.
    """
    tree = World([child("a"), child("b"), child("c")], strategy="one_for_all", intensity=1).boot()
    tree.last_words["c1"] = "never"
    tree.exit("b1")
    tree.exit("a1", Custom("own end"))
    assert tree.strategy.busy
    tree.exit("c1", SHUTDOWN)
    assert tree.log_since(3) == ["stop c1", "start a2", "start b2", "start c2"]
    assert tree.reports == ["shutdown_error a1"]
    assert not tree.strategy.busy


def test_exit_during_a_plan_that_does_not_stop_it() -> None:
    """SUP-14: it is dealt with afterwards."""
    tree = booted("abc", strategy="rest_for_one")
    tree.last_words["c1"] = "never"
    tree.exit("b1")
    tree.exit("a1")
    assert tree.log_since(3) == ["stop c1"]
    tree.exit("c1", SHUTDOWN)
    assert tree.log_since(4) == [
        "start b2",
        "start c2",
        "stop c2",
        "stop b2",
        "start a2",
        "start b3",
        "start c3",
    ]


def test_exits_during_a_plan_keep_their_order() -> None:
    """SUP-14: what waited is dealt with in the order in which it came."""
    tree = booted("abc")
    tree.last_words["c1"] = "never"
    tree.request(tree.strategy.terminate_child("c"))
    tree.exit("b1")
    tree.exit("a1")
    tree.exit("c1", SHUTDOWN)
    assert tree.log_since(4) == ["start b2", "start a2"]


# Restarts that fail.


def test_retry_counts() -> None:
    """Intensity 3: one restart, three entries with its retries, and the fourth entry ends the supervisor."""
    tree = World([child("a")], intensity=3).boot()
    tree.script["a"] = [BOOM] * 10
    tree.exit("a1")
    attempts = 1
    while tree.retries:
        assert tree.shown() == {"a": "restarting"}
        tree.retry()
        attempts += 1
    assert tree.ended == SHUTDOWN
    assert attempts == 4
    assert tree.log_since(1) == ["fails a2", "fails a3", "fails a4"]


def test_requests_while_restarting() -> None:
    tree = booted("a")
    tree.script["a"] = [BOOM]
    tree.exit("a1")
    assert tree.strategy.children.counts() == ChildCounts(specs=1, active=0, supervisors=0, workers=1)
    with pytest.raises(AlreadyPresent):
        tree.strategy.start_child(child("a"))
    with pytest.raises(ChildRestarting):
        tree.strategy.restart_child("a")
    with pytest.raises(ChildRestarting):
        tree.strategy.children.delete("a")
    assert tree.request(tree.strategy.terminate_child("a")) is None
    assert tree.shown() == {"a": None}
    tree.retry()
    assert tree.log_since(1) == ["fails a2"]
    assert tree.shown() == {"a": None}


def test_stale_retry() -> None:
    """A retry from before a terminate and a restart by hand does nothing to a later one."""
    tree = booted("a")
    tree.script["a"] = [BOOM, "ok", BOOM]
    tree.exit("a1")
    tree.request(tree.strategy.terminate_child("a"))
    assert tree.request(tree.strategy.restart_child("a")) == "a3"
    tree.exit("a3")
    assert len(tree.retries) == 2
    tree.retry()
    assert tree.shown() == {"a": "restarting"}
    tree.retry()
    assert tree.shown() == {"a": "a5"}


def test_one_for_all_sibling_fails_to_start() -> None:
    tree = booted("abcd", strategy="one_for_all")
    tree.script["c"] = [BOOM]
    tree.exit("b1")
    assert tree.log_since(4) == ["stop d1", "stop c1", "stop a1", "start a2", "start b2", "fails c2"]
    assert tree.shown() == {"a": "a2", "b": "b2", "c": "restarting", "d": None}
    tree.retry()
    assert tree.log_since(10) == ["stop b2", "stop a2", "start a3", "start b3", "start c3", "start d2"]


def test_one_for_all_earlier_sibling_fails_in_a_retry() -> None:
    """SUP-20: what was restarting stays down with the others until an attempt succeeds."""
    tree = booted(strategy="one_for_all")
    tree.script["c"] = [BOOM]
    tree.exit("a1")
    assert tree.shown() == {"a": "a2", "b": "b2", "c": "restarting"}
    tree.script["a"] = [BOOM]
    tree.retry()
    assert tree.shown() == {"a": "restarting", "b": None, "c": None}
    tree.retry()
    assert tree.shown() == {"a": "a4", "b": "b3", "c": "c3"}


def test_rest_for_one_sibling_fails_to_start() -> None:
    """The retry begins at the child that failed; earlier ones keep their processes."""
    tree = booted("abcd", strategy="rest_for_one")
    tree.script["c"] = [BOOM]
    tree.exit("b1")
    assert tree.shown() == {"a": "a1", "b": "b2", "c": "restarting", "d": None}
    tree.retry()
    assert tree.log_since(8) == ["start c3", "start d2"]


def test_rest_for_one_retry_interrupted() -> None:
    """OTP's quirk: terminating the restarting child leaves its later siblings down."""
    tree = booted("abc", strategy="rest_for_one")
    tree.script["b"] = [BOOM]
    tree.exit("b1")
    tree.request(tree.strategy.terminate_child("b"))
    tree.retry()
    assert tree.shown() == {"a": "a1", "b": None, "c": None}


def test_retry_during_a_request() -> None:
    tree = booted("ab")
    tree.script["a"] = [BOOM]
    tree.exit("a1")
    tree.last_words["b1"] = "never"
    tree.request(tree.strategy.terminate_child("b"))
    tree.retry()
    assert tree.shown()["a"] == "restarting"
    tree.exit("b1", SHUTDOWN)
    assert tree.shown() == {"a": "a3", "b": None}


def test_retry_that_the_plan_overtakes() -> None:
    """A retry that waits for the end of a plan is void when the child was started, or failed to, meanwhile:
    the next attempt has its own delay.
    """
    slowly = Backoff(first=1, factor=2, jitter=0)
    tree = World([child("a", backoff=slowly), child("b"), child("c")], strategy="one_for_all", intensity=10)
    tree.boot().exit("a1")
    tree.last_words["c1"] = "never"
    tree.request(tree.strategy.terminate_child("c"))
    tree.exit("b1")
    tree.retry()
    tree.script["a"] = [BOOM]
    tree.exit("c1", SHUTDOWN)
    assert tree.log_since(4) == ["fails a2"]
    assert tree.shown() == {"a": "restarting", "b": None, "c": None}
    assert [retry.delay for retry in tree.retries] == [2]
    tree.retry()
    assert tree.shown() == {"a": "a3", "b": "b2", "c": "c2"}


def test_retry_while_shutting_down() -> None:
    """A retry is void once the supervisor stops: before the child has had its turn, and after the end."""
    tree = World([child("a", backoff=Backoff(jitter=0)), child("b"), child("c")]).boot()
    tree.exit("a1")
    tree.last_words["c1"] = "never"
    tree.do(tree.strategy.shut_down(SHUTDOWN))
    (retry,) = tree.retries
    tree.do(tree.strategy.retry(retry))
    tree.exit("c1", SHUTDOWN)
    assert tree.ended == SHUTDOWN
    tree.do(tree.strategy.retry(retry))
    assert tree.log_since(3) == ["stop c1", "stop b1"]


@pytest.mark.parametrize(("first", "second"), [(BOOM, NORMAL), (NORMAL, BOOM)], ids=str)
def test_exit_that_is_told_twice(first: Reason, second: Reason) -> None:
    """Told twice while the supervisor is occupied, by a link and a monitor say, the first reason counts."""
    tree = World([child("a", restart="transient"), child("b")]).boot()
    tree.last_words["b1"] = "never"
    tree.request(tree.strategy.terminate_child("b"))
    a = tree.strategy.children.running("a1")
    assert a is not None
    for reason in (first, second):
        tree.do(tree.strategy.exited(a, reason))
    tree.do(tree.strategy.exited(tree.record("b"), SHUTDOWN))
    assert tree.shown() == {"a": "a2" if first is BOOM else None, "b": None}


def test_exit_that_is_told_again_while_shutting_down() -> None:
    """Nothing is started again by what is left to be dealt with when the supervisor ends."""
    tree = booted("abc")
    tree.last_words["b1"] = "never"
    tree.do(tree.strategy.shut_down(SHUTDOWN))
    tree.do(tree.strategy.exited(tree.record("c"), BOOM))
    tree.exit("b1", SHUTDOWN)
    assert tree.ended == SHUTDOWN
    assert tree.log_since(3) == ["stop c1", "stop b1", "stop a1"]


def group_that_waits(**options: Any) -> World:
    """rest_for_one: `a` and `b` run as second incarnations, `c` is restarting, and `d` is down with it."""
    tree = World(
        [child("a", **options), child("b"), child("c"), child("d")], strategy="rest_for_one", intensity=10
    ).boot()
    tree.exit("a1")
    if tree.retries:
        tree.retry()
    tree.script["c"] = [BOOM]
    tree.exit("c2")
    assert tree.shown() == {"a": "a2", "b": "b2", "c": "restarting", "d": None}
    return tree


def test_group_that_waits_restarts() -> None:
    """SUP-24: what is down until the next attempt is restarting; what runs before it is not."""
    tree = group_that_waits()
    restarting = [record.key for record in tree.strategy.children if tree.strategy.restarts(record)]
    assert restarting == ["c", "d"]
    tree.request(tree.strategy.terminate_child("c"))
    assert not any(map(tree.strategy.restarts, tree.strategy.children))


def test_group_that_waits_again() -> None:
    """SUP-24: what is down until the next attempt still follows its predecessor when that attempt fails."""
    tree = group_that_waits()
    tree.script["c"] = [BOOM]
    tree.retry()
    assert tree.strategy.restarts(tree.record("d"))
    assert tree.record("d").predecessor == "d2"


def test_group_that_is_being_restarted() -> None:
    """SUP-24: so is what the plan in progress starts again, and not what it stops for good."""
    tree = World([child("a"), child("b"), child("t", restart="temporary")], strategy="one_for_all").boot()
    t = tree.strategy.children.running("t1")
    assert t is not None
    tree.script["a"] = ["hang"]
    tree.exit("b1")
    assert tree.strategy.restarts(tree.record("b"))
    assert not tree.strategy.restarts(t)


def test_child_that_is_being_restarted() -> None:
    """SUP-24: a child on its own is restarting while its start lasts."""
    tree = booted("ab")
    tree.script["a"] = ["hang"]
    tree.exit("a1")
    assert tree.strategy.restarts(tree.record("a"))
    assert not tree.strategy.restarts(tree.record("b"))


@pytest.mark.parametrize("end", ["terminated", "normal end", "restarting, then terminated"])
def test_child_that_is_down_beside_a_group_that_waits(end: str) -> None:
    """SUP-24: a child that ended for good is not restarting, whatever a sibling does: it follows nobody."""
    tree = group_that_waits(restart="transient", backoff=Backoff(jitter=0) if "then" in end else None)
    a = tree.strategy.children.running("a2")
    assert a is not None
    if end != "terminated":
        tree.exit("a2", BOOM if "then" in end else NORMAL)
    if end != "normal end":
        tree.request(tree.strategy.terminate_child("a"))
    assert not tree.strategy.restarts(a)
    assert a.predecessor is None


def test_child_that_is_started_by_hand_follows_nobody() -> None:
    """SUP-25: only an incarnation that the supervisor restarts inherits the mailbox of the one before."""
    tree = group_that_waits()
    d = tree.record("d")
    assert d.predecessor == "d2"
    tree.request(tree.strategy.terminate_child("c"))
    tree.script["d"] = ["hang"]
    tree.do(tree.strategy.restart_child("d"))
    assert d.predecessor is None


def test_group_restart_whose_first_start_fails() -> None:
    """The child that crashed is down, not taken for running, when an earlier sibling fails to come back."""
    tree = booted("ab", strategy="one_for_all")
    tree.script["a"] = [BOOM]
    tree.exit("b1")
    assert tree.shown() == {"a": "restarting", "b": None}
    tree.retry()
    assert tree.shown() == {"a": "a3", "b": "b2"}


# Intensity.


def test_intensity_zero() -> None:
    tree = booted("ab", intensity=0)
    tree.exit("a1")
    assert tree.ended == SHUTDOWN
    assert tree.log_since(2) == ["stop b1"]
    assert tree.reports == ["reached_max_restart_intensity a"]


def test_group_restart_counts_once() -> None:
    tree = booted("abcde", strategy="one_for_all", intensity=1)
    tree.exit("a1")
    assert tree.ended is None
    tree.exit("e2")
    assert tree.ended == SHUTDOWN


def test_restarts_wide_apart() -> None:
    tree = booted("a", intensity=1, period=5)
    for number in range(1, 20):
        tree.exit(f"a{number}")
        tree.now += 5.001
    assert tree.ended is None


# Back-off.


def test_backoff_grows_and_resets() -> None:
    backoff = Backoff(first=1, factor=2, maximum=3, jitter=0, reset=60)
    tree = World([child("a", backoff=backoff)], intensity=100).boot()
    delays = []
    for number in range(1, 6):
        tree.exit(f"a{number}")
        assert tree.shown() == {"a": "restarting"}
        delays.append(tree.retries[0].delay)
        tree.retry()
    assert delays == [1, 2, 3, 3, 3]
    tree.now += 60
    tree.exit("a6")
    assert tree.retries[0].delay == 1


def test_backoff_of_failing_starts() -> None:
    """SUP-32: a start that fails is no quiet time, however long ago the child last came up."""
    tree = World([child("a", backoff=Backoff(first=1, jitter=0, reset=10))], intensity=100).boot()
    tree.script["a"] = [BOOM] * 3
    tree.exit("a1")
    delays = []
    for _ in range(3):
        delays.append(tree.retries[0].delay)
        tree.now += 100
        tree.retry()
    assert delays == [1, 2, 4]


def test_the_restart_that_is_one_too_many_counts_once() -> None:
    tree = booted(intensity=2)
    for number in (1, 2, 3):
        tree.exit(f"a{number}")
    assert tree.ended is not None
    assert tree.strategy.restarts_in_period == 3
