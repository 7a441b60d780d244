"""The faults of a mesh, each made in earnest: cut hosts, killed servers, stopped processes, set clocks."""

import os
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.actors import (
    NO_PROCESS,
    Down,
    Mailbox,
    NameTaken,
    Node,
    NoProcess,
    NoQuorum,
    NotConnected,
    Process,
    Ref,
    Refused,
)
from enfilade.actors.messages.reasons import NO_CONNECTION
from enfilade.actors.peers.remote_refs import HeldRef
from enfilade.transport import wire
from enfilade.transport.mesh import Mesh
from enfilade.transport.outward import Outward
from tests.transport.mesh.hosts import Hosts, hosts
from tests.transport.mesh.members import PATIENCE, Account, Program, nodes, server, start, until
from tests.transport.mesh.servers import NatsServer, mesh_server, needs_server
from tests.transport.mesh.sites import Site, kept

__all__ = ["hosts", "mesh_server", "server", "start"]

pytestmark = [pytest.mark.real, needs_server]


def mesh_of(request: pytest.FixtureRequest, url: str) -> Mesh:
    """A mesh of a test alone, at the server that all share; silence is no death there for a while."""
    return Mesh(servers=url, name=request.node.name[-32:], dead_after=PATIENCE, beat=0.5, registry=False)


@pytest.fixture
def mesh(request: pytest.FixtureRequest, mesh_server: str) -> Mesh:
    return mesh_of(request, mesh_server)


@asynccontextmanager
async def linked(mesh: Mesh | str, *names: str) -> AsyncIterator[tuple[list[Node], Ref[Account]]]:
    """Nodes, and the account of the second as the first one sees it."""
    with trio.fail_after(4 * PATIENCE):
        async with nodes(mesh, *names) as opened:
            account: Ref[Account] = await opened[0].whereis_on(names[1], "account")
            yield opened, account.within(PATIENCE)


async def test_mesh_23_a_ref_to_an_earlier_start_reaches_nobody(mesh: Mesh) -> None:
    with trio.fail_after(PATIENCE):
        async with nodes(mesh, "a@east") as (a,):
            async with nodes(mesh, "b@west"):
                old: Ref[Account] = await a.whereis_on("b@west", "account")
            async with nodes(mesh, "b@west"), a.mailbox() as me:
                assert await a.connect("b@west") == "b@west"
                a.dead_letters.subscribe(me.ref)
                with pytest.raises(NoProcess):
                    await old.within(PATIENCE).call(Account.give, 1)
                old.send("late")
                letter = await me.receive()
                assert (letter.message, letter.ref) == ("late", old)
                me.monitor(old)
                down = await me.receive(Down)
                assert (down.ref, down.reason) == (old, NO_PROCESS)


