"""Another module in a running guest: messages wait, state is handed over, and failure changes nothing."""

from __future__ import annotations

import gc
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import (
    Actor,
    Child,
    Down,
    Node,
    ProcessDied,
    Ref,
    Supervisor,
    Trapped,
    UpgradeFailed,
    open_node,
)
from enfilade.actors.guests import Guest, guests_of, open_guests
from enfilade.actors.guests.upgrade import Phase, upgrade_guest
from enfilade.actors.processes.local_ref import process_of
from enfilade.hostcalls import Limits
from enfilade.hostcalls.abi import AbiSignature, EntrypointInvocation, ProcessStart, TimeSleep
from enfilade.hostcalls.abi.actor_types import ActorRegister, ActorSpawn
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.engine import Instance
from enfilade.hostcalls.kernel.execution import Execution
from enfilade.hostcalls.resources.registry import Kind
from enfilade.hostcalls.sdk.wat import Assembler
from tests.actors.counting_guests import GRANTS, counter


def guest(version: str, **how: Any) -> Guest:
    return Guest(counter(version, **how), capabilities=GRANTS, label=f"counter {version}")


async def ask(ref: Ref[Guest], data: bytes = b"") -> tuple[str, int]:
    """The version that answers, and its count."""
    answer = await ref.call(Guest.request, data)
    return chr(answer[0]), answer[1]


@pytest.fixture
async def node() -> Any:
    async with open_node("test") as opened:
        yield opened


async def test_state_and_process_stay(mock_clock: MockClock, node: Node) -> None:
    """Ref, name and monitors are those of before, the count goes on, the version is the new one."""
    async with node.mailbox() as me:
        ref = await node.spawn(guest("a"), name="counter")
        monitor = me.monitor(ref)
        assert [await ask(ref) for _ in range(3)] == [("a", 1), ("a", 2), ("a", 3)]
        await upgrade_guest(ref, counter("b"))
        assert await ask(ref) == ("b", 4)
        assert node.whereis("counter") == ref
        await upgrade_guest(ref, guest("c"))
        assert await ask(ref) == ("c", 5)
        with pytest.raises(ProcessDied):
            await ask(ref, b"fault")
        down = await me.receive(Down)
        assert (down.monitor, down.ref) == (monitor, ref)
        assert isinstance(down.reason, Trapped)


async def test_messages_wait(mock_clock: MockClock, node: Node) -> None:
    """What comes in while the state is handed over is answered by the new module; nothing is lost or answered
    twice, and nothing is answered by nobody.
    """
    ref = await node.spawn(guest("a"))
    answers: list[tuple[str, int]] = []

    async def client() -> None:
        for _ in range(10):
            answers.append(await ask(ref))  # noqa: PERF401 (each waits for the one before)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(client)
        for version in "bcd":
            for _ in range(5):
                await trio.lowlevel.checkpoint()
            await upgrade_guest(ref, counter(version))
    assert sorted(count for _, count in answers) == list(range(1, 81))
    versions = [version for version, _ in sorted(answers, key=lambda answer: answer[1])]
    assert versions == sorted(versions)
    assert (await ask(ref)) == ("d", 81)


class Waiter(Actor):
    def __init__(self, ref: Ref[Guest]) -> None:
        self.ref = ref


async def test_unanswered_requests_stay(mock_clock: MockClock, node: Node) -> None:
    """A request that the old module has taken ends with the process, not with the module."""
    ref = await node.spawn(guest("a"))
    async with trio.open_nursery() as nursery:

        async def held() -> None:
            with pytest.raises(ProcessDied):
                await ref.within(60).call(Guest.request, b"hold")

        nursery.start_soon(held)
        await trio.testing.wait_all_tasks_blocked()
        await upgrade_guest(ref, counter("b"))
        assert await ask(ref) == ("b", 1)
        await ref.stop()


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (counter("b", start="unreachable"), "the new module ended before it asked for a message: trapped"),
        (counter("b", start="(return)"), "the new module ended before it asked for a message: normal"),
        (counter("b", imports=False), "asked for messages before it had imported the state"),
        (counter("b", start="(loop $on (br $on))"), "the new module did not ask for a message within 5 s"),
        (b"\0asm\1\0\0\0", "the new module cannot start: .*memory"),
        (b"rubbish", "the new module cannot start: "),
    ],
    ids=["traps", "returns", "forgets the state", "hangs", "no memory", "no module"],
)
async def test_failures_change_nothing(node: Node, module: bytes, why: str) -> None:
    """A new module that fails is gone, and the old one goes on with its state and its waiting messages."""
    ref = await node.spawn(guest("a"))
    assert await ask(ref) == ("a", 1)
    timeout = 0.2 if "within" in why else 5.0
    with pytest.raises(UpgradeFailed, match=why.replace("5 s", "0.2 s")):
        await upgrade_guest(ref, module, timeout=timeout)
    assert await ask(ref) == ("a", 2)
    await upgrade_guest(ref, counter("c"))
    assert await ask(ref) == ("c", 3)


