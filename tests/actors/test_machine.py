"""State machines: clauses, transitions, time-outs, postponing."""

import enum
from collections.abc import Container, Hashable

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from enfilade.actors import ProcessDied, StartError, open_node
from enfilade.actors.patterns.machine import Machine, UnknownState, after, enter, leave, when
from enfilade.actors.processes.protocol import protocol_of


class Turnstile(Machine):
    initial = "locked"

    def __init__(self) -> None:
        self.log: list[str] = []

    def coin(self) -> str:
        return "returned"

    def push(self) -> str:
        return "blocked"

    def history(self) -> list[str]:
        return self.log

    def wait_for_passage(self) -> str:
        return "passing"

    @when("locked", coin)
    def _unlock(self) -> str:
        self.become("unlocked")
        return "thanks"

    @when("unlocked", push)
    def _pass(self) -> str:
        self.become("locked")
        return "through"

    @when("locked", wait_for_passage)
    def _wait(self) -> str:
        self.postpone()

    @enter("locked")
    def _closing(self) -> None:
        self.log.append("closing")

    @enter("unlocked")
    def _opening(self) -> None:
        self.log.append("opening")

    @leave("unlocked")
    def _left(self) -> None:
        self.log.append("left")

    @after(5.0, "unlocked")
    def _nobody_came(self) -> None:
        self.log.append("nobody came")
        self.become("locked")


async def test_a_clause_takes_the_place_of_its_method_in_its_state() -> None:
    async with open_node("n") as node:
        ref = await node.spawn(Turnstile)
        assert await ref.call(Turnstile.push) == "blocked"
        assert await ref.call(Turnstile.coin) == "thanks"
        assert await ref.call(Turnstile.coin) == "returned"
        assert await ref.call(Turnstile.push) == "through"
        assert await ref.call(Turnstile.push) == "blocked"


async def test_transitions_run_when_a_state_is_entered_and_left() -> None:
    async with open_node("n") as node:
        ref = await node.spawn(Turnstile)
        await ref.call(Turnstile.coin)
        await ref.call(Turnstile.push)
        assert await ref.call(Turnstile.history) == ["closing", "opening", "left", "closing"]


async def test_functions_of_one_transition_run_one_after_the_other() -> None:
    class Loud(Turnstile):
        @enter("unlocked")
        def _squeaking(self) -> None:
            self.log.append("squeaking")

    async with open_node("n") as node:
        ref = await node.spawn(Loud)
        await ref.call(Turnstile.coin)
        assert await ref.call(Turnstile.history) == ["closing", "opening", "squeaking"]


class Impatient(Machine):
    """Handles events in the third state only; the second turns to that, and postpones the event."""

    initial = "first"

    def __init__(self) -> None:
        self.log: list[str] = []

    def event(self, name: str) -> None:
        self.log.append(name)

    @when("first", event)
    def _put_off(self, name: str) -> None:
        self.postpone()

    @when("second", event)
    def _turn(self, name: str) -> None:
        self.become("third")
        self.postpone()

    def go(self) -> None:
        self.become("second")

    def history(self) -> list[str]:
        return self.log


async def test_an_event_postponed_again_stays_before_those_that_are_due() -> None:
    async with open_node("n") as node:
        ref = await node.spawn(Impatient)
        for name in ("one", "two", "three"):
            ref.cast(Impatient.event, name)
        await ref.call(Impatient.go)
        assert await ref.call(Impatient.history) == ["one", "two", "three"]


class Relay(Impatient):
    def on_message(self, message: object) -> None:
        self.log.append(str(message))

    @when("first", on_message)
    def _later(self, message: object) -> None:
        self.postpone()

    def relay(self, message: str) -> None:
        return self.on_message(message)


async def test_a_call_is_not_postponed_with_the_message_that_it_passes_on(autojump_clock: MockClock) -> None:
    async with open_node("n") as node:
        ref = await node.spawn(Relay)
        assert await ref.within(1).call(Relay.relay, "message") is None
        await ref.call(Impatient.go)
        assert await ref.call(Impatient.history) == ["message"]