async def test_mesh_21_a_ref_that_was_handed_on_is_presented_once(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it comes; and without its token, or with another one, it leads to nobody."""
    async with linked(mesh, "a@east", "b@west", "c@south") as ((a, b, c), b_account):
        b_here, c_here = b.whereis("account"), c.whereis("account")
        assert b_here is not None
        assert c_here is not None
        secret = await b.spawn(Account)
        b_here.send(secret)
        c_account: Ref[Account] = await a.whereis_on("c@south", "account")
        (ref,) = await b_account.call(Account.history)
        await c_account.send_wait(ref)
        await c_account.send_wait(ref)
        await c_account.within(PATIENCE).call(Account.give, None)  # which comes after it
        handed = await c_here.call(Account.history)
        said: list[Any] = []
        send = Outward.send

        def noted(self: Any, frame: Any, handles: Any = ()) -> None:
            said.append(frame)
            send(self, frame, handles)

        monkeypatch.setattr(Outward, "send", noted)
        for number in range(4):
            assert await handed[number % 2].within(PATIENCE).call(Account.give, number) == number
        assert [frame.serial for frame in said if isinstance(frame, wire.Present)] == [secret.serial]
        remote = c.distribution._current["b@west"]
        for token in (b"", b"\0" * 16):
            hidden = await b.spawn(Account)
            forged: HeldRef = HeldRef(c, remote, hidden.serial, token)
            with pytest.raises(Refused):
                await forged.within(PATIENCE).call(Account.give, 1)


async def number_all(account: Ref[Account], count: int) -> None:
    """Send so many numbers from an ordinary process, a little at a time."""
    for number in range(count):
        account.send(number)
        if number % 1000 == 999:
            await trio.lowlevel.checkpoint()


class Ledger(Account):
    """Keeps what each sender has sent in order, by sender."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[int, int] = {}
        self.faults: list[Any] = []

    def on_message(self, message: Any) -> None:
        sender, number = message
        if self.counts.setdefault(sender, 0) != number:
            self.faults.append(message)
        self.counts[sender] = number + 1

    def result(self) -> tuple[dict[int, int], list[Any]]:
        return self.counts, self.faults


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
async def test_mesh_26_each_senders_messages_arrive_in_order(mesh: Mesh, count: int) -> None:
    async with linked(mesh, "a@east", "b@west") as ((a, b), _):
        await b.spawn(Ledger, name="ledger")
        ledger: Ref[Ledger] = (await a.whereis_on("b@west", "ledger")).within(PATIENCE)

        async def send(me: Process, sender: int) -> None:
            for number in range(count // 4):
                await ledger.send_wait((sender, number))

        senders = [await a.spawn(send, sender) for sender in range(4)]
        await until(lambda: not any(each.serial in a.processes for each in senders))
        counts, faults = await ledger.call(Ledger.result)
        assert counts == dict.fromkeys(range(4), count // 4)
        assert faults == []


class Slow(Account):
    """Handles one message, and then nothing more for a while."""

    async def on_message(self, message: Any) -> None:
        await trio.sleep_forever()


async def test_mesh_35_a_full_mailbox_holds_up_its_sender_alone(mesh: Mesh) -> None:
    """Little waits at either node, and others reach the same node."""
    async with linked(mesh, "a@east", "b@west", "c@north") as ((a, b, c), _):
        await b.spawn(Slow, name="slow", mailbox=Mailbox(10, "block"))
        slow = await a.whereis_on("b@west", "slow")
        sent = 0

        async def send(me: Process) -> None:
            nonlocal sent
            while True:
                await slow.send_wait(bytes(1000))
                sent += 1

        sender = await a.spawn(send)
        await until(lambda: sent >= 10)
        other: Ref[Account] = (await c.whereis_on("b@west", "account")).within(PATIENCE)
        said = a.mesh.status().bytes_out
        for number in range(200):
            assert await other.call(Account.give, number) == number
        assert sent <= 12
        # What nobody takes in lies nowhere: neither at a nor on its way, at the server, nor in b.
        assert a.mesh.status().bytes_out - said < 16 * 1024
        assert a.mesh.status().unsent == 0
        (peer,) = [each for each in a.distribution.rendezvous.peers.values() if each.name == "b@west"]
        assert peer.queued + peer.traffic.under_way < 64 * 1024
        sender.exit(NO_CONNECTION)


@pytest.mark.soak
async def test_mesh_36_a_held_loop_is_flooded_by_twenty(
    request: pytest.FixtureRequest, mesh_server: str, start: Callable[..., Program]
) -> None:
    """Nothing is lost, and nobody is told of an end."""
    mesh = mesh_of(request, mesh_server)
    with trio.fail_after(4 * PATIENCE):
        program = start(mesh_server, "b@west", {"ENFILADE_TEST_MESH": mesh.name})
        await program.ready()
        async with nodes(mesh, *(f"n{number}@east" for number in range(20))) as flooding:
            accounts = [await node.spawn_on("b@west", "Account") for node in flooding]
            program.kill(signal.SIGSTOP)
            async with trio.open_nursery() as tasks:
                for account in accounts:
                    tasks.start_soon(number_all, account, 5000)
                await trio.sleep(2)
                program.kill(signal.SIGCONT)
            for node, account in zip(flooding, accounts, strict=True):
                assert await account.within(PATIENCE).call(Account.summary) == (5000, True)
                assert node.peers == ("b@west",)


async def test_mesh_45_a_connection_that_breaks_is_no_error_of_the_sender(mesh: Mesh) -> None:
    """In the very step of a send, and of a call: both arrive over the next one."""
    async with linked(mesh, "a@east", "b@west") as ((a, _), account):
        connection = a.mesh._membership.carrier.connection

        def break_off(_: object) -> int:
            raise ConnectionResetError("for the test")

        connection._session.stream.send = break_off
        account.send("sent")
        assert not connection.is_up
        await until(lambda: connection.is_up)
        connection._session.stream.send = break_off
        assert await account.call(Account.history) == ["sent"]
        assert connection.reconnects == 2


async def test_mesh_48_a_resumption_is_one_line(server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    async with linked(server.url, "a@east", "b@west") as ((a, b), account):
        connections = [node.mesh._membership.carrier.connection for node in (a, b)]
        await account.call(Account.give, 1)
        with caplog.at_level("INFO", "enfilade.mesh"):
            server.kill()
            await until(lambda: not connections[0].is_up)
            for number in range(1000):
                account.send(number)
            await server.start()
            assert await account.call(Account.summary) == (1000, True)
            await until(lambda: all(each.reconnects == 1 for each in connections))
            said = lambda: [each.getMessage() for each in caplog.records if "resumed" in each.getMessage()]  # noqa: E731
            await until(lambda: len(said()) == 2)
        lines = said()
        assert all("1 node links resumed, " in line for line in lines)
        (own,) = (line for line in lines if line.startswith("a@east"))
        assert re.search(r"a@east is at server .* after [0-9.]+ s: .*, [1-9]\d* batches sent again$", own)
        assert len(caplog.records) < 12


async def test_the_end_of_a_node_link_is_told_to_a_node_that_says_nothing(mesh: Mesh) -> None:
    """As when one of the two has had a batch that it cannot read, and ends the node link."""
    async with linked(mesh, "a@east", "b@west") as ((a, b), account):
        reasons: list[Any] = []
        await a.spawn(watch, account, reasons)
        assert await account.call(Account.give, 1) == 1
        (peer,) = b.distribution.rendezvous.peers.values()
        peer.end("for the test")
        await until(lambda: reasons == [NO_CONNECTION] and not a.peers)


HOST = """
import sys, trio
from pathlib import Path
from enfilade.actors import Down, open_node
from enfilade.transport.mesh import Mesh
from tests.transport.mesh.members import Account
from tests.transport.mesh.sites import POLICY

async def main(url, identity):
    mesh = Mesh(servers=url, identity=identity)
    async with open_node("b", zone="west", mesh=mesh, policy=POLICY) as node, node.mailbox() as me:
        await node.spawn(Account, name="account")
        print("open", flush=True)
        while True:
            try:
                me.monitor(await node.whereis_on("a@east", "account"))
            except Exception:
                await trio.sleep(0.1)
                continue
            print("up", flush=True)
            down = await me.receive(Down)
            print("down", down.reason, flush=True)

trio.run(main, *sys.argv[1:])
"""


@pytest.mark.zones
async def test_mesh_52_a_host_is_cut_off_and_comes_back(
    hosts: Hosts, tmp_path: Path, start: Callable[..., Program]
) -> None:
    """Both sides are told once, and meet again; nothing that was said meanwhile arrives."""
    site = Site(tmp_path, address=hosts.address)
    site.admit("a@east", "b@west")
    with trio.fail_after(4 * PATIENCE):
        async with kept(site.keeper()), site.node("a@east") as a:
            program = start(site.urls[0], str(tmp_path / "b@west"), None, HOST, hosts.command(1))
            assert [await program.line(), await program.line()] == ["open", "up"]
            account: Ref[Account] = await a.whereis_on("b@west", "account")
            reasons: list[Any] = []
            await a.spawn(watch, account, reasons)
            account.send("before")
            assert await account.within(PATIENCE).call(Account.history) == ["before"]
            (peer,) = a.distribution.rendezvous.peers.values()
            hosts.cut(1)
            cut_at = trio.current_time()
            account.send("meanwhile")
            with pytest.raises(NotConnected):
                await account.within(PATIENCE).call(Account.give, 1)
            assert trio.current_time() - cut_at > 2.0, "a moment of silence is no death"
            await until(lambda: bool(reasons))
            assert peer.ended.is_set()
            assert await program.line() == f"down {NO_CONNECTION}"
            hosts.heal(1)
            assert await program.line() == "up"
            account.send("after")
            assert await account.within(PATIENCE).call(Account.history) == ["before", "after"]
            assert reasons == [NO_CONNECTION]


async def watch(me: Process, target: Ref[Any], reasons: list[Any]) -> None:
    """Monitor a process, and keep what is told of its end."""
    me.monitor(target)
    while True:
        reasons.append((await me.receive(Down)).reason)


async def test_mesh_62_wall_clocks_mean_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes' clocks jump an hour ahead and back: nobody is told, and no name moves."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    now = time.time
    with trio.fail_after(4 * PATIENCE):
        async with nodes(Mesh(servers="embedded", lease=3.0), "a@east", "b@west") as (a, b):
            told: list[Any] = []

            async def hold(me: Process) -> None:
                while True:
                    told.append(await me.receive())

            ref = await a.spawn(hold)
            await a.mesh.register("bank", ref)
            account: Ref[Account] = (await b.whereis_on("a@east", "account")).within(PATIENCE)
            await b.spawn(watch, account, told)
            revision = a.mesh.fence(a.processes[ref.serial])
            for ahead in (3600.0, -3600.0, 0.0):
                monkeypatch.setattr(time, "time", lambda ahead=ahead: now() + ahead)
                begin = trio.current_time()
                while trio.current_time() < begin + 1.5:
                    assert await account.call(Account.give, 1) == 1
                assert await b.mesh.whereis("bank") == ref
            assert told == []
            assert a.mesh.fence(a.processes[ref.serial]) == revision


@pytest.mark.soak
@pytest.mark.zones
async def test_what_one_machine_says_is_dropped(
    hosts: Hosts, tmp_path: Path, start: Callable[..., Program]
) -> None:
    """For a moment: nothing is lost, and nobody told. For longer: both sides are told, as by a cut."""
    site = Site(tmp_path, address=hosts.address)
    site.admit("a@east", "b@west")
    with trio.fail_after(4 * PATIENCE):
        async with kept(site.keeper()), site.node("a@east") as a:
            program = start(site.urls[0], str(tmp_path / "b@west"), None, HOST, hosts.command(1))
            assert [await program.line(), await program.line()] == ["open", "up"]
            account: Ref[Account] = await a.whereis_on("b@west", "account")
            reasons: list[Any] = []
            await a.spawn(watch, account, reasons)
            hosts.silence(1)
            account.send("meanwhile")
            await trio.sleep(1.0)
            hosts.hear(1)
            assert await account.within(PATIENCE).call(Account.history) == ["meanwhile"]
            assert reasons == []
            hosts.silence(1)
            await until(lambda: bool(reasons))
            assert reasons == [NO_CONNECTION]
            assert await program.line() == f"down {NO_CONNECTION}"
            hosts.hear(1)
            assert await program.line() == "up"


@pytest.mark.soak
async def test_the_disk_of_the_registry_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims raise `NoQuorum`, and holders stop; with room, and a server started anew, names work again."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    store = tmp_path / "enfilade" / "mesh" / "default" / "store"
    store.mkdir(parents=True)
    for each in (store, *list(store.parents)[:3]):
        each.chmod(0o700)
    try:
        mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", str(store)]
        subprocess.run(mount, check=True, capture_output=True)  # noqa: ASYNC221 - for a moment
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs permission to mount a tmpfs: {error}")
    try:
        with trio.fail_after(4 * PATIENCE):
            async with nodes(Mesh(servers="embedded", lease=2.0), "a@east", "b@west") as (a, b):
                ref = await a.spawn(Account)
                await a.mesh.register("bank", ref)
                process = a.processes[ref.serial]
                fence = process.fence
                fill = store / "fill"
                with fill.open("wb", buffering=0) as file, suppress(OSError):
                    while True:
                        file.write(bytes(4096))
                await until(lambda: not process.holds("bank"))
                with pytest.raises(NoQuorum):
                    await b.mesh.register("other", await b.spawn(Account))
                fill.unlink()
                (holder,) = (each for each in (a, b) if each.mesh._membership.shared.is_holder)
                os.kill(holder.mesh._membership.shared._process.pid, signal.SIGKILL)
                while True:
                    try:
                        await a.mesh.register("bank", ref)
                    except (NoQuorum, NameTaken):
                        await trio.sleep(0.1)
                    else:
                        break
                assert process.fence > fence
    finally:
        subprocess.run(["umount", "-l", str(store)], check=True)  # noqa: ASYNC221 - for a moment