@pytest.mark.parametrize(
    ("old", "why"),
    [
        (counter("a", kinds=0), 'did not receive with the kind "upgrade" within 5 s'),
        (counter("a", told="(nop)"), "did not export its state within 5 s"),
    ],
    ids=["does not know upgrades", "does not export"],
)
async def test_old_modules_that_do_not_take_part(
    autojump_clock: MockClock, node: Node, old: bytes, why: str
) -> None:
    """A guest that exports nothing is not replaced, and goes on receiving."""
    ref = await node.spawn(Guest(old, capabilities=GRANTS))
    with pytest.raises(UpgradeFailed, match=why):
        await upgrade_guest(ref, counter("b"))
    assert await ask(ref) == ("a", 1)


def nap(made: Assembler, milliseconds: int = 1000) -> str:
    return f"(call $ok (call $time.sleep {made.message(TimeSleep, TimeSleep(milliseconds))}))"


async def test_late_exports(autojump_clock: MockClock, node: Node) -> None:
    """A guest that exports when its upgrade was given up goes on, also while the next upgrade asks it."""
    ref = await node.spawn(Guest(counter("a", told=lambda made: f"{nap(made)} EXPORT"), capabilities=GRANTS))
    assert await ask(ref) == ("a", 1)
    with pytest.raises(UpgradeFailed, match=r"did not export its state within 0\.5 s"):
        await upgrade_guest(ref, counter("b"), timeout=0.5)
    assert await ask(ref) == ("a", 2)
    with pytest.raises(UpgradeFailed, match=r"did not export its state within 0\.5 s"):
        await upgrade_guest(ref, counter("b"), timeout=0.5)
    await upgrade_guest(ref, counter("b"), timeout=5)
    assert await ask(ref) == ("b", 3)


@pytest.mark.parametrize("end", ["(return)", "unreachable"])
async def test_ends_when_it_has_exported(mock_clock: MockClock, node: Node, end: str) -> None:
    """A guest that exports and ends without waiting has ended: no module takes the place of nobody."""
    told = f"(drop (call $actor.export_state.create STATE)) {end}"
    ref = await node.spawn(Guest(counter("a", told=told), capabilities=GRANTS))
    with pytest.raises(UpgradeFailed, match=r"has ended while it was upgraded: (normal|trapped)"):
        await upgrade_guest(ref, counter("b", start="unreachable"))
    other = await node.spawn(guest("c"))
    assert await ask(other) == ("c", 1)


async def test_new_slots_and_limits(mock_clock: MockClock, node: Node) -> None:
    """Slots that a failed module was given are free again; the limits of one that succeeds are its own."""
    ref = await node.spawn(guest("a"))
    caller = guests_of(node).kernel.registry.of_kind(Kind.PROCESS)[0].payload
    selves = "(call $ok (call $actor.self (i32.const 1) (i32.const 0)))"
    with pytest.raises(UpgradeFailed):
        await upgrade_guest(ref, counter("b", start=f"{selves} unreachable"))
    assert len(caller.slots) == 0
    limits = Limits(resources=7)
    await upgrade_guest(ref, Guest(counter("b", start=selves), capabilities=GRANTS, limits=limits))
    assert await ask(ref) == ("b", 1)
    assert (len(caller.slots), caller.limits) == (1, limits)


SPIN = "(loop $on (br $on))"


async def reached(node: Node, ref: Ref[Guest], phase: Phase) -> None:
    """Wait until an upgrade of the guest has come so far."""
    body: Any = node.processes[ref.serial].body
    with trio.fail_after(60):
        while body.actors.upgrade is None or body.actors.upgrade.phase is not phase:
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("old", "new", "phase"),
    [
        (counter("a", kinds=15), counter("b"), Phase.ASKED),
        (counter("a", told=SPIN), counter("b"), Phase.TOLD),
        (counter("a"), counter("b", start=SPIN), Phase.TRIED),
    ],
    ids=["asked", "told", "tried"],
)
async def test_cancelled(mock_clock: MockClock, node: Node, old: bytes, new: bytes, phase: Phase) -> None:
    """An upgrade that is cancelled is none, however far it is; the guest can be moved later."""
    ref = await node.spawn(Guest(old, capabilities=GRANTS))
    assert await ask(ref) == ("a", 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(upgrade_guest, ref, new, timeout=60))
        await reached(node, ref, phase)
        nursery.cancel_scope.cancel()
    if phase is not Phase.TOLD:  # that one has gone mad
        assert await ask(ref) == ("a", 2)
    if phase is Phase.TRIED:
        await upgrade_guest(ref, counter("c"))
        assert await ask(ref) == ("c", 3)


