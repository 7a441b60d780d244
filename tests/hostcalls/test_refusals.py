"""What a guest was not allowed is told to people: in the log, and in the reason of its end."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import pytest
import trio.testing

from enfilade.actors import NORMAL, Child, StartError, Supervisor, open_node
from enfilade.actors.guests import Guest, open_guests, run_guest
from enfilade.actors.messages.reasons import Custom, Reason, Trapped
from enfilade.hostcalls.abi import ChannelBackpressure, ChannelCreate
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.errors import HostcallError, LimitReached, PermissionDenied, SubsystemError
from enfilade.hostcalls.abi.hostcall import hostcall
from enfilade.hostcalls.abi.nearest import hint
from enfilade.hostcalls.codec.rkyv import U32
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.contracts.operation import operation
from enfilade.hostcalls.engine import Trap, TrapKind
from enfilade.hostcalls.kernel.modules import binary
from enfilade.hostcalls.kernel.refusals import Refusals
from enfilade.hostcalls.resources.channel import Channel
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.sdk.wat import Assembler

ASK = hostcall("test::ask::it", Capability(200), U32, U32)
LOGGER = "enfilade.hostcalls"


def clock_reader(*, gives_up: bool = True, times: int = 1) -> bytes:
    guest = Assembler("time::now")
    call = f"(call $time.now {guest.nothing})"
    guest.function("start", (f"(call $ok {call})" if gives_up else f"(drop {call})") * times)
    return guest.binary()


async def end_of(guest: Guest, **settings: object) -> Reason:
    async with open_node("test") as node:
        open_guests(node, **settings)
        return await run_guest(node, guest)


def lines(caplog: pytest.LogCaptureFixture, logger: str = LOGGER) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == logger]


async def test_a_capability_that_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    """One line with guest, hostcall, capability and what to grant; the exit reason has the same."""
    reason = await end_of(Guest(clock_reader(), label="clock"))
    said = (
        "selium::time::now was refused: the capability TimeRead is not granted; "
        "grant it: capabilities=['TimeRead'], --capabilities TimeRead"
    )
    assert lines(caplog) == [f"guest clock: {said}"]
    assert isinstance(reason, Trapped)
    assert (reason.kind, reason.message) == ("unreachable instruction", said)
    assert said in str(reason)


async def test_a_guest_that_goes_on_ends_normally(caplog: pytest.LogCaptureFixture) -> None:
    """A refusal is told once, however often the guest asks, and ends nobody."""
    assert await end_of(Guest(clock_reader(gives_up=False, times=50))) == NORMAL
    assert len(lines(caplog)) == 1


async def test_a_limit_that_is_reached(caplog: pytest.LogCaptureFixture) -> None:
    """The line names the limit, its number, and how to raise it."""
    guest = Assembler("channel::create")
    channel = guest.message(ChannelCreate, ChannelCreate(4096, ChannelBackpressure.PARK))
    guest.function("start", f"(loop $again (call $ok (call $channel.create {channel})) (br $again))")
    reason = await end_of(
        Guest(guest.binary(), capabilities=["ChannelLifecycle"], limits=Limits(resources=7), label="greedy")
    )
    (line,) = lines(caplog)
    assert line.startswith(
        "guest greedy: selium::channel::create was refused: the limit resources=7 is reached"
    )
    assert "Limits(resources=...)" in line
    assert isinstance(reason, Trapped)
    assert "the limit resources=7 is reached" in reason.message


async def test_a_memory_that_cannot_grow(caplog: pytest.LogCaptureFixture) -> None:
    """A guest that gives up when its memory is full shows that limit; others are not suspected."""
    guest = Assembler()
    grow = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))"
    guest.function("fill", f"{grow} unreachable")
    guest.function("give_up", "unreachable")
    limits = Limits(memory=20 * 2**20)
    reason = await end_of(Guest(guest.binary(), entrypoint="fill", limits=limits, label="fat"))
    assert isinstance(reason, Trapped)
    assert reason.message.startswith("memory.grow was refused: the limit memory=20971520 is reached")
    reason = await end_of(Guest(guest.binary(), entrypoint="give_up", limits=limits))
    assert reason == Trapped("unreachable instruction", "", reason.backtrace)  # type: ignore[attr-defined]
    assert len(lines(caplog)) == 1


async def test_supervisors_show_it(caplog: pytest.LogCaptureFixture) -> None:
    """The report of a supervised guest that gives up has the refusal instead of the bare trap."""
    async with open_node("test") as node:
        child = Child(Guest(clock_reader()), id="clock", restart="temporary")
        await node.spawn(Supervisor, [child])
        await trio.testing.wait_all_tasks_blocked()
    assert any("the capability TimeRead is not granted" in text for text in lines(caplog, "enfilade.actors"))


@pytest.mark.parametrize("later", [False, True])
async def test_drivers_say_why(caplog: pytest.LogCaptureFixture, later: bool) -> None:
    """What a driver gives as `why`, at once or later, is told; the guest reads the ABI's text."""

    def refuse(caller: Caller, value: int) -> Future[int]:
        error = SubsystemError("no", why="the moon is not full; wait")
        if not later:
            raise error
        future: Future[int] = Future()
        future.fail(error)
        return future

    guest = Assembler("test::ask::it")
    guest.function("start", f"(call $ok (call $ask.it {guest.message(U32, 5)}))")
    reason = await end_of(
        Guest(guest.binary(), capabilities=[Capability(200)], label="g"),
        operations=[operation(ASK, refuse)],
    )
    assert lines(caplog) == ["guest g: test::ask::it was refused: the moon is not full; wait"]
    assert isinstance(reason, Trapped)
    assert reason.message == "test::ask::it was refused: the moon is not full; wait"


