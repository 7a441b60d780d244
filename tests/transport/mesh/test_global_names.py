"""Global names, at real servers: one process of a mesh has each, and its node's lease keeps it."""

import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.actors import (
    NO_PROCESS,
    SHUTDOWN,
    AlreadyStarted,
    Down,
    Global,
    Ignore,
    NameLost,
    NameTaken,
    Node,
    NoProcess,
    NoQuorum,
    Process,
    Ref,
)
from enfilade.transport.mesh import Mesh
from tests.transport.mesh.members import PATIENCE, Account, Program, nodes, start, until
from tests.transport.mesh.servers import needs_server

__all__ = ["start"]

pytestmark = [pytest.mark.real, needs_server]

LEASE = 1.5
"""Seconds of the leases here: so short that a test can wait for the end of one."""

SHORT = Mesh(servers="embedded", lease=LEASE)
LONG = Mesh(servers="embedded", lease=60.0)


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's runtime directory, for this test alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "enfilade" / "mesh" / "default"


@asynccontextmanager
async def holders(*names: str, mesh: Mesh = SHORT) -> AsyncIterator[list[Node]]:
    """Nodes of a mesh whose leases are short, unless another is given."""
    with trio.fail_after(PATIENCE):
        async with nodes(mesh, *names) as opened:
            yield opened


async def register(node: Node, ref: Ref[Any], taken: list[NameTaken]) -> None:
    try:
        await node.mesh.register("bank", ref)
    except NameTaken as error:
        taken.append(error)


async def test_mesh_65_one_of_ten_has_the_name() -> None:
    """MESH-1: ten ask at a time."""
    async with holders("a@east", "b@west") as pair:
        for _ in range(8):
            by_ref = {await node.spawn(Account): node for node in pair for _ in range(5)}
            refs, taken = list(by_ref), list[NameTaken]()
            async with trio.open_nursery() as tasks:
                for ref, node in by_ref.items():
                    tasks.start_soon(register, node, ref, taken)
            assert len(taken) == 9
            holder = await pair[0].mesh.whereis("bank")
            assert holder in refs
            assert {error.holder for error in taken} == {holder}
            for error in taken[:2]:
                assert await error.holder.within(PATIENCE).call(Account.give, 1) == 1
            for ref in refs:
                await ref.stop()
            await until_free(pair[0], "bank")


async def until_free(node: Node, name: str) -> None:
    while await node.mesh.whereis(name) is not None:  # noqa: ASYNC110 - the registry tells nobody
        await trio.sleep(0.005)


async def test_mesh_66_a_start_finds_the_name_taken() -> None:
    """MESH-2: each way to take that."""
    async with holders("a@east", "b@west") as (a, b):
        bank: Ref[Account] = await a.spawn(Account, name=Global("bank"))
        with pytest.raises(AlreadyStarted, match="bank") as caught:
            await b.spawn(Account, name=Global("bank"))
        assert caught.value.ref == bank
        assert await caught.value.ref.within(PATIENCE).call(Account.give, 5) == 5
        with pytest.raises(Ignore):
            await b.spawn(Account, name=Global("bank", taken="ignore"))
        assert len(b.processes) == 1, "those that did not start are not there"

        started: list[Ref[Any]] = []

        async def wait() -> None:
            started.append(await b.spawn(Account, name=Global("bank", taken="wait")))

        async with trio.open_nursery() as tasks:
            tasks.start_soon(wait)
            await trio.sleep(0.3)  # it has asked by then; nothing tells when
            assert not started
            await bank.stop()
        assert await a.mesh.whereis("bank") == started[0]


async def test_mesh_67_a_name_is_free_when_its_holder_has_ended() -> None:
    """MESH-3: also when it was given back."""
    async with holders("a@east", "b@west") as (a, b):
        bank = await a.spawn(Account, name=Global("bank"))
        assert await b.mesh.whereis("bank") == bank
        await bank.stop()
        await until_free(b, "bank")
        other = await b.spawn(Account)
        await b.mesh.register("bank", other)
        assert await a.mesh.whereis("bank") == other
        await b.mesh.unregister("bank")
        assert await a.mesh.whereis("bank") is None
        with pytest.raises(NoProcess):
            await b.mesh.unregister("bank")
        with pytest.raises(TypeError, match="a process of this node"):
            await a.mesh.register("bank", other)


HOLDER = """
import sys, trio
from enfilade.actors import Global
from enfilade.transport.mesh import Mesh, witness
from enfilade.transport.mesh.lease import Place
from tests.transport.mesh.members import Account, nodes

async def main(lease, name):
    if name.endswith("@elsewhere"):  # as on another machine, which nobody here is a witness of
        witness.own_place = lambda: Place("another/boot/1", 1, 1)
    async with nodes(Mesh(servers="embedded", lease=float(lease)), name) as (node,):
        await node.spawn(Account, name=Global("bank"))
        print(node.incarnation, 0, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)

trio.run(main, *sys.argv[1:])
"""


