"""The rules that hold near and far alike: each case runs within one node, and between two of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from enfilade.actors import (
    KILL,
    NO_PROCESS,
    SHUTDOWN,
    Actor,
    BadArguments,
    CallTimeout,
    Crashed,
    Custom,
    Deferred,
    Down,
    Exited,
    Node,
    NoProcess,
    NotPublic,
    Process,
    ProcessDied,
    Ref,
    Refused,
    UnknownMethod,
    open_node,
)
from enfilade.actors.testing import VirtualClock
from tests.conformance.actors.abroad import (
    BACK_ENDS,
    autojump_clock,
    carrier_of,
    mesh_server,
    open_abroad,
    passed,
    settled,
)

__all__ = ["autojump_clock", "mesh_server"]


@attrs.frozen
class Place:
    """Where a case is, and where its subject is.

    Attributes:
        here: the node of the case.
        there: the node of the subject; near, the same.
    """

    here: Node
    there: Node

    @property
    def is_far(self) -> bool:
        return self.here is not self.there

    def seen(self, ref: Ref[Any]) -> Ref[Any]:
        """A ref of the other node as it is seen here."""
        return passed(ref, self.there, self.here) if self.is_far else ref

    async def spawn(self, target: Any, *args: Any, **options: Any) -> Any:
        """Start the subject."""
        return self.seen(await self.there.spawn(target, *args, **options))

    def named(self, name: str) -> Ref[Any]:
        """The subject by its name."""
        return self.here.remote(name, self.there.full_name) if self.is_far else self.here.named(name)


@asynccontextmanager
async def _place(where: str, directory: Path) -> AsyncIterator[Place]:
    if where == "near":
        async with open_node("home") as node:
            yield Place(node, node)
    else:
        async with open_abroad(where, directory) as abroad:
            yield Place(abroad.home, abroad.far)


@pytest.fixture(params=["near", *BACK_ENDS])
def where(request: pytest.FixtureRequest) -> str:
    """Near, or what carries the node link."""
    return carrier_of(request)


@pytest.fixture
async def place(where: str, tmp_path: Path, autojump_clock: VirtualClock) -> AsyncIterator[Place]:
    """Near, and far by each carrier."""
    async with _place(where, tmp_path) as place:
        yield place


class Clerk(Actor):
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.owed: list[Deferred[Any]] = []

    def later(self) -> Deferred[Any]:
        self.owed.append(self.process.defer())
        return self.owed[-1]

    def given_up(self) -> list[Any]:
        return [deferred.given_up_by for deferred in self.owed]

    def callers(self) -> list[Any]:
        return [deferred.caller for deferred in self.owed]

    def answer(self) -> None:
        for deferred in self.owed:
            deferred.reply("late")


async def _cancelled(process: Process, clerk: Ref[Clerk]) -> None:
    with trio.move_on_after(1):
        await clerk.call(Clerk.later)
    await process.receive()


async def _timed_out(process: Process, clerk: Ref[Clerk]) -> None:
    with pytest.raises(CallTimeout):
        await clerk.within(1).call(Clerk.later)
    await process.receive()


async def _request(process: Process, clerk: Ref[Clerk]) -> None:
    request = process.request(clerk, Clerk.later)
    await trio.sleep(1)
    request.cancel()
    await process.receive()


async def _ended(process: Process, clerk: Ref[Clerk]) -> None:
    process.node.timers.call_after(1, process.ref.exit, SHUTDOWN)
    await clerk.call(Clerk.later)


@pytest.mark.parametrize("asker", [_cancelled, _timed_out, _request, _ended])
async def test_who_gave_up(autojump_clock: VirtualClock, place: Place, asker: Any) -> None:
    """C16, D8: the callee learns at once that nobody waits, and who it was that asked."""
    home = await place.there.spawn(Clerk)
    clerk = place.seen(home)
    asking = await place.here.spawn(asker, clerk)
    await settled()
    assert await home.call(Clerk.callers) == [asking]
    assert await home.call(Clerk.given_up) == [None]
    await trio.sleep(0.5)
    assert await home.call(Clerk.given_up) == [None]
    await trio.sleep(1)
    assert await home.call(Clerk.given_up) == [asking]
    await home.call(Clerk.answer)
    assert await home.call(Clerk.given_up) == [asking]
    with trio.move_on_after(1):
        await clerk.call(Clerk.later)
    await settled()
    _, by = await home.call(Clerk.given_up)
    assert by == place.here.ref
    asking.exit(SHUTDOWN)


async def test_who_was_answered_has_not_given_up(autojump_clock: VirtualClock, place: Place) -> None:
    """C16: what was answered was not given up."""
    home = await place.there.spawn(Clerk)
    async with place.here.mailbox() as me:
        request = me.request(place.seen(home), Clerk.later)
        await settled()
        await home.call(Clerk.answer)
        assert await request.receive(1) == "late"
        request.cancel()
        await settled()
        assert await home.call(Clerk.given_up) == [None]


class Subject(Actor):
    """What everything is done to."""

    def __init__(self) -> None:
        self.noted: list[Any] = []
        notes.append(self.noted)

    def note(self, value: Any) -> Any:
        self.noted.append(value)
        return value

    def on_message(self, message: Any) -> None:
        self.noted.append(message)

    def alias(self) -> Ref[Any]:
        return self.process.alias()

    async def never(self) -> None:
        await trio.sleep_forever()

    def fail(self) -> None:
        raise ValueError("as it was asked to")


class Other(Actor):
    def missing(self) -> None:
        """Is a method of another class."""


notes: list[list[Any]] = []

Operation = Callable[[Process, Ref[Any]], Awaitable[Any]]


async def _call(me: Process, ref: Ref[Any]) -> Any:
    return await ref.call(Subject.note, "called")


async def _cast(me: Process, ref: Ref[Any]) -> Any:
    ref.cast(Subject.note, "cast")
    return await _noted()


async def _send(me: Process, ref: Ref[Any]) -> Any:
    ref.send("sent")
    return await _noted()


async def _send_wait(me: Process, ref: Ref[Any]) -> Any:
    await ref.send_wait("sent")
    return await _noted()


async def _noted() -> Any:
    await settled()
    return notes[-1][-1:]


async def _asked(me: Process, ref: Ref[Any]) -> Any:
    return await me.request(ref, Subject.note, "requested").receive(1)


async def _monitor(me: Process, ref: Ref[Any]) -> Any:
    monitor = me.monitor(ref)
    with suppress(NoProcess):
        ref.cast(Subject.fail)
    down = await me.receive(Down, timeout=1)
    return down.monitor is monitor, str(down.reason)


async def _link(me: Process, ref: Ref[Any]) -> Any:
    me.link(ref)
    with suppress(NoProcess):
        ref.cast(Subject.fail)
    return str((await me.receive(Exited, timeout=1)).reason)


async def _exit(me: Process, ref: Ref[Any]) -> Any:
    monitor = me.monitor(ref)
    me.exit(ref, Custom("enough"))
    down = await me.receive(Down, timeout=1)
    return down.monitor is monitor, down.reason


async def _stop(me: Process, ref: Ref[Any]) -> Any:
    monitor = me.monitor(ref)
    for number in range(3):
        ref.send(number)
    await ref.stop(SHUTDOWN, 1, drain=True)
    down = await me.receive(Down, timeout=1)
    return down.monitor is monitor, down.reason, notes[-1]


async def _stop_otherwise(me: Process, ref: Ref[Any]) -> Any:
    await ref.stop(Custom("so"), 1)
    return await ref.call(Subject.note, "too late")


async def _too_slow(me: Process, ref: Ref[Any]) -> Any:
    return await me.request(ref, Subject.never).receive(1)


async def _unknown(me: Process, ref: Ref[Any]) -> Any:
    return await ref.call(Other.missing)


async def _bad_arguments(me: Process, ref: Ref[Any]) -> Any:
    return await ref.call(Subject.note, 1, 2, 3)  # type: ignore[arg-type]


async def _fail(me: Process, ref: Ref[Any]) -> Any:
    return await ref.call(Subject.fail)


async def _hook(me: Process, ref: Ref[Any]) -> Any:
    return await ref.call(Subject.on_stop, SHUTDOWN)


CRASHED = "crashed: ValueError('as it was asked to')"
ALIVE: dict[Operation, Any] = {
    _call: "called",
    _cast: ["cast"],
    _send: ["sent"],
    _send_wait: ["sent"],
    _asked: "requested",
    _monitor: (True, CRASHED),
    _link: CRASHED,
    _exit: (True, Custom("enough")),
    _stop: (True, SHUTDOWN, [0, 1, 2]),
    _stop_otherwise: NoProcess,
    _too_slow: CallTimeout,
    _unknown: UnknownMethod,
    _bad_arguments: BadArguments,
    _fail: ProcessDied,
    _hook: NotPublic,
}
DEAD: dict[Operation, Any] = {
    _call: NoProcess,
    _cast: [],
    _send: [],
    _send_wait: [],
    _asked: NoProcess,
    _monitor: (True, "no process"),
    _link: "no process",
    _exit: (True, NO_PROCESS),
    _stop: NoProcess,
    _stop_otherwise: NoProcess,
    _too_slow: NoProcess,
    _unknown: NoProcess,
    _bad_arguments: NoProcess,
    _fail: NoProcess,
    _hook: NotPublic,
}


async def _outcome(operation: Operation, me: Process, ref: Ref[Any]) -> Any:
    try:
        return await operation(me, ref)
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("addressed", ["ref", "name", "alias"])
@pytest.mark.parametrize("operation", ALIVE)
@pytest.mark.parametrize("is_alive", [True, False], ids=["alive", "dead"])
async def test_operations(
    autojump_clock: VirtualClock, place: Place, operation: Operation, addressed: str, is_alive: bool
) -> None:
    """R1: whatever is done to a process, it makes no difference where it is, or how it is addressed."""
    if operation is _link and addressed == "name" and place.is_far:
        pytest.skip("a name on another node cannot be linked to")
    ref = await place.spawn(Subject, name="subject")
    refs = {"ref": ref, "name": place.named("subject"), "alias": await ref.call(Subject.alias)}
    if not is_alive:
        ref.exit(KILL)
        await settled()
    expected = (ALIVE if is_alive else DEAD)[operation]
    if not is_alive and addressed == "name" and operation in (_cast, _send, _send_wait):
        expected = NoProcess if not place.is_far or operation is _send_wait else []
    if not is_alive and addressed == "name" and not place.is_far and operation in (_link, _exit, _hook):
        expected = NoProcess
    async with place.here.mailbox() as me:
        me.trap_exits = True
        began = trio.current_time()
        assert await _outcome(operation, me, refs[addressed]) == expected
        assert trio.current_time() - began == (1 if expected is CallTimeout else 0)
    other = await place.spawn(Subject)
    assert await other.call(Subject.note, "a bystander") == "a bystander"


async def _exits(process: Process, ref: Ref[Any]) -> None:
    process.exit(ref, Custom("enough"))
    await process.receive()


async def _kills(process: Process, ref: Ref[Any]) -> None:
    ref.exit(KILL)
    await process.receive()


async def _exits_later(process: Process, ref: Ref[Any]) -> None:
    process.exit_after(0.1, ref, Custom("enough"))
    await process.receive()


async def _stops(process: Process, ref: Ref[Any]) -> None:
    await ref.stop(Custom("enough"))
    await process.receive()


async def _drains(process: Process, ref: Ref[Any]) -> None:
    await ref.stop(Custom("enough"), drain=True)
    await process.receive()


async def _listener(process: Process) -> None:
    await process.receive()


async def _passes_on(process: Process, events: list[Any]) -> None:
    process.trap_exits = True
    exited = await process.receive(Exited)
    events.append(exited)
    process.trap_exits = False
    process.exit(process.ref, exited.reason)


@pytest.mark.parametrize("asker", [_exits, _kills, _exits_later, _stops, _drains])
@pytest.mark.parametrize("subject", [Subject, _listener])
async def test_who_asked(autojump_clock: VirtualClock, place: Place, asker: Any, subject: Any) -> None:
    """L9, D8: a reason says who asked for the end, to monitors and links, on both sides."""
    async with place.here.mailbox() as me, place.there.mailbox() as there:
        me.trap_exits = True
        home = await place.there.spawn(subject)
        ref = place.seen(home)
        me.monitor(ref)
        me.link(ref)
        there.monitor(home)
        await settled()
        asking = await place.here.spawn(asker, ref)
        down, exited = await me.receive(Down, timeout=1), await me.receive(Exited, timeout=1)
        near = await there.receive(Down, timeout=1)
        assert down.reason == exited.reason == near.reason
        assert down.reason.by == exited.reason.by == asking
        assert near.reason.by == asking
        asking.exit(SHUTDOWN)


async def _watches(process: Process, ref: Ref[Any], events: list[Any]) -> None:
    process.monitor(ref)
    events.append(await process.receive(Down))


@pytest.mark.parametrize("subject", [Subject, _listener])
async def test_plain_code_asks_by_its_node(autojump_clock: VirtualClock, place: Place, subject: Any) -> None:
    """L9: the node's ref stands for plain code."""
    events: list[Any] = []
    for ask in (lambda ref: ref.stop(Custom("enough")), _exit_plainly):
        ref = await place.spawn(subject)
        await place.here.spawn(_watches, ref, events)
        await settled()
        await ask(ref)
        await settled()
        assert events[-1].reason == Custom("enough")
        assert events[-1].reason.by == place.here.ref
    assert len(events) == 2


