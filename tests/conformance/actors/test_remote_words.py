"""Ends that cannot be encoded: everybody hears of them, in words, and the node link goes on."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio

from enfilade.actors import (
    Actor,
    Child,
    Crashed,
    Custom,
    Down,
    Exit,
    Exited,
    ProcessDied,
    Reason,
    Ref,
    RemoteEntry,
    Shutdown,
    StartError,
    Supervisor,
)
from enfilade.actors.testing import VirtualClock
from enfilade.transport import PayloadError, register
from enfilade.transport.payload import RemoteError
from tests.conformance.actors.abroad import Abroad, autojump_clock, back_end, mesh_server, node, settled

__all__ = ["autojump_clock", "back_end", "mesh_server", "node"]


class Mute(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise LookupError("no str")

    __repr__ = __str__


class Bomb(Exception):
    """Ends whoever asks what it is, unless that one is careful."""

    def __str__(self) -> str:
        raise SystemExit("no str")

    __repr__ = __str__


class Closed(Exception):
    """Lets nobody look into it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("no attributes")


@register
class Carries(Exception):
    """Travels as it is, but for what it carries."""


class Hidden:
    """A value of a type that does not travel."""

    def __init__(self) -> None:
        self.itself = self

    def __repr__(self) -> str:
        raise ValueError("no repr")


def group() -> BaseException:
    return ExceptionGroup("several", [Mute(), Carries(Hidden())])


def chained() -> BaseException:
    error = ValueError("seen")
    error.__cause__ = Bomb()
    return error


ERRORS: dict[str, Callable[[], BaseException]] = {
    "str_raises": Mute,
    "str_exits": Bomb,
    "attributes_raise": Closed,
    "chained": chained,
    "registered_with_odd_arguments": lambda: Carries(Hidden()),
    "unregistered_with_odd_arguments": lambda: LookupError(Hidden()),
    "surrogates": lambda: ValueError("\udc80"),
    "huge": lambda: ValueError("x" * 1_000_000),
    "group": group,
}
REASONS: dict[str, Callable[[], Reason]] = {
    "shutdown": lambda: Shutdown(Hidden()),
    "custom": lambda: Custom(Hidden()),
    "crashed": lambda: Crashed(Mute()),
    "huge_shutdown": lambda: Shutdown(b"x" * 1_000_000),
}


class Subject(Actor):
    """Ends as it is told to."""

    def __init__(self, start: str = "") -> None:
        if start:
            raise ERRORS[start]()

    def fail(self, how: str) -> None:
        raise ERRORS[how]()

    def leave(self, how: str) -> None:
        raise Exit(REASONS[how]())

    def refuse(self, how: str) -> Any:
        return self.process.refuse(ERRORS[how]())

    def give(self, value: Any) -> Any:
        return value

    def give_odd(self) -> Any:
        return [Hidden()]


async def told(node: Abroad, end: Callable[[Ref[Subject]], None]) -> list[Reason]:
    """What a link, two monitors and a call in progress are told of the end of a process."""
    reasons: list[Reason] = []
    async with node.mailbox() as me:
        me.trap_exits = True
        ref = await node.spawn(Subject)
        me.link(ref)
        monitors = [me.monitor(ref), me.monitor(ref)]
        end(ref)
        exited = await me.receive(Exited, timeout=10)
        downs = [await me.receive(Down, timeout=10) for _ in monitors]
        assert exited.ref == ref
        assert {down.monitor.number for down in downs} == {monitor.number for monitor in monitors}
        reasons += [exited.reason, *(down.reason for down in downs)]
        await settled()
        assert not me.queue
    assert await (await node.spawn(Subject)).call(Subject.give, 1) == 1, "the node link is up"
    return reasons


@pytest.mark.parametrize("how", ERRORS)
async def test_crash_that_cannot_be_encoded(autojump_clock: VirtualClock, node: Abroad, how: str) -> None:
    """D9, K6, L3: links, monitors and calls hear of every crash, once."""
    for reason in await told(node, lambda ref: ref.cast(Subject.fail, how)):
        assert isinstance(reason, Crashed)
    ref = await node.spawn(Subject)
    with pytest.raises(ProcessDied) as died:
        await ref.call(Subject.fail, how)
    assert isinstance(died.value.reason, Crashed)
    if how != "surrogates":
        error = died.value.reason.error
        assert isinstance(error if isinstance(error, RemoteError) else error.__cause__, RemoteError)


