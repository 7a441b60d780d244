"""The decisions about start, shutdown and requests, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from enfilade.actors.messages.reasons import KILLED, NORMAL, SHUTDOWN, Custom, Reason, Shutdown
from enfilade.actors.processes.start import Started
from enfilade.actors.supervision.backoff import Backoff
from enfilade.actors.supervision.child_spec import BadCombination, DuplicateChild, Flags, InvalidChild
from enfilade.actors.supervision.children import ChildCounts
from enfilade.actors.supervision.refusals import (
    AlreadyPresent,
    ChildNotFound,
    ChildRunning,
    FailedToStart,
    StartFailed,
)
from tests.actors.supervision.world import BOOM, World, booted, child

# Start.


def test_boot_in_order() -> None:
    tree = booted()
    assert tree.log == ["start a1", "start b1", "start c1"]
    assert tree.ready
    assert not tree.strategy.busy


def test_boot_of_nothing() -> None:
    assert World().boot().ready


def test_boot_failure_rolls_back() -> None:
    tree = World([child(letter) for letter in "abcd"])
    tree.script["c"] = [BOOM]
    tree.boot()
    assert tree.log == ["start a1", "start b1", "fails c1", "stop b1", "stop a1"]
    assert tree.ended == Shutdown(FailedToStart("c", BOOM))
    assert not tree.ready


def test_boot_with_children_that_decline() -> None:
    tree = World([child("a"), child("b", restart="transient"), child("c", restart="temporary"), child("d")])
    for letter in "abc":
        tree.script[letter] = ["ignore"]
    tree.boot()
    assert tree.shown() == {"a": None, "b": None, "d": "d1"}
    assert tree.ready


def test_bad_children() -> None:
    with pytest.raises(DuplicateChild):
        World([child("a"), child("a")])
    with pytest.raises(BadCombination):
        World([child("a", restart="transient", significant=True)])


# Shutdown.


def test_shut_down_in_reverse() -> None:
    tree = booted("abc")
    tree.do(tree.strategy.shut_down(Custom("told to")))
    assert tree.log_since(3) == ["stop c1", "stop b1", "stop a1"]
    assert tree.ended == Custom("told to")
    assert tree.reports == []


def test_shut_down_once() -> None:
    tree = booted("a")
    tree.last_words["a1"] = "never"
    tree.do(tree.strategy.shut_down(SHUTDOWN))
    tree.do(tree.strategy.shut_down(KILLED))
    tree.exit("a1", SHUTDOWN)
    assert tree.ended == SHUTDOWN
    tree.do(tree.strategy.shut_down(KILLED))
    assert tree.ended == SHUTDOWN


@pytest.mark.parametrize(
    ("restart", "shutdown", "reason", "reported"),
    [
        ("permanent", 5, SHUTDOWN, False),
        ("permanent", 5, NORMAL, True),
        ("permanent", 5, KILLED, True),
        ("transient", 5, NORMAL, False),
        ("transient", 5, Shutdown("done"), False),
        ("transient", 5, BOOM, True),
        ("permanent", "brutal_kill", KILLED, False),
        ("permanent", "brutal_kill", SHUTDOWN, True),
        ("temporary", "brutal_kill", SHUTDOWN, False),
    ],
)
def test_expected_ends(restart: Any, shutdown: Any, reason: Reason, reported: bool) -> None:
    """SUP-42: an unexpected end is reported and stops nothing."""
    tree = World([child("z"), child("a", restart=restart, shutdown=shutdown)]).boot()
    tree.last_words["a1"] = reason
    tree.do(tree.strategy.shut_down(SHUTDOWN))
    assert tree.reports == (["shutdown_error a1"] if reported else [])
    assert tree.ended == SHUTDOWN


def test_shut_down_during_a_hanging_start() -> None:
    """A supervisor that waits for a child's start still hears that it must go."""
    tree = World([child("a"), child("b"), child("c")])
    tree.script["b"] = ["hang"]
    tree.boot()
    assert tree.log == ["start a1", "hangs b1"]
    tree.do(tree.strategy.shut_down(SHUTDOWN))
    assert tree.log_since(2) == ["stop None"]
    assert tree.ended is None
    tree.do(tree.strategy.start_failed(tree.record("b"), KILLED))
    assert tree.log_since(3) == ["stop a1"]
    assert tree.ended == SHUTDOWN


@pytest.mark.parametrize("outcome", ["started", "ignored"])
def test_start_that_completes_while_shutting_down(outcome: str) -> None:
    tree = World([child("a"), child("b")])
    tree.script["b"] = ["hang"]
    tree.boot()
    tree.do(tree.strategy.shut_down(SHUTDOWN))
    b = tree.record("b")
    if outcome == "started":
        tree.alive.append("b1")
        tree.do(tree.strategy.started(b, "b1"))
        assert tree.ended is None
        tree.exit("b1", SHUTDOWN)
    else:
        tree.do(tree.strategy.ignored(b))
    assert tree.ended == SHUTDOWN
    assert tree.log_since(3) == ["stop a1"]