async def test_one_at_a_time(mock_clock: MockClock, node: Node) -> None:
    """A second upgrade is refused while one is under way, and does not disturb it."""
    ref = await node.spawn(Guest(counter("a", kinds=15), capabilities=GRANTS))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(upgrade_guest, ref, counter("b"), timeout=60))
        await reached(node, ref, Phase.ASKED)
        with pytest.raises(UpgradeFailed, match="another upgrade of"):
            await upgrade_guest(ref, counter("c"))
        nursery.cancel_scope.cancel()


async def test_stopped_meanwhile(mock_clock: MockClock, node: Node) -> None:
    """A guest that is stopped while it is moved ends, and the upgrade says so."""
    ref = await node.spawn(guest("a"))
    async with trio.open_nursery() as nursery:

        async def move() -> None:
            with pytest.raises(UpgradeFailed, match="has ended while it was upgraded"):
                await upgrade_guest(ref, counter("b", start=SPIN), timeout=60)

        nursery.start_soon(move)
        await reached(node, ref, Phase.TRIED)
        await ref.stop()
    with pytest.raises(UpgradeFailed, match="has ended"):
        await upgrade_guest(ref, counter("b"))


async def test_restarts_use_the_new_module(mock_clock: MockClock, node: Node) -> None:
    """The supervisor starts the new module from then on, with the arguments of its specification."""
    async with node.mailbox() as me:
        await node.spawn(Supervisor, [Child(guest("a"), id="counter", name="counter")])
        counting = node.named("counter")
        first = counting.resolve()
        me.monitor(first)
        assert await ask(counting) == ("a", 1)
        await upgrade_guest(first, counter("b"))
        with pytest.raises(ProcessDied):
            await ask(counting, b"fault")
        await me.receive(Down)
        while node.whereis("counter") in (None, first):
            await trio.lowlevel.checkpoint()
        assert await ask(counting) == ("b", 1)


async def test_a_file_is_read_anew(mock_clock: MockClock, node: Node, tmp_path: Path) -> None:
    """The file of the module may have been overwritten in place; restarts use what was read then."""
    file = tmp_path / "counter.wasm"
    file.write_bytes(counter("a"))
    async with node.mailbox() as me:
        await node.spawn(
            Supervisor, [Child(Guest(file, capabilities=GRANTS, label="it"), id="it", name="counter")]
        )
        first = node.named("counter").resolve()
        me.monitor(first)
        assert await ask(first) == ("a", 1)
        file.write_bytes(counter("b"))
        await upgrade_guest(first, file)
        assert await ask(first) == ("b", 2)
        file.write_bytes(b"rubbish")
        with pytest.raises(UpgradeFailed, match="the new module cannot start"):
            await upgrade_guest(first, file)
        with pytest.raises(ProcessDied):
            await ask(first, b"fault")
        await me.receive(Down)
        while node.whereis("counter") in (None, first):
            await trio.lowlevel.checkpoint()
        assert await ask(node.named("counter")) == ("b", 1)


PROCESS_CALLS = (
    "enfilade::actor::trap",
    "enfilade::actor::whereis",
    "enfilade::actor::link",
    "enfilade::actor::monitor",
    "enfilade::actor::register",
    "enfilade::actor::spawn",
)


def meddle(made: Assembler) -> str:
    """Trap exits, link and monitor the peer in slot 0, take a name, start a linked and monitored child."""
    nothing = EntrypointInvocation(AbiSignature((), ()), ())
    child = ActorSpawn(
        ProcessStart("child.wasm", "start", (Capability.TIME_READ,), nothing), link=True, monitor=True
    )
    return f"""
        (call $ok (call $actor.trap {made.buffer(bytes([1]))}))
        (call $ok (call $actor.whereis {made.message(str, "peer")}))
        (call $ok (call $actor.self {made.nothing}))
        (call $ok (call $actor.link {made.buffer(bytes(4))}))
        (call $ok (call $actor.monitor {made.buffer(bytes(4))}))
        (call $ok (call $actor.register {made.message(ActorRegister, ActorRegister("taken", 1))}))
        (call $ok (call $actor.spawn {made.message(ActorSpawn, child)}))
    """


