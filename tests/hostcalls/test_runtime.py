"""The runtime of guests, its clock, its modules, its table; and executions that answer in every way."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.hostcalls.abi import ScalarParam, ScalarType
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.catalogue import CATALOGUE, TIME_NOW, TIME_SLEEP
from enfilade.hostcalls.abi.errors import HostcallError, NotFound
from enfilade.hostcalls.abi.hostcall import Hostcall, hostcall
from enfilade.hostcalls.codec.rkyv import U32, codec
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.operation import operation
from enfilade.hostcalls.contracts.table import DispatchTable
from enfilade.hostcalls.engine import EngineConfig, InvalidModule
from enfilade.hostcalls.kernel.execution import Returned, Stopped
from enfilade.hostcalls.kernel.modules import ModuleError, ModuleStore, binary
from enfilade.hostcalls.kernel.runtime import Runtime
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.sdk.wat import Assembler
from tests.hostcalls.harness import open_harness
from tests.hostcalls.trio_clock import TrioClock

MINE = Capability(200)
WAT = '(module (memory (export "memory") 1) (func (export "start")))'


# Runtime and modules.


async def test_compiling_once(tmp_path: Path) -> None:
    """A module is read and compiled at its first use, by name, path or content, in a thread or not."""
    (tmp_path / "a.wat").write_text(WAT)
    async with trio.open_nursery() as nursery:
        runtime = Runtime(TrioClock(nursery), modules=tmp_path, engine=EngineConfig(max_guests=2))
        nursery.start_soon(runtime.run)
        by_name = await runtime.load("a.wat")
        assert await runtime.load("a.wat") is by_name
        assert runtime.compile(tmp_path / "a.wat") is by_name
        assert runtime.compile(binary(WAT)) is by_name
        with pytest.raises(InvalidModule):
            runtime.compile(b"\0asm junk")
        with pytest.raises(ModuleError):
            await runtime.load("b.wat")
        del by_name
        nursery.cancel_scope.cancel()


async def test_modules_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many sources the latest keep their modules: a node that runs a new one each minute holds no machine
    code of those that nobody uses any more.
    """
    monkeypatch.setattr("enfilade.hostcalls.kernel.runtime._MODULES", 3)
    sources = [binary(WAT.replace('"start"', f'"start{number}"')) for number in range(6)]
    async with trio.open_nursery() as nursery:
        runtime = Runtime(TrioClock(nursery), modules=tmp_path, engine=EngineConfig(max_guests=2))
        nursery.start_soon(runtime.run)
        for source in sources:
            await runtime.load(source)
            assert runtime.compiled(sources[0]) is not None  # asked for all the time
        kept = [runtime.compiled(source) is not None for source in sources]
        assert kept == [True, False, False, False, True, True]
        nursery.cancel_scope.cancel()


def test_module_store(tmp_path: Path) -> None:
    """Sizes are bounded, text is translated, what is no module is told."""
    store = ModuleStore(tmp_path, largest=100)
    (tmp_path / "large.wasm").write_bytes(b"\0asm" + bytes(200))
    (tmp_path / "junk.wasm").write_bytes(b"junk")
    (tmp_path / "junk.wat").write_text("(module (func")
    (tmp_path / "latin.wat").write_bytes(b"(module \xff)")
    (tmp_path / "good.wat").write_text(WAT)
    (tmp_path / "directory").mkdir()
    assert store.read("good.wat").startswith(b"\0asm")
    for name, why in [
        ("large.wasm", "more than 100 bytes"),
        ("junk.wasm", "not a WebAssembly module"),
        ("junk.wat", "text format"),
        ("latin.wat", "text format"),
        ("none.wasm", "No such file"),
        ("directory", "directory"),
    ]:
        with pytest.raises(ModuleError, match=why):
            store.read(name)


async def test_trio_clock(autojump_clock: trio.testing.MockClock) -> None:
    """Timers of the loop's own clock fire once, unless they are cancelled."""
    fired: list[str] = []
    async with trio.open_nursery() as nursery:
        clock = TrioClock(nursery)
        clock.call_later(2, lambda: fired.append("late"))
        clock.call_later(1, lambda: fired.append("early"))
        clock.call_later(1, lambda: fired.append("never")).cancel()
        assert clock.unix_time() > 1_000_000_000
        before = clock.monotonic()
    assert fired == ["early", "late"]
    assert trio.current_time() - before == 2