def test_a_guest_cannot_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A guest causes 16 lines at most; its last refusal is in its reason all the same."""
    refusals = Refusals("g")
    for number in range(100):
        refusals.note("call", f"reason {number}")
    assert len(lines(caplog)) == 16
    trap = Trap(TrapKind.UNREACHABLE)
    assert refusals.explain(trap).message == "call was refused: reason 99"


def test_other_traps_are_not_blamed_on_a_refusal() -> None:
    """Only `unreachable` is how guests give up; a guest that was refused nothing is left alone, too."""
    refusals = Refusals("g")
    trap = Trap(TrapKind.UNREACHABLE)
    assert refusals.explain(trap) is trap
    refusals.note("call", "so")
    other = Trap(TrapKind.MEMORY_OUT_OF_BOUNDS, "there")
    assert refusals.explain(other) is other


def test_a_log_that_fails_ends_nobody() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("disk full")

    handler = Broken()
    logging.getLogger(LOGGER).addHandler(handler)
    try:
        Refusals("g").note("call", "so")
    finally:
        logging.getLogger(LOGGER).removeHandler(handler)


@pytest.mark.parametrize(
    "error", [LimitReached("resources", 5), PermissionDenied(why="x"), PermissionDenied()]
)
def test_the_guest_reads_the_text_of_the_abi(error: HostcallError) -> None:
    assert error.text in ("invalid argument", "permission denied")


# Names.


@pytest.mark.parametrize(
    ("wanted", "known", "found"),
    [
        ("TimeReed", ["TimeRead", "ActorLink"], "; did you mean 'TimeRead'?"),
        ("time_read", ["TimeRead"], "; did you mean 'TimeRead'?"),
        ("channel-byte", ["resources", "channel_bytes"], "; did you mean 'channel_bytes'?"),
        ("zzz", ["resources"], ""),
        ("x" * 1_000_000, ["resources"], ""),
        ("start", [], ""),
        ("strat", [*(f"f{number}" for number in range(127)), "start"], "; did you mean 'start'?"),
        ("strat", [*(f"f{number}" for number in range(128)), "start"], ""),
        ("a" * 48 + "b" * 1000, ["a" * 48 + "c"], f"; did you mean '{'a' * 48}c'?"),
    ],
)
def test_the_nearest_name(wanted: str, known: Iterable[str], found: str) -> None:
    assert hint(wanted, known) == found


@pytest.mark.parametrize(
    ("imported", "text"),
    [
        (
            ("selium::time::noww", "create"),
            "selium::time::noww/create is not a hostcall; did you mean 'selium::time::now'?",
        ),
        (("selium::time::now", "creat"), "did you mean 'create'?"),
        (("selium::async", "yield"), "selium::async has yield_now alone"),
        (("selium", "hostcall"), "alpha.4 to 1.0.0-alpha.6"),
        (("wasi_snapshot_preview1", "fd_write"), "wasm32-unknown-unknown"),
    ],
)
async def test_an_import_that_nothing_provides(imported: tuple[str, str], text: str) -> None:
    """The start fails, with the import and what may have been meant."""
    module, name = imported
    source = (
        f'(module (import "{module}" "{name}" (func)) (memory (export "memory") 1) (func (export "start")))'
    )
    async with open_node("test") as node:
        with pytest.raises(StartError) as caught:
            await node.spawn(Guest(binary(source)))
        reason = caught.value.reason
        assert isinstance(reason, Custom)
        assert f"{module}/{name}" in str(reason.value)
        assert text in str(reason.value)


@pytest.mark.parametrize(
    ("limits", "arguments", "why"),
    [
        (Limits(argument_bytes=10), (b"x" * 11,), "the limit argument_bytes=10 is reached"),
        (Limits(resources=1), (Channel(64), Channel(64)), "the limit resources=1 is reached"),
    ],
)
async def test_a_start_beyond_a_limit(limits: Limits, arguments: tuple[object, ...], why: str) -> None:
    """The error of the start names the limit and how to raise it."""
    guest = Assembler()
    guest.function("start", "nop", "(param i32 i32)")
    async with open_node("test") as node:
        with pytest.raises(StartError, match=why):
            await node.spawn(Guest(guest.binary(), arguments=arguments, limits=limits))


async def test_an_entrypoint_that_is_misspelt() -> None:
    """The start fails, with the nearest export and the list of them."""
    guest = Assembler()
    guest.function("serve", "nop")
    guest.function("stop", "nop")
    async with open_node("test") as node:
        with pytest.raises(StartError, match=r"'serv'; did you mean 'serve'\?; its functions: serve, stop"):
            await node.spawn(Guest(guest.binary(), entrypoint="serv"))


def test_a_capability_that_is_misspelt() -> None:
    with pytest.raises(ValueError, match=r"got 'TimeReed'; did you mean 'TimeRead'\?"):
        Capability.parse("TimeReed")