async def takeover(node: Node) -> float:
    """Wait for the name; how long it took."""
    began = trio.current_time()
    await node.spawn(Account, name=Global("bank", taken="wait"))
    return trio.current_time() - began


async def test_mesh_68_without_a_witness_the_lease_is_waited_for(
    start: Callable[..., Program], runtime: Path
) -> None:
    """MESH-4: nobody holds the name before."""
    async with holders("a@east") as (a,):
        program = start(str(LEASE), "b@elsewhere", None, HOLDER)
        await program.ready()
        program.kill()
        assert await takeover(a) >= 0.9 * LEASE, "1.2 leases after the last renewal, 0.2 or so before"


async def test_mesh_69_a_witness_takes_over_at_once(start: Callable[..., Program], runtime: Path) -> None:
    """MESH-5: with a lease of a minute."""
    with trio.fail_after(PATIENCE):
        async with nodes(Mesh(servers="embedded", lease=60.0), "a@east") as (a,):
            program = start("60", "b@west", None, HOLDER)
            await program.ready()
            assert (await a.mesh.whereis("bank")).node_name == "b@west"
            program.kill()
            assert await takeover(a) < 20.0, "it did not wait for the lease, of a minute"


async def test_mesh_70_a_process_that_is_stopped_is_no_dead_one(
    start: Callable[..., Program], runtime: Path
) -> None:
    """MESH-4, MESH-5: the witness leaves it its lease; when it goes on, it holds the name no longer."""
    async with holders("a@east") as (a,):
        program = start(str(LEASE), "b@west", None, HOLDER)
        await program.ready()
        program.kill(signal.SIGSTOP)
        assert await takeover(a) >= 0.7 * LEASE, "1.2 leases after the last renewal, 0.2 or so before"
        program.kill(signal.SIGCONT)
        holder = await a.mesh.whereis("bank")
        assert holder.node_name == "a@east"
        await trio.sleep(LEASE)  # what the other does when it goes on changes nothing
        assert await a.mesh.whereis("bank") == holder


async def test_mesh_74_mesh_83_without_a_registry_nobody_holds_a_name(runtime: Path) -> None:
    """MESH-6, MESH-7, MESH-9: leases run out while the only server is stopped; fences are greater then."""
    async with holders("a@east", "b@west") as (a, b):
        told: list[Any] = []

        async def keeper(me: Process) -> None:
            while True:
                message = await me.receive()
                if isinstance(message, NameLost):
                    told.append((message.name, me.holds("bank")))

        ref = await a.spawn(keeper)
        await a.mesh.register("bank", ref)
        process = a.processes[ref.serial]
        assert process.holds("bank")
        fence = process.fence
        server = server_of(runtime)
        os.kill(server, signal.SIGSTOP)
        try:
            await until(lambda: told == [("bank", False)])
            assert process.fence is None
            with pytest.raises(NoQuorum, match="no answer from the registry about 'bank'"):
                await b.mesh.whereis("bank")
            with pytest.raises(NoQuorum):
                await a.mesh.register("bank", ref)
        finally:
            os.kill(server, signal.SIGCONT)
        while True:
            try:
                await a.mesh.register("bank", ref)
            except (NoQuorum, NameTaken):
                await trio.sleep(0.05)
            else:
                break
        assert process.fence > fence


async def test_mesh_75_a_registry_that_lost_its_data_gives_nothing_away(runtime: Path) -> None:
    """MESH-8: the holder keeps what it has."""
    async with nodes(Mesh(servers="embedded", lease=4.0), "a@east", "b@west") as (a, b):
        with trio.fail_after(PATIENCE):
            ref = await a.spawn(Account, name=Global("bank"))
            process = a.processes[ref.serial]
            fence = process.fence
            other = await b.spawn(Account)
            may_write = trio.Event()
            registry = a.mesh.names._claims._registry
            write = registry.write

            async def write_names_later(key: str, value: bytes, revision: int) -> int:
                if key.startswith("name."):
                    await may_write.wait()
                return int(await write(key, value, revision))

            registry.write = write_names_later  # so that the other is first
            server = server_of(runtime)
            os.kill(server, signal.SIGSTOP)
            shutil.rmtree(runtime / "store")
            os.kill(server, signal.SIGKILL)
            refusals = list[str]()
            while "is taken" not in "".join(refusals):
                try:
                    await b.mesh.register("bank", other)
                except (NameTaken, NoQuorum) as error:
                    refusals.append(str(error))
                    if "has lost its data" in refusals[-1]:
                        may_write.set()
                else:
                    pytest.fail("it was given away")
                assert process.holds("bank")
                await trio.sleep(0.05)
            while process.fence == fence:  # noqa: ASYNC110 - until the claim was written again
                await trio.sleep(0.05)
            assert may_write.is_set()
            assert process.fence > fence
            assert await b.mesh.whereis("bank") == ref
            with pytest.raises(NameTaken):
                await b.mesh.register("bank", other)