async def _exit_plainly(ref: Ref[Any]) -> None:
    ref.exit(Custom("enough"))


async def test_links_pass_on_who_asked(autojump_clock: VirtualClock, place: Place) -> None:
    """L9: who dies of a link, near or far, has in its reason who asked for the first end."""
    async with place.here.mailbox() as me:
        second = await place.here.spawn(_listener)
        first = await place.spawn(_listener)
        place.here.processes[second.serial].link(first)
        me.monitor(second)
        await settled()
        me.exit(first, Custom("enough"))
        down = await me.receive(Down, timeout=1)
        assert down.reason == Custom("enough")
        assert down.reason.by == me.ref


async def test_a_trapped_signal_says_who_asked(autojump_clock: VirtualClock, place: Place) -> None:
    """L9: a signal that a process sends on says that this process asked."""
    events: list[Any] = []
    async with place.here.mailbox() as me:
        home = await place.there.spawn(_passes_on, events)
        ref = place.seen(home)
        me.monitor(ref)
        await settled()
        me.exit(ref, Custom("enough"))
        down = await me.receive(Down, timeout=1)
        assert events[0].reason.by == events[0].ref == me.ref
        assert down.reason.by == ref


async def test_nobody_asked(autojump_clock: VirtualClock, place: Place) -> None:
    """L9: a process that ends by itself, or crashes, was asked by nobody."""
    async with place.here.mailbox() as me:
        ref = await place.spawn(Subject)
        me.monitor(ref)
        ref.cast(Subject.fail)
        down = await me.receive(Down, timeout=1)
        assert down.reason.by is None