# The table.


def test_table_refuses_ambiguity() -> None:
    """One operation for each hostcall, each in the catalogue, each once."""

    def nothing(caller: Caller, _: Any) -> None:
        return None

    now = operation(TIME_NOW, nothing)
    with pytest.raises(ValueError, match="two operations"):
        DispatchTable(CATALOGUE, [now, now], frozenset())
    with pytest.raises(ValueError, match="not in the catalogue"):
        DispatchTable([TIME_SLEEP], [now], frozenset())
    with pytest.raises(ValueError, match="lists a hostcall twice"):
        DispatchTable([TIME_NOW, TIME_NOW], [], frozenset())


# Hostcalls of the application, and every way to answer.

ASK: Hostcall[int, int] = hostcall("test::ask", MINE, U32, U32)


def asking(question: int, body: str = "(call $ok32 (call $ask {ask}))") -> Assembler:
    guest = Assembler("test::ask")
    guest.function("start", body.format(ask=guest.message(U32, question)), "(result i32)")
    return guest


async def answered(contract: Any, question: int = 1) -> Any:
    """What a guest gets from a contract: a number, or an error text."""
    result = ScalarParam(ScalarType.U32)
    async with open_harness(operations=[operation(ASK, contract)]) as harness:
        assert len(harness.kernel.catalogue) == len(CATALOGUE) + 1
        outcome = await harness.run(asking(question), grants=[MINE], results=(result,))
        return outcome.results[0].value.value if isinstance(outcome, Returned) else outcome


async def test_contract_that_answers_at_once() -> None:
    """The value itself."""
    assert await answered(lambda caller, question: question + 1) == 2


async def test_contract_that_is_a_coroutine() -> None:
    """A coroutine runs as a task."""

    async def later(caller: Caller, question: int) -> int:
        await trio.sleep(0.001)
        return question + 2

    assert await answered(later) == 3


async def test_contract_that_gives_a_future() -> None:
    """A future costs no task."""

    def eventually(caller: Caller, question: int) -> Future[int]:
        future: Future[int] = Future()
        trio.lowlevel.current_trio_token().run_sync_soon(future.resolve, question + 3)
        return future

    assert await answered(eventually) == 4


@pytest.mark.parametrize("how", ["value", "coroutine", "future", "later"])
@pytest.mark.parametrize("what", ["hostcall error", "bug", "wrong type"])
async def test_contracts_that_fail(how: str, what: str, caplog: pytest.LogCaptureFixture) -> None:
    """A hostcall error is the guest's; any other failure is logged, and a kernel error for the guest."""

    def outcome() -> Any:
        if what == "hostcall error":
            raise NotFound
        if what == "bug":
            raise RuntimeError("a bug in the driver")
        return "not a number"

    def contract(caller: Caller, question: int) -> Any:
        if how == "value":
            return outcome()
        if how == "coroutine":

            async def run() -> Any:
                await trio.lowlevel.checkpoint()
                return outcome()

            return run()
        future: Future[Any] = Future()

        def finish() -> None:
            try:
                future.resolve(outcome())
            except (HostcallError, RuntimeError) as error:
                future.fail(error)

        if how == "future":
            finish()
        else:
            trio.lowlevel.current_trio_token().run_sync_soon(finish)
        return future

    text = "resource not found" if what == "hostcall error" else "The kernel encountered an error."
    guest = Assembler("test::ask")
    question = guest.message(U32, 1)
    length = len(text)
    encoded = codec(str).encode(text)[: length if length > 8 else 8]
    expected = guest.data(encoded)
    guest.function(
        "start",
        f"""
        (if (i32.ge_s (call $ask {question}) (i32.const 0)) (then unreachable))
        (loop $byte
          (if (i32.ne (i32.load8_u offset=4 (i32.add (global.get $result) (local.get 0)))
                      (i32.load8_u (i32.add (i32.const {expected}) (local.get 0)))) (then unreachable))
          (local.set 0 (i32.add (local.get 0) (i32.const 1)))
          (br_if $byte (i32.lt_u (local.get 0) (i32.const {length}))))
        """,
        "(local i32)",
    )
    with caplog.at_level(logging.ERROR, logger="enfilade.hostcalls"):
        async with open_harness(operations=[operation(ASK, contract)]) as harness:
            assert await harness.run(guest, grants=[MINE]) == Returned()
    assert ("the driver of test::ask failed" in caplog.text) == (what != "hostcall error")