def server_of(runtime: Path) -> int:
    """The process of the server of this test's directory."""
    (server,) = [int(each) for each in os.listdir("/proc") if each.isdecimal() and is_server(each, runtime)]
    return server


def is_server(pid: str, runtime: Path) -> bool:
    """Whether a process is the server of this test's directory."""
    try:
        return str(runtime / "server.conf").encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


async def test_mesh_81_who_has_moved_is_found_by_one_more_call() -> None:
    """MESH-20, MESH-21: the cast is a dead letter."""
    async with holders("a@east", "b@west", "c@north") as (a, b, c):
        first = await a.spawn(Account, name=Global("bank"))
        bank: Ref[Account] = c.named(Global("bank")).within(PATIENCE)  # type: ignore[assignment]
        assert await bank.call(Account.give, 1) == 1
        await first.stop()
        await until_free(b, "bank")
        second = await b.spawn(Account, name=Global("bank"))
        async with a.mailbox() as me:
            a.dead_letters.subscribe(me.ref)
            bank.cast(Account.give, 0)
            assert await bank.call(Account.give, 2) == 2
            letter = await me.receive()
            assert letter.message.args == (0,)
        assert await c.mesh.whereis("bank") == second
        bank.send("to the second")
        assert await bank.call(Account.history) == ["to the second"]
        await second.stop()
        await until_free(b, "bank")
        with pytest.raises(NoProcess, match="bank"):
            await bank.call(Account.give, 3)


async def test_names_are_refs_like_others() -> None:
    """MESH-23: they compare, and travel."""
    async with holders("a@east", "b@west") as (a, b):
        bank = b.named(Global("bank"))
        assert bank == b.mesh.named("bank")
        assert bank != b.named("bank")
        assert len({bank, b.mesh.named("bank")}) == 1
        await a.spawn(Account, name=Global("bank"))
        there: Ref[Account] = await b.whereis_on("a@east", "account")
        there.send(bank)
        assert await there.within(PATIENCE).call(Account.history) == [bank]
        assert await a.named("account").call(Account.history) == [a.mesh.named("bank")]
        verbs = (
            b.mesh.named,
            Global,
            b.mesh.whereis,
            b.mesh.unregister,
            lambda name: b.mesh.register(name, home),
        )
        home = await b.spawn(Account)
        for name, kind in (("", ValueError), ("x" * 61, ValueError), ("\ud800", ValueError), (7, TypeError)):
            for verb in verbs:
                with pytest.raises(kind, match="name must be a string of 1 to 60 bytes"):
                    await verb(name)


async def test_a_process_that_has_ended_gets_no_name() -> None:
    """MESH-3: not even for the moment that it would take to give it back."""
    async with holders("a@east", "b@west") as (a, b):
        ref = await a.spawn(Account)
        await ref.stop()
        for _ in range(20):
            with pytest.raises(NoProcess):
                await a.mesh.register("bank", ref)
            assert await b.mesh.whereis("bank") is None


async def test_a_name_is_watched_and_ended_wherever_it_is() -> None:
    """MESH-22: whoever was remembered; a process that has the name on one node only is not meant."""
    async with holders("a@east", "b@west", "c@north", mesh=LONG) as (a, b, c):
        bank = c.named(Global("bank"))
        await c.spawn(Account, name="bank")
        async with c.mailbox() as me:

            async def down() -> Down:
                return await me.receive(Down)

            me.monitor(bank)
            told = await down()
            assert (told.ref, told.reason) == (bank, NO_PROCESS)
            for node in (a, b, c):
                account = await node.spawn(Account, name=Global("bank"))
                dropped, monitor = me.monitor(bank), me.monitor(bank)
                assert me.demonitor(dropped)
                with pytest.raises(TypeError, match="use the ref that"):
                    me.link(b.named(Global("nobody")) if node is c else bank)
                await until(lambda monitor=monitor, account=account: monitor.ref == account)
                assert await bank.within(PATIENCE).call(Account.give, 1) == 1
                me.exit(bank, SHUTDOWN)
                told = await down()
                assert (told.monitor, told.ref, told.reason) == (monitor, account, SHUTDOWN)
                await until_free(c, "bank")
            account = await c.spawn(Account, name=Global("bank"))
            me.link(bank)
            me.unlink(bank)
            me.monitor(bank)
            await bank.stop()
            assert (await down()).ref == account
            await until_free(c, "bank")
            await a.spawn(Account, name=Global("bank"))
            await bank.stop()  # though c has remembered another
            with pytest.raises(NoProcess):
                await bank.stop()