def test_shut_down_during_a_stop() -> None:
    tree = booted("abc")
    tree.last_words["b1"] = "never"
    tree.request(tree.strategy.terminate_child("b"))
    tree.do(tree.strategy.shut_down(SHUTDOWN))
    assert tree.log_since(3) == ["stop b1"]
    tree.exit("b1", SHUTDOWN)
    assert tree.log_since(4) == ["stop c1", "stop a1"]
    assert tree.ended == SHUTDOWN


def test_a_child_that_does_not_end_is_given_up() -> None:
    tree = booted("abc")
    tree.last_words["b1"] = "never"
    tree.do(tree.strategy.shut_down(SHUTDOWN))
    tree.do(tree.strategy.unkillable(tree.record("b")))
    assert tree.reports == ["unkillable b1"]
    assert tree.ended == SHUTDOWN
    assert tree.log_since(3) == ["stop c1", "stop b1", "stop a1"]


def test_exit_of_a_stranger() -> None:
    tree = booted("a")
    assert tree.strategy.children.running("somebody") is None


# Significant children.


@pytest.mark.parametrize(
    ("mode", "restart", "reason", "ends"),
    [
        ("any_significant", "transient", NORMAL, True),
        ("any_significant", "transient", Shutdown("x"), True),
        ("any_significant", "transient", BOOM, False),
        ("any_significant", "temporary", BOOM, True),
        ("all_significant", "temporary", BOOM, False),
        ("all_significant", "transient", NORMAL, False),
    ],
)
def test_auto_shutdown(mode: Any, restart: Any, reason: Reason, ends: bool) -> None:
    options = {"restart": restart, "significant": True}
    tree = World([child("a", **options), child("b", **options), child("c")], auto_shutdown=mode).boot()
    tree.exit("a1", reason)
    assert (tree.ended == SHUTDOWN) is ends
    if ends:
        assert tree.log_since(3) == ["stop c1", "stop b1"]


def test_last_significant() -> None:
    options = {"restart": "transient", "significant": True}
    tree = World(
        [child("a", **options), child("b", **options), child("c")], auto_shutdown="all_significant"
    ).boot()
    tree.exit("a1", NORMAL)
    assert tree.ended is None
    tree.exit("b1", NORMAL)
    assert tree.ended == SHUTDOWN


def test_significant_child_that_is_restarting() -> None:
    """It is going to run again, so the end of the other is not the end of the last."""
    options = {"restart": "transient", "significant": True}
    slowly = Backoff(first=10, maximum=10, jitter=0)
    tree = World(
        [child("a", backoff=slowly, **options), child("b", **options)], auto_shutdown="all_significant"
    ).boot()
    tree.exit("a1")
    tree.exit("b1", NORMAL)
    assert tree.ended is None
    tree.request(tree.strategy.terminate_child("a"))
    assert tree.ended is None


@pytest.mark.parametrize("mode", ["any_significant", "all_significant"])
def test_significant_bystander(mode: Any) -> None:
    """A significant child that its supervisor stops does not shut it down."""
    tree = World(
        [child("a"), child("s", restart="temporary", significant=True)],
        strategy="one_for_all",
        auto_shutdown=mode,
    ).boot()
    tree.exit("a1")
    assert not tree.ended
    tree = World([child("a"), child("s", restart="transient", significant=True)], auto_shutdown=mode).boot()
    tree.request(tree.strategy.terminate_child("s"))
    assert tree.ended is None


# Administration.


def test_start_child() -> None:
    tree = booted("a")
    assert tree.request(tree.strategy.start_child(child("b"))) == "b1"
    with pytest.raises(ChildRunning) as caught:
        tree.strategy.start_child(child("b"))
    assert caught.value.ref == "b1"
    tree.script["c"] = [BOOM]
    refusal = tree.request(tree.strategy.start_child(child("c")))
    assert isinstance(refusal, StartFailed)
    assert refusal.reason == BOOM
    tree.script["d"], tree.script["e"] = ["ignore"], ["ignore"]
    assert tree.request(tree.strategy.start_child(child("d"))) is None
    assert tree.request(tree.strategy.start_child(child("e", restart="temporary"))) is None
    assert tree.shown() == {"a": "a1", "b": "b1", "d": None}
    with pytest.raises(AlreadyPresent):
        tree.strategy.start_child(child("d"))
    with pytest.raises(BadCombination):
        tree.strategy.start_child(child("f", restart="transient", significant=True))
    with pytest.raises(InvalidChild):
        tree.strategy.start_child(5)