def pending(kind: str, cancelled: list[str]) -> Any:
    """A future or a coroutine that has no outcome, and notes that it was cancelled."""
    if kind == "future":
        return Future(lambda: cancelled.append(kind))

    async def run() -> int:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(kind)

    return run()


KINDS = pytest.mark.parametrize("kind", ["future", "coroutine"])


@KINDS
async def test_what_is_dropped_is_cancelled(kind: str) -> None:
    """A coroutine or a future is cancelled when the guest drops its hostcall."""
    cancelled: list[str] = []

    def contract(caller: Caller, question: int) -> Any:
        return pending(kind, cancelled)

    body = """
    (drop (call $ask.drop (call $ask.create {ask}) (global.get $result) (i32.const 256)))
    (i32.const 0)
    """
    async with open_harness(operations=[operation(ASK, contract)]) as harness:
        guest = asking(1, body)
        guest.function("main", "(drop (call $start))")
        source = guest.source().replace('(func (export "start")', '(func $start (export "start")')
        outcome = await harness.run(binary(source), grants=[MINE], entrypoint="main")
        assert outcome == Returned()
        await trio.testing.wait_all_tasks_blocked()
    assert cancelled == [kind]


async def test_much_that_a_dead_guest_waited_for_is_cancelled_by_and_by() -> None:
    """Others run in between; when the runtime ends meanwhile, the rest is cancelled there."""
    cancelled: list[str] = []
    body = """
    (local.set 0 (i32.const 1000))
    (loop $again
      (drop (call $ask.create {ask}))
      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
      (br_if $again (local.get 0)))
    (call $ok32 (call $ask {ask}))"""
    guest = Assembler("test::ask")
    guest.function("start", body.format(ask=guest.message(U32, 1)), "(result i32) (local i32)")
    for ending in ("by and by", "at once"):
        cancelled.clear()
        async with open_harness(
            operations=[operation(ASK, lambda caller, question: pending("future", cancelled))]
        ) as harness:
            process = harness.start(guest, grants=[MINE], results=(ScalarParam(ScalarType.U32),))
            await trio.testing.wait_all_tasks_blocked()
            assert process.execution.pending == 1001
            process.stop()
            assert process.execution.pending == 0
            assert 0 < len(cancelled) < 1001
            if ending == "by and by":
                await trio.testing.wait_all_tasks_blocked()
                assert len(cancelled) == 1001
        assert len(cancelled) == 1001


@KINDS
async def test_what_a_dead_guest_waited_for_is_cancelled(kind: str) -> None:
    """The same when the guest ends, also for a coroutine that has not begun; nothing is answered then."""
    cancelled: list[str] = []

    def contract(caller: Caller, question: int) -> Any:
        return pending(kind, cancelled)

    async with open_harness(operations=[operation(ASK, contract)]) as harness:
        results = (ScalarParam(ScalarType.U32),)
        process = harness.start(asking(1), grants=[MINE], results=results)
        await trio.testing.wait_all_tasks_blocked()
        assert process.execution.pending == 1
        process.stop()
        await process.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert process.execution.pending == 0
        assert len(harness.registry) == 1
    assert cancelled == [kind]


@KINDS
async def test_a_contract_that_ends_its_guest(kind: str) -> None:
    """What a contract still gives for a guest that it has ended is cancelled."""
    cancelled: list[str] = []

    def contract(caller: Caller, question: int) -> Any:
        caller.host.stop()
        return pending(kind, cancelled)

    async with open_harness(operations=[operation(ASK, contract)]) as harness:
        results = (ScalarParam(ScalarType.U32),)
        assert await harness.run(asking(1), grants=[MINE], results=results) == Stopped()
        await trio.testing.wait_all_tasks_blocked()
    assert cancelled == [kind]


async def test_replacing_a_driver() -> None:
    """An operation of the application's takes the place of the kernel's own for the same hostcall."""
    from enfilade.hostcalls.abi import TimeNow

    guest = Assembler("time::now")
    guest.function(
        "start",
        f"""
        (call $ok (call $time.now {guest.nothing}))
        (if (i64.ne (i64.load (global.get $result)) (i64.const 12)) (then unreachable))
        """,
    )
    frozen = operation(TIME_NOW, lambda caller, _: TimeNow(12, 34))
    async with open_harness(operations=[frozen]) as harness:
        assert await harness.run(guest) == Returned()