async def test_a_caller_is_told_who_ended_the_callee(autojump_clock: VirtualClock, place: Place) -> None:
    """L9: so is the caller of a process that ends in the middle of a call."""
    home = await place.there.spawn(Clerk)
    asking = await place.here.spawn(_exits_later, place.seen(home))
    with pytest.raises(ProcessDied) as died:
        await place.seen(home).call(Clerk.later)
    assert died.value.reason.by == asking
    asking.exit(SHUTDOWN)


class Messenger(Actor):
    """Tells what it has seen of the end of another process."""

    def __init__(self, carried: Any = None) -> None:
        self.carried = carried
        self.downs: list[Down] = []

    def watch(self, ref: Ref[Any]) -> None:
        self.process.monitor(ref)

    def on_down(self, down: Down) -> None:
        self.downs.append(down)

    def tell(self) -> Any:
        (down,) = self.downs
        return [down.reason, Exited(down.ref, down.reason), {"reason": (down.reason,)}]

    def blame(self) -> None:
        raise self._error()

    def refuse(self) -> Any:
        return self.process.refuse(self._error())

    def _error(self) -> ProcessDied:
        (down,) = self.downs
        error = ProcessDied(down.ref, down.reason)
        vars(error)["carried"] = self.carried
        return error


class Unspeakable:
    """Does not travel."""


