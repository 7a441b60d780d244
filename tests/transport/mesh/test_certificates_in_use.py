"""What certificates do while a mesh runs: ends, renewals, revocation in the middle of things, rights."""

import logging
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from enfilade.actors import (
    NO_CONNECTION,
    CallError,
    Down,
    Global,
    Node,
    NoQuorum,
    NotConnected,
    Process,
    Ref,
    open_node,
)
from enfilade.transport import Policy, Rule
from enfilade.transport.mesh import MeshError
from enfilade.transport.policy import NotAdmitted
from tests.transport.mesh.members import PATIENCE, Account, until
from tests.transport.mesh.servers import needs_server
from tests.transport.mesh.sites import POLICY, Site, kept

pytestmark = [pytest.mark.real, needs_server]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, lease=3.0)


def lines(caplog: pytest.LogCaptureFixture, pattern: str) -> list[tuple[str, str]]:
    return [
        (each.levelname, each.getMessage())
        for each in caplog.records
        if each.name == "enfilade.mesh" and re.search(pattern, each.getMessage())
    ]


async def account_of(node: Node, peer: str) -> "Ref[Account]":
    with trio.fail_after(PATIENCE):
        ref = await node.whereis_on(peer, "account")
    assert ref is not None
    return ref


async def holder(node: Node, name: str) -> "Ref[Account]":
    """Start an account under a global name, once the registry gives any away."""
    while True:
        try:
            return await node.spawn(Account, name=Global(name))
        except NoQuorum:
            await trio.sleep(0.1)


@asynccontextmanager
async def at_last(site: Site, name: str) -> AsyncIterator[Node]:
    """Open a node whose certificate the server has yet to hear of."""
    while True:
        try:
            opening = site.node(name)
            node = await opening.__aenter__()
            break
        except MeshError:
            await trio.sleep(0.1)
    try:
        yield node
    finally:
        await opening.__aexit__(None, None, None)


# Dates.


@pytest.mark.parametrize(("days", "warned"), [(13.5, True), (14.5, False), (1.0, True), (0.01, True)])
async def test_a_certificate_that_ends_soon_is_warned_of(
    site: Site, caplog: pytest.LogCaptureFixture, days: float, warned: bool
) -> None:
    site.admit("a@east", days=days)
    async with kept(site.keeper()), site.node("a@east"):
        found = lines(caplog, "certificate")
        assert bool(found) == warned
        for level, text in found:
            assert level == "WARNING"
            assert "a@east" in text
            assert "renew" in text