async def test_a_state_times_out_once_it_has_lasted(autojump_clock: MockClock) -> None:
    async with open_node("n") as node:
        ref = await node.spawn(Turnstile)
        await ref.call(Turnstile.coin)
        await trio.sleep(4.9)
        assert "nobody came" not in await ref.call(Turnstile.history)
        await trio.sleep(0.2)
        assert (await ref.call(Turnstile.history))[-3:] == ["nobody came", "left", "closing"]


async def test_leaving_a_state_cancels_its_time_out(autojump_clock: MockClock) -> None:
    async with open_node("n") as node:
        ref = await node.spawn(Turnstile)
        await ref.call(Turnstile.coin)
        await ref.call(Turnstile.push)
        await trio.sleep(20)
        assert "nobody came" not in await ref.call(Turnstile.history)


async def test_a_postponed_call_is_answered_in_the_next_state() -> None:
    async with open_node("n") as node:
        ref = await node.spawn(Turnstile)
        replies: list[str] = []

        async def passenger() -> None:
            replies.append(await ref.call(Turnstile.wait_for_passage))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(passenger)
            await trio.testing.wait_all_tasks_blocked()
            assert replies == []
            await ref.call(Turnstile.coin)
        assert replies == ["passing"]


async def test_a_call_postponed_twice_is_answered_once() -> None:
    class Countdown(Machine):
        initial = 3

        def down(self) -> None:
            assert isinstance(self.state, int)
            self.become(self.state - 1)

        def wait_for_zero(self) -> str:
            if self.state != 0:
                self.postpone()
            return "zero"

    async with open_node("n") as node:
        ref = await node.spawn(Countdown)
        async with node.mailbox() as me:
            request = me.request(ref, Countdown.wait_for_zero)
            for _ in range(3):
                assert not request.check()
                await ref.call(Countdown.down)
            assert await request.receive() == "zero"


async def test_postponed_messages_keep_their_order_and_come_before_newer_ones() -> None:
    class Gate(Machine):
        initial = "shut"

        def __init__(self) -> None:
            self.seen: list[object] = []

        def open_up(self) -> None:
            self.become("open")

        def messages(self) -> list[object]:
            return self.seen

        def on_message(self, message: object) -> None:
            self.seen.append(message)

        @when("shut", on_message)
        def _wait(self, message: object) -> None:
            self.postpone()

    async with open_node("n") as node:
        ref = await node.spawn(Gate)
        for number in range(3):
            ref.send(number)
        ref.cast(Gate.open_up)
        ref.send("late")
        assert await ref.call(Gate.messages) == [0, 1, 2, "late"]


async def test_a_postponed_call_fails_when_the_machine_dies() -> None:
    class Stuck(Machine):
        initial = "only"

        def never(self) -> None:
            self.postpone()

        def crash(self) -> None:
            raise RuntimeError("on purpose")

    async with open_node("n") as node:
        ref = await node.spawn(Stuck)
        async with node.mailbox() as me:
            request = me.request(ref, Stuck.never)
            ref.cast(Stuck.crash)
            with pytest.raises(ProcessDied):
                await request.receive()


async def test_an_async_machine(autojump_clock: MockClock) -> None:
    class Boiler(Machine):
        initial = "cold"

        async def brew(self) -> str:
            return "brewed"

        @when("cold", brew)
        async def _heat_first(self) -> str:
            self.process.timers.start("heat", 2.0, "hot")
            self.postpone()

        def on_message(self, message: object) -> None:
            self.become(message)

    async with open_node("n") as node:
        ref = await node.spawn(Boiler)
        started = trio.current_time()
        assert await ref.call(Boiler.brew) == "brewed"
        assert trio.current_time() - started == pytest.approx(2.0)