@pytest.mark.parametrize("how", REASONS)
async def test_reason_that_cannot_be_encoded(autojump_clock: VirtualClock, node: Abroad, how: str) -> None:
    """D9, L3: the kind of the reason stays, so that a supervisor decides as it would have."""
    original = REASONS[how]()
    for reason in await told(node, lambda ref: ref.cast(Subject.leave, how)):
        assert type(reason) is type(original)
        assert reason.is_normal is original.is_normal
    async with node.mailbox() as me:
        ref = await node.spawn(Subject)
        monitor = me.monitor(ref)
        me.exit(ref, original)
        down = await me.receive(Down, timeout=10)
        assert (down.monitor, type(down.reason)) == (monitor, type(original))


@pytest.mark.parametrize("how", ERRORS)
async def test_start_that_fails_beyond_words(autojump_clock: VirtualClock, node: Abroad, how: str) -> None:
    """S3: whoever starts a process on another node hears why it did not start."""
    node.far.distribution.entries["it"] = Subject  # type: ignore[index]
    with pytest.raises(StartError) as refused:
        await node.home.spawn_on(node.far.full_name, "it", how)
    assert isinstance(refused.value.reason, Crashed)
    assert await node.home.spawn_on(node.far.full_name, "it")


@pytest.mark.parametrize("how", ERRORS)
async def test_refusal_that_cannot_be_encoded(autojump_clock: VirtualClock, node: Abroad, how: str) -> None:
    """C12: the caller hears at once that it was refused, and the callee lives on."""
    ref = await node.spawn(Subject)
    before = trio.current_time()
    with pytest.raises(Exception):  # noqa: B017, PT011 (which one is the point of the other tests)
        await ref.call(Subject.refuse, how)
    assert trio.current_time() == before
    assert await ref.call(Subject.give, 1) == 1


@pytest.mark.parametrize("how", ERRORS)
async def test_remote_child_is_restarted(
    autojump_clock: VirtualClock, node: Abroad, back_end: str, how: str
) -> None:
    """K6: the supervisor of a child on another node hears of its crash, and restarts it."""
    if back_end.startswith("nats://"):
        pytest.skip("over a mesh a child goes where its entry was announced, when the node was opened")
    node.far.distribution.entries["it"] = Subject  # type: ignore[index]
    supervisor = await node.home.spawn(
        Supervisor, [Child(RemoteEntry("it", node.far.full_name), id="child")], intensity=10
    )
    await settled()
    (before,) = await supervisor.call(Supervisor.children)
    before.ref.cast(Subject.fail, how)
    await trio.sleep(1)
    (after,) = await supervisor.call(Supervisor.children)
    assert after.ref not in (None, before.ref)
    await supervisor.stop()


@pytest.mark.parametrize("value", [Hidden(), [Mute()], {"key": Bomb()}, "\udc80"], ids=range(4))
async def test_argument_that_cannot_be_encoded(
    autojump_clock: VirtualClock, node: Abroad, value: Any
) -> None:
    """D9, C2: an argument that cannot travel is the caller's mistake, and nobody else notices."""
    ref = await node.spawn(Subject)
    for attempt in (
        partial(ref.cast, Subject.give, value),
        partial(ref.send, value),
        partial(node.home.remote("nobody", node.far.full_name).send, value),
    ):
        with pytest.raises(PayloadError):
            attempt()
    with pytest.raises(PayloadError):
        await ref.call(Subject.give, value)
    assert await ref.call(Subject.give, 1) == 1


@pytest.mark.parametrize("how", ERRORS)
async def test_everything_has_words(autojump_clock: VirtualClock, node: Abroad, how: str) -> None:
    """K6: whatever an error is made of, encoding it does not fail, and says what kind of error it was."""
    carrier: Any = node.far.distribution._current[node.home.full_name]  # type: ignore[attr-defined]
    back: Any = node.home.distribution._current[node.far.full_name]  # type: ignore[attr-defined]
    error = ERRORS[how]()
    for value in (error, Crashed(error)):
        payload, files, _ = carrier.encode(value)
        said = back._codec.decode(payload, files)
        said = said.error if isinstance(said, Crashed) else said
        assert type(error).__name__ in repr(said)
        reason = back._codec.decode(carrier.encode_reason(Crashed(error)))
        assert isinstance(reason, Crashed)


async def test_reply_that_cannot_be_encoded(autojump_clock: VirtualClock, node: Abroad) -> None:
    """D9, C12: the caller gets an error at once, and the callee lives on."""
    ref = await node.spawn(Subject)
    before = trio.current_time()
    with pytest.raises(RemoteError, match="cannot travel"):
        await ref.call(Subject.give_odd)
    assert trio.current_time() == before
    assert await ref.call(Subject.give, 1) == 1