async def test_a_reason_within_something_else_says_who_asked(
    autojump_clock: VirtualClock, place: Place
) -> None:
    """L9, D8: in a reply, a message, an error, and an error within a reason, also where that is in words."""
    subject = await place.there.spawn(Subject)
    home = await place.there.spawn(Messenger)
    messenger = place.seen(home)
    await home.call(Messenger.watch, subject)
    asking = await place.here.spawn(_exits, place.seen(subject))
    await settled()

    reason, exited, held = await messenger.call(Messenger.tell)
    assert reason == exited.reason == held["reason"][0]
    assert reason.by == exited.reason.by == held["reason"][0].by == asking

    with pytest.raises(ProcessDied) as refused:
        await messenger.call(Messenger.refuse)
    assert refused.value.reason.by == asking

    with pytest.raises(ProcessDied) as died:
        await messenger.call(Messenger.blame)
    crash = died.value.reason
    assert crash.by is None
    assert isinstance(crash, Crashed)
    assert isinstance(crash.error, ProcessDied)
    assert crash.error.reason.by == asking
    asking.exit(SHUTDOWN)


@pytest.mark.parametrize("method", ["refuse", "blame"])
async def test_in_words_it_says_so_too(autojump_clock: VirtualClock, place: Place, method: str) -> None:
    """L9, D9: the same of an error that carries what cannot travel."""
    subject = await place.there.spawn(Subject)
    home = await place.there.spawn(Messenger, Unspeakable())
    await home.call(Messenger.watch, subject)
    asking = await place.here.spawn(_exits, place.seen(subject))
    await settled()
    with pytest.raises(ProcessDied) as raised:
        await place.seen(home).call(getattr(Messenger, method))
    reason = raised.value.reason
    if isinstance(reason, Crashed):
        assert isinstance(reason.error, ProcessDied)
        reason = reason.error.reason
    assert reason.by == asking
    asking.exit(SHUTDOWN)


async def test_such_a_ref_reaches_nobody(autojump_clock: VirtualClock, place: Place) -> None:
    """D8, D10: also where the reason lies in a message, whose other refs give access."""
    subject = await place.there.spawn(Subject)
    home = await place.there.spawn(Messenger)
    await home.call(Messenger.watch, subject)
    asking = await place.there.spawn(_exits, subject)
    await settled()
    reason, *_ = await place.seen(home).call(Messenger.tell)
    assert reason.by == asking
    if place.is_far:
        with pytest.raises(Refused):
            await reason.by.call(Subject.fail)
    asking.exit(SHUTDOWN)