async def test_a_certificate_that_comes_to_its_end_while_the_node_runs_is_warned_of(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """A node may run for longer than the time from which on it is warned of."""
    site.admit("a@east", days=14 + 3 / 86400)
    async with kept(site.keeper()), site.node("a@east"):
        assert not lines(caplog, "certificate")
        await until(lambda: bool(lines(caplog, "certificate of a@east ends in 14.0 days")))


@attrs.frozen
class Outlived:
    """The node a@east, whose certificate has ended while it runs, with an account at b@west.

    Attributes:
        account: the account.
        lose: kills the server, and waits until the next one has refused the certificate.
    """

    node: Node
    account: "Ref[Account]"
    lose: Callable[[], Awaitable[None]]


@asynccontextmanager
async def outlived(site: Site, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Outlived]:
    site.admit("b@west")
    keeper = site.keeper()

    async def lose() -> None:
        os.kill(keeper._server.pid, signal.SIGKILL)
        await until(lambda: bool(lines(caplog, "does not answer as it should.*(?i:certificate)")))

    async with kept(keeper), site.node("b@west"):
        site.admit("a@east", days=5 / 86400)
        async with at_last(site, "a@east") as a:
            account = await account_of(a, "b@west")
            await until(lambda: bool(lines(caplog, "certificate of a@east has ended")))
            yield Outlived(a, account, lose)


async def test_a_certificate_that_has_ended_holds_until_the_connection_ends(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async with outlived(site, caplog) as a:
        assert await a.account.within(PATIENCE).call(Account.give, 1) == 1
        await a.lose()
        with pytest.raises(CallError):
            await a.account.within(10).call(Account.give, 2)


async def test_a_renewed_certificate_is_used_at_the_next_connection(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The node that was refused comes back, without a restart."""
    async with outlived(site, caplog) as a:
        await a.lose()
        site.install("a@east", site.authority.renew("a@east"))
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    ref = await a.node.whereis_on("b@west", "account")
                    assert await ref.call(Account.give, 3) == 3
                    break
                except CallError:
                    await trio.sleep(0.1)


async def test_old_and_new_certificate_are_both_good(site: Site) -> None:
    site.admit("a@east")
    old = {each.name: each.read_bytes() for each in (site.directory / "a@east").iterdir()}
    renewed = site.authority.renew("a@east")
    async with kept(site.keeper()):
        async with site.node("a@east"):
            pass
        site.install("a@east", renewed)
        assert (site.directory / "a@east" / "node.pem").read_bytes() != old["node.pem"]
        async with site.node("a@east"):
            pass


# Revocation in the middle.


async def test_a_call_under_way_to_a_node_that_is_revoked_fails_soon(site: Site) -> None:
    site.admit("a@east", "evil@x")
    keeper = site.keeper()
    async with kept(keeper), site.node("a@east") as a, site.node("evil@x") as evil:
        started = trio.Event()

        async def slow(me: Process) -> None:
            await me.receive()
            started.set()
            await trio.sleep_forever()

        await evil.spawn(slow, name="slow")
        far = await a.whereis_on("evil@x", "slow")
        downs: list[Any] = []

        async def watch(me: Process) -> None:
            me.monitor(far)
            while True:
                downs.append(await me.receive())

        await a.spawn(watch)
        results: list[Any] = []

        async def call() -> None:
            try:
                results.append(await far.within(PATIENCE).call(Account.fail, "x"))
            except CallError as error:
                results.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            with trio.fail_after(PATIENCE):
                await started.wait()
            site.authority.revoke("evil@x")
            await until(lambda: bool(results))
        assert isinstance(results[0], NotConnected), results
        await until(lambda: bool(downs))
        assert [type(each) for each in downs] == [Down]
        assert downs[0].reason == NO_CONNECTION


async def test_a_call_under_way_from_a_node_that_is_revoked_fails_and_its_log_says_why(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.admit("a@east", "evil@x")
    async with kept(site.keeper()), site.node("a@east") as a, site.node("evil@x") as evil:

        async def slow(me: Process) -> None:
            await trio.sleep_forever()

        await a.spawn(slow, name="slow")
        far = await evil.whereis_on("a@east", "slow")
        results: list[Any] = []

        async def call() -> None:
            try:
                await far.within(PATIENCE).call(Account.fail, "x")
            except CallError as error:
                results.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await trio.sleep(0.2)
            site.authority.revoke("evil@x")
            await until(lambda: bool(results))
        assert isinstance(results[0], NotConnected)
        await until(lambda: bool(lines(caplog, "does not answer as it should.*Authorization Violation")))
        await until(lambda: bool(lines(caplog, "no server answers|lost the mesh")))
        before = len(lines(caplog, "Authorization Violation"))
        await trio.sleep(3)
        assert len(lines(caplog, "Authorization Violation")) <= before + 1, "it is not said again and again"
        # it still can be told to do things on its own node
        assert evil.mesh.status().server is None
        with pytest.raises((CallError, OSError)):
            await evil.connect("a@east")


async def test_the_name_of_a_revoked_node_can_be_taken(site: Site) -> None:
    site.admit("a@east", "evil@x")
    async with kept(site.keeper()), site.node("a@east") as a, site.node("evil@x") as evil:
        with trio.fail_after(PATIENCE):
            await holder(evil, "bank")
            while await a.mesh.whereis("bank") is None:  # noqa: ASYNC110 - reads may be old
                await trio.sleep(0.05)
        site.authority.revoke("evil@x")
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    mine = await a.spawn(Account, name=Global("bank"))
                    break
                except Exception:
                    await trio.sleep(0.1)
        assert await a.mesh.whereis("bank") == mine


async def test_a_further_name_of_a_revoked_node_is_refused_too(site: Site) -> None:
    site.admit("a@east", also=["a-1@east"])
    os.rename(site.directory / "a@east", site.directory / "a-1@east")
    async with kept(site.keeper()):
        async with site.node("a-1@east"):
            pass
        site.authority.revoke("a@east")
        await trio.sleep(1)
        with trio.fail_after(PATIENCE), pytest.raises(MeshError, match="Authorization"):
            async with site.node("a-1@east"):
                pytest.fail("let in")


async def test_a_node_that_is_revoked_and_issued_again_comes_as_itself(site: Site) -> None:
    site.admit("a@east", "b@west")
    async with kept(site.keeper()), site.node("a@east") as a:
        async with site.node("b@west"):
            await account_of(a, "b@west")
        site.authority.revoke("b@west")
        (site.directory / "b@west").rename(site.directory / "old")
        site.install("b@west", site.authority.issue("b@west"))
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    async with site.node("b@west"):
                        ref = await account_of(a, "b@west")
                        assert await ref.call(Account.give, 4) == 4
                        (peer,) = a.distribution.rendezvous.peers.values()
                        assert peer.identity.credentials.node == "b@west"
                    break
                except MeshError:
                    await trio.sleep(0.1)


# Rights to the registry.


@pytest.mark.parametrize("registry", ["none", "read"])
async def test_a_node_without_the_right_to_write_holds_no_name_and_says_so(site: Site, registry: str) -> None:
    site.admit("a@east")
    site.admit("b@west", registry=registry)
    async with kept(site.keeper()), site.node("a@east") as a, site.node("b@west") as b:
        with trio.fail_after(PATIENCE):
            held = await holder(a, "bank")
            ref = await b.spawn(Account)
            with pytest.raises((NoQuorum, CallError)):
                await b.mesh.register("till", ref)
            if registry == "read":
                assert (await b.mesh.whereis("bank")) == held or (await b.mesh.whereis("bank")) is not None
                assert await b.mesh.named("bank").call(Account.give, 1) == 1
            else:
                with pytest.raises(NoQuorum):
                    await b.mesh.whereis("bank")
            # and everything else goes on
            account = await account_of(b, "a@east")
            assert await account.call(Account.give, 5) == 5


# Identity directories that are none.


def _garbage(where: Path) -> None:
    (where / "node.pem").write_text("nonsense")


def _no_ca(where: Path) -> None:
    (where / "ca.pem").unlink()


def _empty_ca(where: Path) -> None:
    (where / "ca.pem").write_text("")


def _toml(where: Path) -> None:
    (where / "mesh.toml").write_text("= =")


def _toml_without_node(where: Path) -> None:
    (where / "mesh.toml").write_text('mesh = "default"\n')


def _toml_expires(where: Path) -> None:
    (where / "mesh.toml").write_text('node = "a@east"\nmesh = "default"\nexpires = "soon"\n')


def _no_key(where: Path) -> None:
    (where / "node.key").unlink()


def _other_key(where: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    from enfilade.transport.mesh import authority

    (where / "node.key").write_bytes(authority._key_bytes(ec.generate_private_key(ec.SECP256R1())))


def _empty_key(where: Path) -> None:
    (where / "node.key").write_bytes(b"")


def _binary_toml(where: Path) -> None:
    (where / "mesh.toml").write_bytes(b"\xff\xfe\x00")


def _a_directory(where: Path) -> None:
    (where / "node.pem").unlink()
    (where / "node.pem").mkdir()


def _servers(where: Path) -> None:
    (where / "mesh.toml").write_text(
        'node = "a@east"\nmesh = "default"\nexpires = 2999-01-01T00:00:00Z\nservers = 5\n'
    )


def _also(where: Path) -> None:
    (where / "mesh.toml").write_text(
        'node = "a@east"\nmesh = "default"\nexpires = 2999-01-01T00:00:00Z\nalso = 5\n'
    )


@pytest.mark.parametrize(
    "break_it",
    [
        *(_garbage, _no_ca, _empty_ca, _toml, _toml_without_node, _toml_expires, _no_key, _other_key),
        *(_empty_key, _binary_toml, _a_directory, _servers, _also),
    ],
)
async def test_an_identity_that_is_none_is_refused_before_anything_is_sent(site: Site, break_it: Any) -> None:
    site.admit("a@east")
    break_it(site.directory / "a@east")
    with trio.fail_after(PATIENCE), pytest.raises(MeshError) as caught:
        async with site.node("a@east"):
            pytest.fail("let in")
    assert str(site.directory / "a@east") in str(caught.value)
    assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize("identity", ["nowhere", "a-file", ""])
async def test_an_identity_that_is_not_there(tmp_path: Path, identity: str) -> None:
    (tmp_path / "a-file").write_text("")
    with trio.fail_after(PATIENCE), pytest.raises((MeshError, ValueError)):
        async with open_node("a", zone="east", mesh="tls://localhost:1", identity=tmp_path / identity):
            pytest.fail("let in")


async def test_an_identity_of_another_authority_with_the_same_name(site: Site, tmp_path: Path) -> None:
    """The client does not trust the server; and when it is made to, the server does not trust the client.

    In TLS 1.3 the client has written by then: the reset that this meets may overtake the server's alert.
    """
    site.admit("a@east")
    other = Site(tmp_path / "other")
    other.admit("a@east")
    (other.directory / "a@east" / "ca.pem").write_bytes((site.directory / "ca" / "ca.pem").read_bytes())
    async with kept(site.keeper()):
        with trio.fail_after(PATIENCE), pytest.raises(MeshError, match=r"(?i)TLS|certificate|reset by"):
            async with other.node("a@east", site.urls):
                pytest.fail("let in")


async def test_a_renamed_identity_does_not_make_another_node(site: Site) -> None:
    """Also where its settings are changed: the certificate says who it is."""
    site.admit("a@east", "b@west")
    where = site.directory / "a@east"
    settings = (where / "mesh.toml").read_text()
    (where / "mesh.toml").write_text(settings.replace("a@east", "b@west"))
    async with kept(site.keeper()):
        with trio.fail_after(PATIENCE), pytest.raises(MeshError):
            async with open_node("b", zone="west", mesh=site.mesh("a@east"), policy=POLICY):
                pytest.fail("let in")


async def test_a_second_program_with_the_same_certificate_is_refused_and_the_first_goes_on(
    site: Site,
) -> None:
    site.admit("a@east", "b@west")
    async with kept(site.keeper()), site.node("a@east"), site.node("b@west") as b:
        account = await account_of(b, "a@east")
        with trio.fail_after(PATIENCE), pytest.raises(MeshError, match="runs already"):
            async with site.node("a@east"):
                pytest.fail("let in")
        assert await account.call(Account.give, 1) == 1


async def test_two_names_of_one_certificate_are_two_nodes(site: Site) -> None:
    site.admit("a@east", also=["a-1@east"])
    import shutil

    shutil.copytree(site.directory / "a@east", site.directory / "a-1@east")
    async with kept(site.keeper()), site.node("a@east") as a, site.node("a-1@east") as b:
        account = await account_of(a, "a-1@east")
        assert await account.call(Account.give, 2) == 2
        await until(lambda: {each.name for each in b.mesh.nodes()} == {"a@east", "a-1@east"})


# Policies.


@asynccontextmanager
async def opened(site: Site, name: str, policy: Policy | None) -> AsyncIterator[Node]:
    short, _, zone = name.partition("@")
    async with open_node(short, zone=zone, mesh=site.mesh(name), policy=policy) as node:
        await node.spawn(Account, name="account")
        await node.spawn(Account, name="vault")
        yield node


@pytest.mark.parametrize(
    ("rule", "admitted"),
    [
        (Rule(nodes="*"), False),
        (Rule(nodes="*", over="doors"), False),
        (Rule(nodes="*", over="mesh"), True),
        (Rule(nodes="*", over="any"), True),
        (Rule(nodes="b@*", over="mesh"), True),
        (Rule(nodes="c@*", over="mesh"), False),
        (Rule(zones="west", over="mesh"), True),
        (Rule(zones="east", over="mesh"), False),
        (Rule(uids=[0], over="mesh"), False),
        (Rule(uids=[-1], over="mesh"), False),
        (Rule(gids=[0], over="any"), False),
    ],
    ids=range(11),
)
async def test_who_is_admitted_over_the_mesh(site: Site, rule: Rule, admitted: bool) -> None:
    site.admit("a@east", "b@west")
    async with (
        kept(site.keeper()),
        opened(site, "a@east", Policy(rules=[rule])),
        opened(site, "b@west", POLICY) as b,
    ):
        with trio.fail_after(PATIENCE):
            if admitted:
                assert await b.connect("a@east") == "a@east"
            else:
                with pytest.raises(NotAdmitted):
                    await b.connect("a@east")


async def test_without_a_policy_the_mesh_is_admitted_and_nothing_is_exported(site: Site) -> None:
    site.admit("a@east", "b@west")
    async with kept(site.keeper()), opened(site, "a@east", None), opened(site, "b@west", None) as b:
        with trio.fail_after(PATIENCE):
            assert await b.connect("a@east") == "a@east"
            assert await b.whereis_on("a@east", "account") is None


async def test_a_server_uses_a_renewed_certificate_without_a_restart(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    import socket
    import ssl

    keeper = site.keeper()

    def serial() -> str:
        context = ssl.create_default_context(cafile=site.directory / "ca" / "ca.pem")
        with socket.create_connection(("localhost", site.ports[0]), timeout=PATIENCE) as connection:
            while not connection.recv(65536).endswith(b"\r\n"):
                pass
            with context.wrap_socket(connection, server_hostname="localhost") as tls:
                return str(tls.getpeercert()["serialNumber"])

    caplog.set_level(logging.INFO, "enfilade.mesh")
    async with kept(keeper):
        before = await trio.to_thread.run_sync(serial)
        pid = keeper._server.pid
        site.install("s0", site.authority.issue_server(["localhost", "127.0.0.1"]))
        with trio.fail_after(PATIENCE):
            while await trio.to_thread.run_sync(serial) == before:  # noqa: ASYNC110 - the server says nothing
                await trio.sleep(0.1)
        assert keeper._server.pid == pid
        assert len(lines(caplog, "server s0 uses a renewed certificate")) == 1


async def test_a_server_says_when_its_certificate_ends(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.install("s0", site.authority.issue_server(["localhost"], days=3))
    async with kept(site.keeper()):
        ((level, text),) = lines(caplog, "certificate of server s0")
        assert level == "WARNING"
        assert "ends in 3.0 days" in text
        assert "ca issue --server" in text
