"""Each checker finds a history that breaks its rule in one place, and lets its neighbour pass."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enfilade.actors.messages.signals import Cast
from enfilade.actors.simulation import COUNTER, LOCK, QUEUE, REGISTER, SET, Model, Operation, Undecided
from enfilade.actors.simulation.checkers.calls import Calls, Question
from enfilade.actors.simulation.checkers.history import (
    Down,
    Ended,
    Event,
    Fired,
    Lost,
    Named,
    Opened,
    Over,
    Sent,
    Started,
    Taken,
    Unnamed,
    Up,
    Watching,
    numbered,
)
from enfilade.actors.simulation.checkers.linearizable import explain
from enfilade.actors.simulation.checkers.lives import check_lives, check_names
from enfilade.actors.simulation.checkers.losses import check_losses
from enfilade.actors.simulation.checkers.monitors import check_monitors
from enfilade.actors.simulation.checkers.nodes import check_nodes
from enfilade.actors.simulation.checkers.order import check_order
from enfilade.actors.simulation.checkers.serializable import Append, Read, Transaction, explain_transactions

A = (0.0, "a", 0)
LATER = (9.0, "a", 0)


def sent(*numbers: int) -> list[Event]:
    return [Sent(1.0, "a", 0, "a>b", number) for number in numbers]


def taken(*numbers: int) -> list[Event]:
    return [Taken(2.0, "b", 0, "a>b", number) for number in numbers]


TWO_NODES = [
    Opened(*A, "a@a", 1),
    Opened(0.0, "b", 0, "b@b", 2),
    Started(*A, 3),
    Started(0.0, "b", 0, 4),
    Up(*A, "b@b"),
]
WATCHED = [*TWO_NODES, Watching(1.0, "a", 0, 0, 3, ("b@b", 2, 4))]
ENDED = Ended(2.0, "b", 0, 4)
TOLD = Fired(2.0, "a", 0, 0, is_lost=False)
LOST = Fired(2.0, "a", 0, 0, is_lost=True)

CASES: list[tuple[Callable[[Sequence[Event]], None], list[Event], list[Event], str]] = [
    (
        check_lives,
        [Started(*A, 1), Ended(*A, 1), Ended(*LATER, 1)],
        [Started(*A, 1), Ended(*A, 1)],
        "ends twice",
    ),
    (
        check_lives,
        [Started(*A, 1), Started(*LATER, 1)],
        [Started(*A, 1), Started(9.0, "a", 1, 1)],
        "starts twice",
    ),
    (
        check_names,
        [Named(*A, 1, "x"), Named(*LATER, 2, "x")],
        [Named(*A, 1, "x"), Unnamed(*A, 1, "x"), Named(*LATER, 2, "x")],
        "has an owner, process 1",
    ),
    (
        check_nodes,
        [Up(*A, "b"), Up(*LATER, "b")],
        [Up(*A, "b"), Down(*A, "b"), Up(*LATER, "b")],
        "is up already",
    ),
    (check_nodes, [Down(*LATER, "b")], [Up(*A, "b"), Down(*LATER, "b")], "is not up"),
    (
        check_order,
        [*sent(0, 1), Down(1.5, "a", 0, "b"), *taken(1, 0)],
        [*sent(0, 1), *taken(0, 1)],
        "number 1 was taken before",
    ),
    (check_order, [*sent(0), *taken(0, 0)], [*sent(0), *taken(0)], "number 0 was taken before"),
    (check_order, [*sent(0), *taken(7)], [*sent(0, 1), *taken(0)], "expected a message that was sent"),
    (
        check_order,
        [*sent(0, 1, 2), *taken(0, 2)],
        [*sent(0, 1), Down(1.5, "a", 0, "b"), *sent(2), *taken(0, 2)],
        "was passed over",
    ),
    (
        check_order,
        [*sent(0, 1, 2), Lost(1.5, "b", 0, "a>b", 0), *taken(0, 2)],
        [*sent(0, 1, 2), Lost(1.5, "b", 0, "a>b", 1), *taken(0, 2)],
        "was passed over",
    ),
    (
        check_order,
        [Sent(1.0, "a", 0, "a>b", 0, "b@b"), *sent(1), Down(1.5, "a", 0, "c@c"), *taken(1)],
        [Sent(1.0, "a", 0, "a>b", 0, "b@b"), *sent(1), Down(1.5, "a", 0, "b@b"), *taken(1)],
        "was passed over",
    ),
    (check_monitors, [*WATCHED, ENDED, TOLD, TOLD], [*WATCHED, ENDED, TOLD], "fires twice"),
    (check_monitors, [*WATCHED, TOLD], [*WATCHED, ENDED, TOLD], "its target lives"),
    (check_monitors, [*WATCHED, LOST], [*WATCHED, Down(*LATER, "b@b"), LOST], "none was lost"),
]


@pytest.mark.parametrize(("check", "broken", "whole", "words"), CASES)
def test_sim_65_checkers_name_the_event(
    check: Callable[[Sequence[Event]], None], broken: list[Event], whole: list[Event], words: str
) -> None:
    check(whole)
    with pytest.raises(AssertionError, match=words) as caught:
        check(broken)
    assert str(broken[-1]) in str(caught.value)


TO_B = Sent(1.0, "a", 0, "a>b", 7, "b@b")

EXCUSED: dict[str, list[Event]] = {
    "taken": [TO_B, Taken(2.0, "b", 0, "a>b", 7)],
    "the node link ended": [TO_B, Down(2.0, "a", 0, "b@b")],
    "it ended within the send": [Down(1.0, "a", 0, "b@b"), TO_B],
    "its own life is over": [TO_B, Over(2.0, "a", 0)],
    "another life has begun": [TO_B, Opened(2.0, "a", 1, "a@a", 9)],
    "a dead letter": [TO_B, Lost(2.0, "b", 0, "a>b", 7)],
    "an unknown dead letter there": [Opened(0.0, "b", 0, "b@b", 2), TO_B, Lost(2.0, "b", 0, None, -1)],
    "an unknown dead letter here": [TO_B, Lost(2.0, "a", 0, None, -1)],
    "under way": [Sent(8.5, "a", 0, "a>b", 7, "b@b")],
}

LOSSES: dict[str, list[Event]] = {
    "never taken": [TO_B],
    "another was taken": [TO_B, Taken(2.0, "b", 0, "a>b", 6)],
    "another node link ended": [TO_B, Down(2.0, "a", 0, "c@c")],
    "it had ended before": [Down(0.9, "a", 0, "b@b"), TO_B],
    "it ended elsewhere": [TO_B, Down(2.0, "b", 0, "a@a")],
    "it ended in another life": [TO_B, Down(2.0, "a", 1, "b@b")],
    "the target's life is over": [TO_B, Over(2.0, "b", 0)],
    "another dead letter": [TO_B, Lost(2.0, "b", 0, "a>b", 6)],
    "an unknown one before": [Lost(0.9, "a", 0, None, -1), TO_B],
    "an unknown one elsewhere": [TO_B, Lost(2.0, "c", 0, None, -1)],
    "one unknown for two": [
        Sent(1.0, "a", 0, "a>b", 6, "b@b"),
        Lost(2.0, "a", 0, None, -1),
        attrs.evolve(TO_B, at=1.0),
    ],
}


@pytest.mark.parametrize("events", EXCUSED.values(), ids=EXCUSED)
def test_sim_65_a_loss_that_is_explained(events: list[Event]) -> None:
    check_losses(events, 8.0)


@pytest.mark.parametrize("events", LOSSES.values(), ids=LOSSES)
def test_sim_65_a_loss_that_nobody_was_told_of(events: list[Event]) -> None:
    with pytest.raises(AssertionError, match="never taken, and its sender has not heard") as caught:
        check_losses(events, 8.0)
    assert str(TO_B) in str(caught.value)
    check_losses(events, 8.0, {("a>b", 7)})  # it waits in a mailbox
    check_losses(events, 0.5)  # it may still be under way


def test_messages_carry_their_number() -> None:
    """A text and an integer side by side, in a tuple or among arguments."""
    assert numbered(("a>b", 7)) == numbered(("news", 1.0, "a>b", 7)) == ("a>b", 7)
    assert numbered(Cast("add", (object(), "a>b", 7), {})) == ("a>b", 7)
    for message in ("a>b", 7, (7, "a>b"), ("a>b", True), Cast("add", ("a>b",), {}), None):
        assert numbered(message) is None


CALLER = ("a@a", 1, 40)
ASKED = Question(1.0, "a", 0, "add", "<b@b:ledger>", "b@b", limit=5.0, due=6.0)
AT_7 = {("a", 0): 7.0}


def asked(*, ended: float | None = 2.0, since: float = math.inf) -> Calls:
    calls = Calls()
    calls.begin(ASKED)
    if ended is not None:
        calls.end(ASKED, ended, since)
    return calls


@pytest.mark.parametrize(
    ("broken", "whole", "words"),
    [
        (lambda: asked(ended=None), lambda: asked(), "still waits, 1 s after the limit of 5 s"),
        (lambda: asked(ended=6.5), lambda: asked(ended=6.0), "waits 0.5 s longer than its limit of 5 s"),
        (lambda: asked(ended=9.0, since=0.2), lambda: asked(ended=9.0, since=0.0), "waits 0.2 s longer"),
    ],
    ids=["without end", "late", "late after a freeze"],
)
def test_sim_65_calls_end_in_time(
    broken: Callable[[], Calls], whole: Callable[[], Calls], words: str
) -> None:
    whole().check(AT_7)
    with pytest.raises(AssertionError, match=f"calls: a has asked <b@b:ledger> for 'add' at 1 s.* {words}"):
        broken().check(AT_7)


def test_sim_65_who_cannot_run_need_not_end_a_call() -> None:
    """A life that is over, or stands still."""
    asked(ended=None).check({})
    asked(ended=None).check({("a", 1): 7.0})


@pytest.mark.parametrize("value", [3, "x", None, [1, (2, b"3")], math.nan, object()])
def test_sim_65_an_answer_belongs_to_its_question(value: object) -> None:
    calls = asked()
    calls.answer(CALLER, "b@b", value)
    calls.receive(ASKED, CALLER, value)
    calls.check(AT_7)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([], "gets an answer that was not given there: 3"),
        ([("c@c", 3)], "gets an answer that was not given there: 3"),
        ([("b@b", 4)], "gets 3, and the answer was 4"),
        ([("b@b", [3])], "gets 3, and the answer was \\[3\\]"),
        ([("b@b", 3), ("b@b", 3)], "b@b answers call 40 of a@a, which was answered before"),
    ],
)
def test_sim_65_an_answer_to_another_question(answers: list[tuple[str, object]], words: str) -> None:
    calls = asked()
    for node, value in answers:
        calls.answer(CALLER, node, value)
    calls.receive(ASKED, CALLER, 3)
    with pytest.raises(AssertionError, match=words):
        calls.check(AT_7)


@pytest.mark.parametrize(
    "happened",
    [[ENDED], [Down(*LATER, "b@b")], [Opened(3.0, "b", 1, "b@b", 5)]],
    ids=["the end", "a lost node", "another life"],
)
def test_sim_65_a_monitor_that_never_fires_is_named(happened: list[Event]) -> None:
    """Unless its own process has ended, or its own life."""
    with pytest.raises(AssertionError, match="never fires") as caught:
        check_monitors([*WATCHED, *happened])
    assert str(WATCHED[-1]) in str(caught.value)
    check_monitors([*WATCHED, *happened, Ended(4.0, "a", 0, 3)])
    check_monitors([*WATCHED, *happened, Opened(4.0, "a", 1, "a@a", 7)])


# Serializability.

T = Transaction


def test_sim_71_a_write_write_cycle_is_named() -> None:
    """Each of two keys says another order of the same two transactions."""
    one = T(0, "c", (Append("x", 1), Append("y", 1)), "committed")
    two = T(1, "d", (Append("x", 2), Append("y", 2)), "committed")
    reads = T(2, "e", (Read("x", [1, 2]), Read("y", [2, 1])), "committed")
    words = explain_transactions([one, two, reads])
    assert words is not None
    assert all(str(each) in words for each in (one, two))
    assert str(reads) not in words
    assert "T0 before T1: it appended 1 to 'x' before 2" in words
    assert "T1 before T0: it appended 2 to 'y' before 1" in words
    assert explain_transactions([one, two, attrs.evolve(reads, operations=(Read("x", [1, 2]),))]) is None


def test_sim_71_a_read_of_an_aborted_write_is_named() -> None:
    aborted = T(0, "c", (Append("x", 1),), "aborted")
    reader = T(1, "d", (Read("x", [1]),), "committed")
    words = explain_transactions([aborted, reader])
    assert words is not None
    assert all(each in words for each in ("aborted", str(aborted), str(reader)))
    assert explain_transactions([attrs.evolve(aborted, outcome="unknown"), reader]) is None


def test_serializable_finds_write_skew_lost_updates_and_reads_of_nothing() -> None:
    skew = [
        T(0, "c", (Read("x", []), Append("y", 1)), "committed"),
        T(1, "d", (Read("y", []), Append("x", 1)), "committed"),
    ]
    assert "no order" in (explain_transactions(skew) or "")
    lost = [
        T(0, "c", (Append("x", 1),), "committed"),
        T(1, "d", (Read("x", [1]), Append("x", 2)), "committed"),
        T(2, "e", (Read("x", [1]), Append("x", 3)), "committed"),
    ]
    assert "no order" in (explain_transactions(lost) or "")
    nothing = [T(0, "c", (Read("x", [9]),), "committed")]
    assert "nobody appended" in (explain_transactions(nothing) or "")
    twice = [T(n, "c", (Append("x", 1),), "committed") for n in range(2)]
    assert "done twice" in (explain_transactions(twice) or "")
    disagree = [
        *lost[:2],
        T(3, "f", (Append("x", 4),), "committed"),
        T(4, "g", (Read("x", [4]),), "committed"),
    ]
    assert "disagree" in (explain_transactions(disagree) or "")


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(st.lists(st.tuples(st.sampled_from("xyz"), st.booleans()), max_size=4), max_size=12))
def test_transactions_one_after_another_are_serializable_in_any_order_of_notes(plans: list[Any]) -> None:
    """Those of a history that was run one by one, whatever order they are noted in."""
    lists: dict[str, list[int]] = {}
    done = []
    for number, plan in enumerate(plans):
        operations: list[Append | Read] = []
        for place, (key, writes) in enumerate(plan):
            if writes:
                lists.setdefault(key, []).append(10 * number + place)
                operations.append(Append(key, 10 * number + place))
            else:
                operations.append(Read(key, lists.get(key, ())))
        done.append(T(number, "c", tuple(operations), "committed"))
    assert explain_transactions(done[::-1]) is None


# Linearizability, compared with trying every order.

OPERATIONS: dict[str, tuple[Model, list[tuple[str, tuple[Any, ...]]], list[Any]]] = {
    "register": (
        REGISTER,
        [("read", ()), ("write", (1,)), ("write", (2,)), ("compare_and_set", (1, 2))],
        [None, 1, 2, True, False],
    ),
    "counter": (COUNTER, [("add", (1,)), ("add", (2,)), ("read", ())], [0, 1, 2, 3, 4, 5]),
    "set": (SET, [("add", (1,)), ("remove", (1,)), ("contains", (1,))], [True, False]),
    "queue": (QUEUE, [("put", (1,)), ("put", (2,)), ("take", ())], [None, 1, 2]),
    "lock": (LOCK, [("acquire", ()), ("release", ())], [True, False]),
}


def brute_force(history: list[Operation], model: Model) -> bool:
    """Try every order of every set of operations that holds all that were answered."""
    unanswered = [operation for operation in history if operation.answered == math.inf]
    answered = [operation for operation in history if operation.answered < math.inf]
    for count in range(len(unanswered) + 1):
        for some in itertools.combinations(unanswered, count):
            for order in itertools.permutations([*answered, *some]):
                is_real = all(
                    not later.answered < earlier.called
                    for place, earlier in enumerate(order)
                    for later in order[place + 1 :]
                )
                states = {model.initial}
                for operation in order if is_real else ():
                    states = {
                        following
                        for state in states
                        for answer, following in model.step(state, operation)
                        if operation.answered == math.inf or answer == operation.answer
                    }
                if is_real and states:
                    return True
    return False


@pytest.mark.parametrize("name", OPERATIONS)
def test_sim_66_verdicts_are_those_of_every_order(name: str) -> None:
    model, kinds, answers = OPERATIONS[name]
    one = st.tuples(
        st.sampled_from("xyz"),
        st.sampled_from(kinds),
        st.integers(0, 6),
        st.one_of(st.integers(0, 6), st.none()),
        st.sampled_from(answers),
    )
    verdicts = set()

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(st.lists(one, max_size=5))
    def compare(drawn: list[Any]) -> None:
        history = [
            Operation(
                client,
                "key",
                *kind,
                float(called),
                math.inf if length is None else called + length + 0.5,
                None if length is None else answer,
            )
            for client, kind, called, length, answer in drawn
        ]
        verdict = explain(history, model) is None
        assert verdict == brute_force(history, model)
        verdicts.add(verdict)

    compare()
    assert verdicts == {True, False}


def test_sim_68_many_keys_are_judged_each_alone() -> None:
    history = []
    for number in range(10_000):
        key, when = number % 100, float(number)
        if number // 100 % 2 == 0:
            history.append(Operation("c", key, "write", (number,), when, when + 0.5))
        else:
            history.append(Operation("c", key, "read", (), when, when + 0.5, number - 100))
    assert explain(history, REGISTER) is None
    spoilt = [*history, Operation("c", 7, "read", (), 20_000.0, 20_001.0, -1)]
    words = explain(spoilt, REGISTER)
    assert words is not None
    assert "none of these can follow:\n  c: read() on 7 at 20000 s -> -1" in words


def test_sim_68_too_much_at_a_time_is_undecided() -> None:
    history = [Operation(f"c{n}", "key", "write", (n,), 0.0, 100.0) for n in range(30)]
    history.append(Operation("r", "key", "read", (), 200.0, 201.0, -1))
    with pytest.raises(Undecided, match="use fewer operations"):
        explain(history, REGISTER, budget=1000)