async def test_a_subclass_adds_clauses_and_overrides_methods() -> None:
    class Kind(Turnstile):
        @when("locked", Turnstile.push)
        def _let_through(self) -> str:
            return "go ahead"

    async with open_node("n") as node:
        assert await (await node.spawn(Kind)).call(Kind.push) == "go ahead"
        assert await (await node.spawn(Turnstile)).call(Turnstile.push) == "blocked"


async def test_entering_the_same_state_is_no_change_unless_asked_for() -> None:
    class Repeating(Machine):
        initial = "a"
        entries = 0

        def stay(self, again: bool) -> int:
            self.become("a", again=again)
            return self.entries

        @enter("a")
        def _count(self) -> None:
            self.entries += 1

    async with open_node("n") as node:
        ref = await node.spawn(Repeating)
        assert await ref.call(Repeating.stay, False) == 1
        assert await ref.call(Repeating.stay, True) == 2


def test_what_changes_the_state_is_no_part_of_the_protocol() -> None:
    handlers = protocol_of(Turnstile).handlers
    assert "coin" in handlers
    assert "become" not in handlers
    assert "postpone" not in handlers


def test_a_time_out_takes_a_positive_number_of_seconds() -> None:
    with pytest.raises(ValueError, match="seconds must be positive, got 0"):
        after(0, "state")


class Sorting(Machine):
    """Postpones everything in its first state; in the second, what is said to be late."""

    initial = "first"

    def __init__(self) -> None:
        self.log: list[tuple[object, str]] = []

    def event(self, name: str) -> None:
        if self.state == "first" or (self.state == "second" and name == "late"):
            self.postpone()
        self.log.append((self.state, name))
        if name == "change":
            self.become("third")

    def begin(self) -> None:
        self.become("second")

    def move_on(self) -> str:
        """Changes the state, and wants to be handled again in the new one."""
        if self.state == "first":
            self.become("second")
            self.postpone()
        self.log.append((self.state, "moved on"))
        return "moved on"

    def history(self) -> list[tuple[object, str]]:
        return self.log