def test_start_that_has_something_to_tell() -> None:
    """Whoever asked for the child is told what its start had to say, beside its ref."""
    tree = booted("a")
    tree.script["b"] = ["hang"]
    assert tree.request(tree.strategy.start_child(child("b"))) == "unanswered"
    tree.do(tree.strategy.started(tree.record("b"), "b1", "news"))
    assert tree.answer == Started("b1", "news")


def test_terminate_restart_delete() -> None:
    tree = World([child("a"), child("t", restart="temporary")]).boot()
    with pytest.raises(ChildRunning):
        tree.strategy.restart_child("a")
    with pytest.raises(ChildRunning):
        tree.strategy.children.delete("a")
    assert tree.request(tree.strategy.terminate_child("a")) is None
    assert tree.request(tree.strategy.terminate_child("a")) is None
    tree.script["a"] = [BOOM, "ignore"]
    assert isinstance(tree.request(tree.strategy.restart_child("a")), StartFailed)
    assert tree.request(tree.strategy.restart_child("a")) is None
    assert tree.request(tree.strategy.restart_child("a")) == "a4"
    tree.request(tree.strategy.terminate_child("a"))
    tree.strategy.children.delete("a")
    tree.request(tree.strategy.terminate_child("t"))
    assert tree.shown() == {}
    for request in (
        tree.strategy.terminate_child,
        tree.strategy.restart_child,
        tree.strategy.children.delete,
    ):
        with pytest.raises(ChildNotFound):
            request("a")


def test_counts_and_specs() -> None:
    tree = World([child("a"), child("s", type="supervisor"), child("c")]).boot()
    tree.request(tree.strategy.terminate_child("c"))
    assert tree.strategy.children.counts() == ChildCounts(specs=3, active=2, supervisors=1, workers=2)
    assert tree.strategy.children.spec("s").type == "supervisor"
    assert tree.strategy.children.spec("a1").id == "a"
    with pytest.raises(ChildNotFound):
        tree.strategy.children.spec("nobody")


def test_temporary_arguments_are_dropped() -> None:
    spec = child("t", restart="temporary", kwargs={"big": "x" * 1000})
    tree = World([spec]).boot()
    assert tree.strategy.children.spec("t").kwargs == {}
    assert spec.kwargs == {"big": "x" * 1000}


def test_a_change_keeps_processes_running() -> None:
    """Processes keep running, new children are listed only, missing ones go to the end, flags take effect."""
    tree = World([child("a"), child("b"), child("c")], intensity=5).boot()
    flags = Flags(strategy="one_for_all", intensity=0)
    tree.strategy.change(flags, [child("c", restart="transient"), child("n"), child("a")])
    assert tree.shown() == {"c": "c1", "n": None, "a": "a1", "b": "b1"}
    assert [info.id for info in tree.infos()] == ["c", "n", "a", "b"]
    tree.exit("c1", NORMAL)
    assert not tree.ended
    tree.exit("b1")
    assert tree.ended == SHUTDOWN
    with pytest.raises(DuplicateChild):
        tree.strategy.change(Flags(), [child("a"), child("a")])
    assert tree.strategy.children.flags == flags


# What is foreseen of an end.


@pytest.mark.parametrize(
    ("restart", "reason", "expected"),
    [
        ("permanent", NORMAL, True),
        ("permanent", BOOM, True),
        ("transient", NORMAL, False),
        ("transient", Shutdown("done"), False),
        ("transient", BOOM, True),
        ("temporary", BOOM, False),
    ],
)
def test_foreseen_restart(restart: Any, reason: Reason, expected: bool) -> None:
    """SUP-24: before the strategy is told of an end, it can tell whether the child will be started again."""
    tree = World([child("a", restart=restart), child("b")]).boot()
    record, _ = tree.strategy.children
    assert tree.strategy.will_restart(record, reason) is expected
    tree.last_words["b1"] = "never"
    tree.do(tree.strategy.shut_down(SHUTDOWN))  # which waits for b, and will stop a
    assert not tree.strategy.will_restart(record, reason)


@pytest.mark.parametrize(("restart", "expected"), [("permanent", True), ("temporary", False)])
def test_foreseen_restart_of_a_group(restart: Any, expected: bool) -> None:
    """SUP-24: a sibling that is stopped for the restart of its group will come back, unless it is temporary;
    one that is terminated by request will not.
    """
    tree = World([child("a"), child("b", restart=restart)], strategy="one_for_all").boot()
    _, record = tree.strategy.children
    tree.last_words["b1"] = "never"
    tree.exit("a1", BOOM)
    assert tree.strategy.will_restart(record, SHUTDOWN) is expected
    tree.exit("b1", SHUTDOWN)
    if expected:
        tree.last_words["b2"] = "never"
        tree.do(tree.strategy.terminate_child("b"))
        assert not tree.strategy.will_restart(record, BOOM)