@pytest.mark.parametrize("succeeds", [False, True])
async def test_what_a_trial_does_to_the_process(
    mock_clock: MockClock, node: Node, tmp_path: Path, succeeds: bool
) -> None:
    """Links, monitors, names, traps and children of a module that fails go with it, and the guest hears
    nothing of their end; those of one that succeeds stay.
    """
    idle = Assembler("time::sleep")
    idle.function("start", nap(idle, 3_600_000))
    (tmp_path / "child.wasm").write_bytes(idle.binary())
    runtime = open_guests(node, modules=tmp_path)
    rights = [*GRANTS, "ActorLink", "ActorRegistry", "ActorSpawn", "ProcessLifecycle"]
    how: dict[str, Any] = {"finds": ["peer"], "registers": ["taken"], "ends": ["peer"]}
    peer = await node.spawn(guest("p"), name="peer")
    ref = await node.spawn(Guest(counter("a"), capabilities=rights, **how))
    assert await ask(ref) == ("a", 1)
    process = process_of(ref)
    assert process is not None
    new = counter("b", calls=PROCESS_CALLS, start=lambda made: meddle(made) + "unreachable" * (not succeeds))
    if succeeds:
        await upgrade_guest(ref, new)
        assert (node.whereis("taken"), process.trap_exits) == (ref, True)
        assert len(process.links or ()) == 2
        assert len(process.monitors or ()) == 2
    else:
        for _ in range(3):
            with pytest.raises(UpgradeFailed, match="ended before it asked for a message: trapped"):
                await upgrade_guest(ref, new)
        await trio.testing.wait_all_tasks_blocked()
        assert (node.whereis("taken"), process.name, process.trap_exits) == (None, None, False)
        assert not process.links
        assert not process.monitors
        assert not process.queue
        assert len(runtime.kernel.registry.of_kind(Kind.PROCESS)) == 5  # and three that have ended
        await peer.stop()
        assert await ask(ref) == ("a", 2)
    await ref.stop()


async def test_many_upgrades_leave_nothing(mock_clock: MockClock, node: Node) -> None:
    """Instances, modules and entries of the past are gone: after many upgrades, failed ones among them, the
    runtime has what it had.
    """
    ref = await node.spawn(guest("a"))
    assert await ask(ref) == ("a", 1)
    kernel = guests_of(node).kernel
    caller = kernel.registry.of_kind(Kind.PROCESS)[0].payload
    good, bad = (
        counter("b"),
        counter("c", start=lambda made: f"(call $ok (call $actor.self {made.nothing})) unreachable"),
    )
    body: Any = node.processes[ref.serial].body

    async def upgrade() -> tuple[int, ...]:
        await upgrade_guest(ref, good)
        with pytest.raises(UpgradeFailed):
            await upgrade_guest(ref, bad)
        return (
            len(kernel.registry),
            len(caller.slots),
            caller.budget.processes,
            caller.budget.purse.memory_used,
        )

    before = await upgrade()
    for _ in range(50):
        after = await upgrade()
    assert after == before
    gc.collect()
    living = [left for left in gc.get_objects() if isinstance(left, Execution | Instance)]
    assert sum(getattr(left, "caller", caller) is caller for left in living) == 2
    assert body.execution in living


async def test_not_a_module(node: Node) -> None:
    """What is no module is refused by its kind, before anything is done."""
    wrong: Any = 5
    with pytest.raises(TypeError, match="expected a module as bytes, a path, a name or a Guest, got 5"):
        await upgrade_guest(await node.spawn(guest("a")), wrong)


async def test_not_a_guest(node: Node) -> None:
    """Only a guest of this node can be moved."""
    with pytest.raises(TypeError, match="expected the ref of a guest of this node"):
        await upgrade_guest(await node.spawn(Waiter, node.ref), counter("b"))
    with pytest.raises(TypeError, match="expected the ref of a guest of this node"):
        await upgrade_guest(node.named("counter"), counter("b"))


@pytest.mark.parametrize("wrong", [None, "1", -1.0, float("nan")])
async def test_not_a_time(node: Node, wrong: Any) -> None:
    """The error is that of every time limit, and the guest goes on."""
    ref = await node.spawn(guest("a"))
    with pytest.raises((TypeError, ValueError), match="timeout must be a number of seconds"):
        await upgrade_guest(ref, counter("b"), timeout=wrong)
    assert await ask(ref) == ("a", 1)