class AsyncSorting(Sorting):
    async def nothing(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("machine", [Sorting, AsyncSorting])
async def test_what_was_postponed_longest_comes_first(
    autojump_clock: MockClock, machine: type[Sorting]
) -> None:
    """An event that is postponed again stays before those that were postponed after it, as in gen_statem."""
    async with open_node("m") as node:
        sorting = await node.spawn(machine)
        for name in ("late", "change", "b", "c"):
            sorting.cast(Sorting.event, name)
        sorting.cast(Sorting.begin)
        sorting.cast(Sorting.event, "d")
        assert await sorting.call(Sorting.history) == [
            ("second", "change"),
            ("third", "late"),
            ("third", "b"),
            ("third", "c"),
            ("third", "d"),
        ]


@pytest.mark.parametrize("machine", [Sorting, AsyncSorting])
async def test_postponed_by_the_handler_that_has_changed_the_state(
    autojump_clock: MockClock, machine: type[Sorting]
) -> None:
    """Such an event is handled again in the new state, after what was postponed before it."""
    async with open_node("m") as node, node.mailbox() as me:
        sorting = await node.spawn(machine)
        sorting.cast(Sorting.event, "a")
        request = me.request(sorting, Sorting.move_on)
        sorting.cast(Sorting.event, "b")
        assert await request.receive() == "moved on"
        assert await sorting.call(Sorting.history) == [
            ("second", "a"),
            ("second", "moved on"),
            ("second", "b"),
        ]


async def test_a_postponed_event_cancels_the_event_time_out(autojump_clock: MockClock) -> None:
    """It is an event like any other, as in gen_statem."""

    class Waiting(Sorting):
        def begin(self) -> None:
            super().begin()
            self.process.timeout_after(1)

        def on_message(self, message: object) -> None:
            self.log.append((self.state, repr(message)))

    async with open_node("m") as node:
        waiting = await node.spawn(Waiting)
        waiting.cast(Sorting.event, "a")
        waiting.cast(Waiting.begin)
        await trio.sleep(2)
        assert await waiting.call(Sorting.history) == [("second", "a")]


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


@pytest.mark.parametrize(
    ("states", "known", "unknown"),
    [
        ({"red", "green"}, "green", "gren"),
        (Colour, Colour.GREEN, "green"),
        (range(3), 2, 3),
    ],
    ids=["set", "enumeration", "range"],
)
async def test_a_machine_that_lists_its_states_takes_no_other(
    states: Container[Hashable], known: Hashable, unknown: Hashable
) -> None:
    listed = states

    class Light(Machine):
        states = listed
        initial = known

        def turn(self, state: Hashable) -> Hashable:
            try:
                self.become(state)
            except UnknownState:
                return "refused"
            return self.state

    async with open_node("n") as node:
        light = await node.spawn(Light)
        assert await light.call(Light.turn, known) == known
        assert await light.call(Light.turn, unknown) == "refused"
        assert await light.call(Light.turn, known) == known


async def test_the_first_state_is_looked_at_when_it_is_entered() -> None:
    class Light(Machine):
        states = frozenset({"red", "green"})

    async with open_node("n") as node:
        with pytest.raises(StartError, match=r"expected a state of .*Light"):
            await node.spawn(Light)


def test_a_misspelt_mark_is_found_when_the_class_is_made() -> None:
    with pytest.raises(
        UnknownState, match=r"expected a state of .*Light \('green', 'red'\), got 'gren'; did"
    ):

        class Light(Machine):
            states = ("green", "red")
            initial = "red"

            @enter("gren")
            def _go(self) -> None: ...


@pytest.mark.parametrize("kind", ["sync", "async", "calls the base"])
async def test_the_first_state_is_entered_whatever_on_start_calls(kind: str) -> None:
    """Without a call of the base's `on_start`, the state is entered when the machine's own has returned."""

    class Light(Machine):
        initial = "red"

        def __init__(self) -> None:
            self.log: list[str] = []

        def history(self) -> list[str]:
            return self.log

        @enter("red")
        def _stop(self) -> None:
            self.log.append("red")

    class Sync(Light):
        def on_start(self) -> None:
            self.log.append("start")

    class Async(Light):
        async def on_start(self) -> None:
            await trio.lowlevel.checkpoint()
            self.log.append("start")

    class Base(Light):
        def on_start(self) -> None:
            super().on_start()
            self.log.append("start")

    expected = ["red", "start"] if kind == "calls the base" else ["start", "red"]
    async with open_node("n") as node:
        light = await node.spawn({"sync": Sync, "async": Async, "calls the base": Base}[kind])
        assert await light.call(Light.history) == expected


async def test_a_machine_without_a_first_state_does_not_start() -> None:
    class Light(Machine):
        def on_start(self) -> None:
            """Does not change the state either."""

    class Lit(Light):
        initial = None  # a state as others, if the class says so

    async with open_node("n") as node:
        with pytest.raises(StartError, match="Light has no first state; name it in `initial`"):
            await node.spawn(Light)
        await node.spawn(Lit)


def test_a_class_has_one_clause_for_a_state_and_method() -> None:
    with pytest.raises(TypeError, match="has two clauses for push in the state 'locked': _once and _twice"):

        class Doubled(Turnstile):
            @when("locked", Turnstile.push)
            def _once(self) -> str:
                return "once"

            @when("locked", Turnstile.push)
            def _twice(self) -> str:
                return "twice"


@pytest.mark.parametrize("method", [Turnstile._unlock, Turnstile.on_start, Turnstile.on_stop, "push", None])
def test_a_clause_is_of_what_others_can_ask_for(method: object) -> None:
    with pytest.raises(TypeError, match="expected a public method, or on_message, on_exit or on_down"):
        when("locked", method)  # type: ignore[arg-type]
