"""Upgrades of guests in every place: under pools and dynamic supervisors, in debug mode, in suspended
processes, while their node shuts down; and modules on trial that want to end the process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from enfilade.actors import (
    SHUTDOWN,
    Child,
    Down,
    DynamicSupervisor,
    Node,
    NodeConfig,
    Pool,
    ProcessDied,
    Ref,
    Shutdown,
    Trapped,
    UpgradeFailed,
    open_node,
)
from enfilade.actors.guests import Guest, guests_of, open_guests
from enfilade.actors.guests.upgrade import Phase, upgrade_guest
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.system import resume, suspend
from enfilade.hostcalls.abi import AbiSignature, EntrypointInvocation, ProcessStart
from enfilade.hostcalls.abi.actor_types import ActorExit, ActorReason, ActorSpawn, ReasonKind
from enfilade.hostcalls.resources.registry import Kind
from enfilade.hostcalls.sdk.wat import Assembler
from tests.actors.counting_guests import GRANTS, counter
from tests.actors.test_guest_upgrade import ask, guest, nap, reached


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with open_node("test") as opened:
        yield opened


async def load(node: Node, *modules: bytes) -> None:
    """Compile modules ahead of time, which takes real time."""
    for module in modules:
        made = Guest(module, capabilities=GRANTS)
        await guests_of(node).load(made.module, made.capabilities)


def sleep(made: Assembler) -> str:
    return nap(made, 3_600_000)


async def interrupted(ref: Ref[Any], module: bytes) -> None:
    """Attempt an upgrade that the end of the process interrupts."""
    with pytest.raises(UpgradeFailed, match="has ended"):
        await upgrade_guest(ref, module, timeout=3600)


async def tried(ref: Ref[Any], module: bytes, succeeds: bool) -> None:
    """Attempt an upgrade to a module that is tried, and takes over or does not."""
    try:
        await upgrade_guest(ref, module)
    except UpgradeFailed:
        assert not succeeds


async def powerful(node: Node, **options: Any) -> Ref[Guest]:
    """Spawn a guest with rights over processes."""
    return await node.spawn(Guest(counter("a"), capabilities=RIGHTS, **options))


def guests(node: Node) -> list[Ref[Any]]:
    """The guests that live, the oldest first."""
    entries = guests_of(node).kernel.registry.of_kind(Kind.PROCESS)
    return [entry.payload.host.me() for entry in entries if not entry.payload.ended]


# Places.


async def test_children_of_a_dynamic_supervisor(mock_clock: MockClock, node: Node) -> None:
    """The one child runs the new module, also after a restart; the template stays as it was."""
    supervisor = await node.spawn(
        DynamicSupervisor, Child(guest("a"), id="it", restart="permanent"), intensity=9
    )
    first, second = [await supervisor.call(DynamicSupervisor.start_from_template) for _ in range(2)]
    assert await ask(first) == ("a", 1)
    await upgrade_guest(first, counter("b"))
    assert [await ask(ref) for ref in (first, second)] == [("b", 2), ("a", 1)]
    for ref in (first, second):
        with pytest.raises(ProcessDied):
            await ask(ref, b"fault")
    await trio.testing.wait_all_tasks_blocked()
    third = await supervisor.call(DynamicSupervisor.start_from_template)
    assert sorted([await ask(ref) for ref in guests(node)]) == [("a", 1), ("a", 1), ("b", 1)]
    assert await ask(third) == ("a", 2)


async def test_workers_of_a_pool(mock_clock: MockClock, node: Node) -> None:
    """Jobs wait for the new module. A worker that replaces one starts as the pool was told."""
    pool = await node.spawn(Pool, guest("a"), size=1)
    assert await pool.call(Pool.submit, b"") == b"a\1"
    (worker,) = guests(node)
    answers: list[bytes] = []

    async def submit() -> None:
        answers.append(await pool.call(Pool.submit, b""))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(submit)
        await upgrade_guest(worker, counter("b"))
    assert sorted(answer[1] for answer in answers) == [2, 3, 4, 5, 6]
    assert await pool.call(Pool.submit, b"") == b"b\7"
    with pytest.raises(ProcessDied):
        await ask(worker, b"fault")
    await trio.testing.wait_all_tasks_blocked()
    assert await pool.call(Pool.submit, b"") == b"a\1"


async def test_in_debug_mode(mock_clock: MockClock) -> None:
    async with open_node("test", config=NodeConfig(debug=True)) as node:
        ref = await node.spawn(guest("a"), name="counter")
        assert await ask(ref) == ("a", 1)
        with pytest.raises(UpgradeFailed, match="trapped"):
            await upgrade_guest(ref, counter("b", start="unreachable"))
        await upgrade_guest(ref, guest("b"))
        assert await ask(node.named("counter")) == ("b", 2)


# Suspension.


async def test_a_suspended_guest_is_not_upgraded(autojump_clock: MockClock, node: Node) -> None:
    ref = await node.spawn(guest("a"))
    assert await ask(ref) == ("a", 1)
    await suspend(ref)
    with pytest.raises(UpgradeFailed, match="it is suspended: resume it first"):
        await upgrade_guest(ref, counter("b"))
    await resume(ref)
    assert await ask(ref) == ("a", 2)
    await upgrade_guest(ref, counter("b"))
    assert await ask(ref) == ("b", 3)


async def test_a_guest_that_is_suspended_when_it_has_been_asked(
    autojump_clock: MockClock, node: Node
) -> None:
    """It goes on with its module when it is resumed, whether that is in time or not."""
    await load(node, counter("b"))
    ref = await node.spawn(guest("a", told=lambda made: nap(made, 1000) + "EXPORT"))

    async def pause(seconds: float) -> None:
        await trio.sleep(0.5)
        await suspend(ref)
        await trio.sleep(seconds)
        await resume(ref)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pause, 10)
        with pytest.raises(UpgradeFailed, match="did not export its state within 5 s; it is suspended"):
            await upgrade_guest(ref, counter("b"))
    assert await ask(ref) == ("a", 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pause, 2)
        await upgrade_guest(ref, counter("b"))
    assert await ask(ref) == ("b", 2)


# The end of the node.


@pytest.mark.parametrize(
    ("old", "new", "phase"),
    [
        (counter("a", kinds=15), counter("b"), Phase.ASKED),
        (counter("a", told=sleep), counter("b"), Phase.TOLD),
        (counter("a"), counter("b", start=sleep), Phase.TRIED),
    ],
)
async def test_the_node_shuts_down(mock_clock: MockClock, old: bytes, new: bytes, phase: Phase) -> None:
    """An upgrade under way ends with the guest, at once, and holds up nothing."""
    told: list[str] = []

    async def attempt(ref: Ref[Guest]) -> None:
        try:
            await upgrade_guest(ref, new, timeout=3600)
        except UpgradeFailed as failure:
            told.append(str(failure))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery, open_node("test") as node:
            ref = await node.spawn(Guest(old, capabilities=GRANTS))
            nursery.start_soon(attempt, ref)
            await reached(node, ref, phase)
            assert told == []
    (problem,) = told
    assert "has ended while it was upgraded: shutdown" in problem


async def test_the_node_shuts_down_while_a_module_is_compiled(mock_clock: MockClock) -> None:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery, open_node("test") as node:
            ref = await node.spawn(guest("a"))

            nursery.start_soon(interrupted, ref, counter("b", start="(nop)"))
            await trio.lowlevel.checkpoint()


# Modules on trial that want to end the process.


LINKS = (
    "enfilade::actor::exit",
    "enfilade::actor::link",
    "enfilade::actor::whereis",
    "enfilade::actor::spawn",
)
RIGHTS = [*GRANTS, "ActorLink", "ActorRegistry", "ActorSpawn", "ProcessLifecycle"]


def exits(to: int | None, kind: ReasonKind) -> Callable[[Assembler], str]:
    """Look up oneself, in slot 0, and send an exit signal there; or, to None, exit."""

    def text(made: Assembler) -> str:
        wanted = ActorExit(to, ActorReason(kind, "enough" if kind is ReasonKind.OTHER else ""))
        return f"""
            (call $ok (call $actor.self {made.nothing}))
            (drop (call $actor.exit {made.message(ActorExit, wanted)}))
        """

    return text


@pytest.mark.parametrize("to", [0, None], ids=["by a signal", "at once"])
@pytest.mark.parametrize("kind", [ReasonKind.KILL, ReasonKind.OTHER, ReasonKind.SHUTDOWN, ReasonKind.NORMAL])
async def test_a_trial_cannot_end_the_process(
    mock_clock: MockClock, node: Node, to: int | None, kind: ReasonKind
) -> None:
    ref = await powerful(node)
    assert await ask(ref) == ("a", 1)
    with pytest.raises(
        UpgradeFailed, match="goes on as it was, because the new module ended before it asked"
    ):
        await upgrade_guest(ref, counter("b", calls=LINKS, start=exits(to, kind)))
    assert await ask(ref) == ("a", 2)
    await upgrade_guest(ref, counter("c"))
    assert await ask(ref) == ("c", 3)


async def test_a_signal_to_itself_is_the_reason_of_a_guest_that_has_taken_over(
    mock_clock: MockClock, node: Node
) -> None:
    new = counter("b", calls=LINKS, told=exits(0, ReasonKind.OTHER))
    ref = await powerful(node)
    async with node.mailbox() as me:
        me.monitor(ref)
        await upgrade_guest(ref, new)
        with pytest.raises(UpgradeFailed, match=r"has ended while it was upgraded: .*enough"):
            await upgrade_guest(ref, counter("c"))
        assert "enough" in str((await me.receive(Down)).reason)


async def test_a_trial_cannot_stop_the_process(mock_clock: MockClock, node: Node) -> None:
    """Nor by the hostcall that stops processes, with the number of its own."""
    ref = await powerful(node)
    (entry,) = guests_of(node).kernel.registry.of_kind(Kind.PROCESS)
    stop = entry.id.to_bytes(8, "little")
    new = counter(
        "b", calls=("process::stop",), start=lambda made: f"(drop (call $process.stop {made.buffer(stop)}))"
    )
    with pytest.raises(
        UpgradeFailed, match="goes on as it was, because the new module ended before it asked"
    ):
        await upgrade_guest(ref, new)
    assert await ask(ref) == ("a", 1)


async def test_what_others_want_ends_the_process_on_trial(mock_clock: MockClock, node: Node) -> None:
    ref = await node.spawn(guest("a"))
    async with trio.open_nursery() as nursery, node.mailbox() as me:
        me.monitor(ref)
        nursery.start_soon(interrupted, ref, counter("b", start=sleep))
        await reached(node, ref, Phase.TRIED)
        me.exit(ref, SHUTDOWN)
        assert isinstance((await me.receive(Down)).reason, Shutdown)


@pytest.mark.parametrize("succeeds", [False, True])
async def test_a_link_of_a_trial_is_made_when_it_takes_over(
    mock_clock: MockClock, node: Node, succeeds: bool
) -> None:
    """A peer that ends meanwhile ends the process of the module that has linked to it, and no other's."""
    peer = await node.spawn(guest("p"), name="peer")

    def link(made: Assembler) -> str:
        linked = f"""
            (call $ok (call $actor.whereis {made.message(str, "peer")}))
            (call $ok (call $actor.link {made.buffer(bytes(4))}))
            {nap(made, 1000)}
        """
        return linked + ("" if succeeds else "unreachable")

    ref = await powerful(node, finds=["peer"], ends=["peer"])
    assert await ask(ref) == ("a", 1)
    async with trio.open_nursery() as nursery, node.mailbox() as me:
        me.monitor(ref)
        nursery.start_soon(tried, ref, counter("b", calls=LINKS, start=link), succeeds)
        await reached(node, ref, Phase.TRIED)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ProcessDied):
            await ask(peer, b"fault")
        await trio.testing.wait_all_tasks_blocked()
        assert process_of(ref).ended is None  # type: ignore[union-attr]
        mock_clock.jump(1)
        if succeeds:
            assert isinstance((await me.receive(Down)).reason, Trapped)
        else:
            assert await ask(ref) == ("a", 2)


@pytest.mark.parametrize("succeeds", [False, True])
async def test_a_linked_child_of_a_trial(mock_clock: MockClock, tmp_path: Path, succeeds: bool) -> None:
    """A child that traps at once ends the process only if the new module has taken over."""
    child = Assembler()
    child.function("start", "unreachable")
    (tmp_path / "child.wasm").write_bytes(child.binary())
    start = ProcessStart("child.wasm", "start", (), EntrypointInvocation(AbiSignature((), ()), ()))

    def spawn(made: Assembler) -> str:
        wanted = made.message(ActorSpawn, ActorSpawn(start, link=True, monitor=False))
        return f"(call $ok (call $actor.spawn {wanted})) {nap(made, 1000)}" + (
            "" if succeeds else "unreachable"
        )

    async with open_node("test") as node, node.mailbox() as me:
        open_guests(node, modules=tmp_path)
        ref = await powerful(node)
        me.monitor(ref)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tried, ref, counter("b", calls=LINKS, start=spawn), succeeds)
            await reached(node, ref, Phase.TRIED)
            while len(guests_of(node).kernel.registry.of_kind(Kind.PROCESS)) < 2 or len(guests(node)) > 1:
                await trio.testing.wait_all_tasks_blocked()
            assert process_of(ref).ended is None  # type: ignore[union-attr]
            mock_clock.jump(1)
        if succeeds:
            assert isinstance((await me.receive(Down)).reason, Trapped)
        else:
            assert await ask(ref) == ("a", 1)
