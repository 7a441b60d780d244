"""A mesh with certificates: who is let in, as whom, and what they may say there."""

import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from enfilade.actors import Ref
from enfilade.actors.cli.app import app
from enfilade.actors.cli.refusal import Refusal
from enfilade.transport.mesh import MeshError, authority
from enfilade.transport.mesh.authority import Authority, join
from enfilade.transport.mesh.connection import Connection
from enfilade.transport.mesh.keeper import read_server_file
from enfilade.transport.mesh.local_owner import owner_of_peer
from enfilade.transport.mesh.protocol import Message
from enfilade.transport.mesh.registry import MeshRegistry, NoAnswer
from enfilade.transport.mesh.settings import Server
from enfilade.transport.mesh.subjects import to_token
from enfilade.transport.mesh.watcher import Quiet
from tests.ports import free_port
from tests.transport.mesh.members import PATIENCE, Account, nodes, until
from tests.transport.mesh.servers import needs_server, running
from tests.transport.mesh.sites import Site, kept

pytestmark = [pytest.mark.real, needs_server]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_nodes_with_certificates_are_who_these_say(site: Site) -> None:
    """Certified names, and no user ids; long payloads go through TLS as all else does."""
    site.admit("a@east", "b@west")
    async with kept(site.keeper()), site.node("a@east") as a, site.node("b@west") as b:
        with trio.fail_after(PATIENCE):
            account: Ref[Account] = await a.whereis_on("b@west", "account")
            value = os.urandom(1_000_000)
            assert await account.within(PATIENCE).call(Account.give, value) == value
            (peer,) = b.distribution.rendezvous.peers.values()
            credentials = peer.identity.credentials
            assert (credentials.node, credentials.zone, credentials.uid) == ("a@east", "east", -1)


async def violations(connection: Connection, site: Site) -> str:
    """What the server has written down of refusals."""
    with trio.fail_after(PATIENCE):
        await connection.settled()
    return (site.directory / "s0.server" / "server.log").read_text()


async def test_mesh_110_nobody_speaks_or_listens_for_another(site: Site) -> None:
    site.admit("a@east", "b@west")
    site.admit("evil@x", registry="none")
    heard: list[str] = []
    a, evil = to_token("a@east"), to_token("evil@x")
    async with kept(site.keeper()), site.node("a@east") as node, site.node("evil@x") as hostile:
        connection = hostile.mesh._membership.carrier.connection
        victim = node.mesh._membership.carrier
        incarnation = f"{node.incarnation:x}"

        def note(message: Message) -> None:
            heard.append(message.subject)

        ignored = victim.ignored, victim.announcer.ignored
        for subject in (
            f"enf.default.l.{a}.{incarnation}.{to_token('b@west')}.1",
            f"enf.default.r.{a}.{to_token('b@west')}",
            f"enf.default.p.{a}.{incarnation}.{to_token('b@west')}",
            f"enf.default.b.{to_token('b@west')}",
            f"enf.default.d.{to_token('b@west')}",
            f"enf.default.g.scope.{to_token('b@west')}",
            f"$KV.enf-default.lease.{a}",
            "$KV.enf-default.name.bank",
            "$JS.API.STREAM.CREATE.KV_enf-default",
            "$JS.API.STREAM.DELETE.KV_enf-default",
            "$SYS.REQ.SERVER.PING",
            "enf.default.c.list",
        ):
            connection.publish(subject, b"forged")
            assert f'enfilade:evil@x" - Publish Violation - Subject "{subject}"' in await violations(
                connection, site
            )
        for subject in (
            ">",
            f"enf.default.l.{a}.>",
            f"enf.default.i.{a}.>",
            f"enf.default.r.{a}.*",
            "$KV.>",
            "$SYS.>",
            "enf.default.c.list",
        ):
            connection.subscribe(subject, note)
            assert f'enfilade:evil@x" - Subscription Violation - Subject "{subject}"' in await violations(
                connection, site
            )
        with trio.fail_after(PATIENCE):
            account: Ref[Account] = await hostile.whereis_on("a@east", "account")
            assert await account.within(PATIENCE).call(Account.give, evil) == evil
        assert not heard
        assert (victim.ignored, victim.announcer.ignored) == ignored


def certificate(site: Site, **changes: Any) -> None:
    """Give a@east another certificate: of another authority, or of other dates."""
    where = site.directory / "a@east"
    key = ec.generate_private_key(ec.SECP256R1())
    own = changes.get("signed_by") == "itself"
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a@east")])
    now = datetime.now(UTC)
    begins, ends = (
        now + timedelta(days=changes.get("begins", -1)),
        now + timedelta(days=changes.get("ends", 1)),
    )
    uri = x509.UniformResourceIdentifier("enfilade:a@east")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if own else site.authority._certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key if own else site.authority._key, hashes.SHA256())
    )
    (where / "node.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (where / "node.key").write_bytes(authority._key_bytes(key))


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        (
            {"signed_by": "itself"},
            "TLS fails: TLSV1_ALERT_UNKNOWN_CA|TLS fails: TLSV13_ALERT|bad certificate",
        ),
        (
            {"begins": -9, "ends": -2},
            "TLS fails: (SSLV3_ALERT_CERTIFICATE_EXPIRED|SSLV3_ALERT_BAD_CERTIFICATE)",
        ),
        (
            {"begins": 2, "ends": 9},
            "TLS fails: (SSLV3_ALERT_CERTIFICATE_EXPIRED|SSLV3_ALERT_BAD_CERTIFICATE)",
        ),
        (
            None,
            "it refuses this client: Authorization Violation: its certificate is not on the list of nodes",
        ),
    ],
    ids=["self-signed", "expired", "not yet valid", "not listed"],
)
async def test_mesh_111_who_is_not_certified_is_not_let_in(
    site: Site, changes: dict[str, Any] | None, refusal: str
) -> None:
    site.admit("a@east")
    if changes is None:
        site.authority.revoke("a@east")
    else:
        certificate(site, **changes)
    async with kept(site.keeper()):
        with trio.fail_after(PATIENCE), pytest.raises(MeshError, match=refusal):
            async with site.node("a@east"):
                pytest.fail("it was let in")


async def test_mesh_111_without_tls_or_with_an_old_version_nobody_is_let_in(site: Site) -> None:
    async with kept(site.keeper()):
        plain = site.urls[0].replace("tls://localhost", "nats://127.0.0.1")
        with (
            trio.fail_after(PATIENCE),
            pytest.raises(MeshError, match="it asks for TLS, and this node has no"),
        ):
            async with nodes(plain, "a@east"):
                pytest.fail("it was let in")

        def shake_hands(version: ssl.TLSVersion) -> None:
            context = ssl.create_default_context(cafile=site.directory / "ca" / "ca.pem")
            context.maximum_version = version
            with socket.create_connection(("localhost", site.ports[0]), timeout=PATIENCE) as connection:
                while not connection.recv(65536).endswith(b"\r\n"):
                    pass
                with context.wrap_socket(connection, server_hostname="localhost"):
                    pass

        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            await trio.to_thread.run_sync(shake_hands, ssl.TLSVersion.TLSv1_2)
        await trio.to_thread.run_sync(shake_hands, ssl.TLSVersion.TLSv1_3)


async def test_a_server_must_be_certified_as_one(site: Site) -> None:
    """Neither a node's certificate, nor one for another host, nor another authority's makes a server."""
    site.admit("a@east")
    other = Site(site.directory / "elsewhere")
    other.admit("a@east")
    async with kept(site.keeper()):
        wrong_host = site.urls[0].replace("localhost", "127.0.0.1")
        with trio.fail_after(PATIENCE):
            with pytest.raises(MeshError, match=r"cannot be trusted: IP address mismatch"):
                async with site.node("a@east", [wrong_host]):
                    pytest.fail("it was believed")
            with pytest.raises(
                MeshError, match="cannot be trusted: another authority than that of this identity"
            ):
                async with other.node("a@east", site.urls):
                    pytest.fail("it was believed")


async def test_mesh_113_a_node_that_is_revoked_is_cut_off(tmp_path: Path) -> None:
    """At all servers, also at one that was down; others lose nothing; a new certificate lets it in again."""
    site = Site(tmp_path, 2)
    site.admit("a@east", "b@west", "evil@x")
    second = site.keeper(1)  # it has read the list of today, and starts later
    async with kept(site.keeper()), site.node("a@east") as a, site.node("b@west"):
        with trio.fail_after(4 * PATIENCE):
            account: Ref[Account] = await a.whereis_on("b@west", "account")
            async with site.node("evil@x", site.urls[:1]) as evil:
                await a.connect("evil@x")
                peers = dict(a.distribution.rendezvous.peers)
                site.authority.revoke("evil@x")
                await peers["evil@x"].ended.wait()
                assert not evil.mesh._membership.carrier.is_up
            assert not peers["b@west"].ended.is_set()
            assert await account.within(PATIENCE).call(Account.give, 1) == 1
            second._file = attrs.evolve(second._file, nodes=None)
            async with kept(second):
                assert second.nodes.find("evil@x") is None, "it has asked before it started"
                with pytest.raises(MeshError, match="Authorization Violation"):
                    async with site.node("evil@x", site.urls[1:]):
                        pytest.fail("it was let in")
            # Issued again, the name is another user: the old certificate stays out.
            old = (site.directory / "evil@x" / "node.pem").read_bytes()
            site.install("evil@x", site.authority.issue("evil@x"))
            assert (site.directory / "evil@x" / "node.pem").read_bytes() != old
            while True:
                try:
                    async with site.node("evil@x", site.urls[:1]):
                        break
                except MeshError:
                    await trio.sleep(0.1)


async def test_mesh_120_servers_must_keep_nodes_apart(tmp_path: Path) -> None:
    """One that maps certificates, and lets everybody publish everything, is left by the guard check."""
    site = Site(tmp_path)
    site.admit("a@east")
    keeper = site.keeper()
    keeper._configure()
    configuration = site.directory / "s0.server" / "server.conf"
    fields = json.loads(configuration.read_text())
    for user in fields["accounts"]["mesh"]["users"]:
        user.pop("permissions", None)
    configuration.write_text(json.dumps(fields))
    keeper._configure = lambda: None  # type: ignore[method-assign]
    async with kept(keeper):
        with trio.fail_after(PATIENCE), pytest.raises(MeshError, match="speak under each other's names"):
            async with site.node("a@east"):
                pytest.fail("it was believed")


async def test_mesh_121_secrets_that_others_may_read_are_refused(site: Site) -> None:
    site.admit("a@east")
    key = site.directory / "a@east" / "node.key"
    key.chmod(0o640)
    with pytest.raises(MeshError, match=f"readable by its owner alone: chmod 600 {key}"):
        async with site.node("a@east"):
            pytest.fail("it was used")
    key.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(key, 4242, 4242)
        with pytest.raises(MeshError, match="must belong to user 0 or to root, it belongs to uid 4242"):
            async with site.node("a@east"):
                pytest.fail("it was used")
    bundle = site.directory / "b.bundle"
    bundle.write_bytes(site.authority.issue("b@west"))
    bundle.chmod(0o644)
    with pytest.raises(MeshError, match=f"chmod 600 {bundle}"):
        join(bundle, site.directory / "b@west")
    assert not (site.directory / "b@west").exists()
    (site.directory / "ca" / "ca.key").chmod(0o644)
    with pytest.raises(MeshError, match="chmod 600"):
        Authority(site.directory / "ca")


COMMAND = [sys.executable, "-c", "from enfilade.actors.cli import main; main()", "mesh"]


def run(*words: str | Path) -> tuple[int, str, str]:
    """Run a command: its status, what it prints, and why it refuses."""
    result = CliRunner().invoke(app, ["mesh", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit | Refusal), result.exc_info
    refusal = str(result.exception) if isinstance(result.exception, Refusal) else result.stderr
    assert "PRIVATE KEY" not in result.stdout + refusal
    return result.exit_code, result.stdout, refusal


@pytest.fixture
def up(tmp_path: Path) -> Iterator[list["subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for each in started:
        each.kill()
        each.communicate()


def test_a_server_that_cannot_listen_says_why(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, and without the traceback of a group."""
    monkeypatch.chdir(site.directory)
    site.install("s", site.authority.issue_server(["localhost"]))
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        Path("s.toml").write_text(f'[server]\nname = "s"\nlisten = "127.0.0.1:{port}"\nidentity = "s"\n')
        for _ in range(2):
            status, _, refusal = run("up", "s.toml")
            assert status == 1
            assert refusal.startswith(f"the server ended at once: Error listening on port: 127.0.0.1:{port}")
            assert "address already in use" in refusal
            assert refusal.count("\n") == 0


def test_mesh_122_from_nothing_to_a_server_by_commands(
    tmp_path: Path, up: list["subprocess.Popen[str]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And mesh-128: what `mesh status` says while the server is there, and when it has gone."""
    monkeypatch.chdir(tmp_path)
    port = free_port()
    url = f"tls://localhost:{port}"

    def ok(*words: str | Path) -> str:
        status, said, refusal = run(*words)
        assert status == 0, refusal
        return said

    def refused(*words: str | Path) -> str:
        status, said, refusal = run(*words)
        assert status in (1, 2), said
        return refusal

    ok("ca", "init", "ca", "--server", url)
    assert "expected a directory without an authority" in refused("ca", "init", "ca")
    ok("ca", "issue", "ca", "--server", "localhost", "-o", "s1.bundle")
    ok("ca", "issue", "ca", "op@desk", "--operator", "-o", "op.bundle")
    ok("ca", "issue", "ca", "bank@east", "--registry", "read", "-o", "bank.bundle")
    assert "expected the name of a node, or --server" in refused("ca", "issue", "ca", "-o", "x")
    assert "exists; remove it" in refused("ca", "issue", "ca", "shop@west", "-o", "op.bundle")
    assert "op@desk: registry write, operator" in ok("ca", "list", "ca")
    ok("join", "s1.bundle", "s1")
    assert (tmp_path / "s1" / "node.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "s1").stat().st_mode & 0o777 == 0o700
    (tmp_path / "s1.toml").write_text(
        f'[server]\nname = "s1"\nlisten = "127.0.0.1:{port}"\nidentity = "s1"\nnodes = "ca/nodes.list"\n'
    )
    up.append(
        subprocess.Popen(
            [*COMMAND, "up", "s1.toml"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    )
    assert up[0].stdout is not None
    assert up[0].stdout.readline() == f"s1 serves at localhost:{port}\n"
    joined = ok("join", "op.bundle", "op")
    assert f"server {url}: takes it" in joined
    assert f'servers = ["{url}"]\nidentity = "op"' in joined
    report = json.loads(ok("status", "--identity", "op", "--json"))
    assert [each["problem"] for each in report["servers"]] == [""]
    assert report["nodes"] == []
    assert ok("nodes", "--identity", "op") == ""
    ok("ca", "revoke", "ca", "bank@east")
    assert "bank@east: revoked" in ok("ca", "list", "ca")
    assert "has no certificate" in refused("ca", "revoke", "ca", "bank@east")
    up[0].send_signal(15)
    _, log = up[0].communicate(timeout=PATIENCE)
    assert up[0].returncode == 0, log
    assert "Traceback" not in log
    assert run("status", "--identity", "op")[0] == 2


async def test_mesh_127_a_server_that_is_killed_is_started_again(site: Site) -> None:
    site.admit("a@east", "b@west")
    keeper = site.keeper()
    async with kept(keeper), site.node("a@east") as a, site.node("b@west"):
        with trio.fail_after(2 * PATIENCE):
            account: Ref[Account] = await a.whereis_on("b@west", "account")
            (peer,) = a.distribution.rendezvous.peers.values()
            assert keeper._server is not None
            os.kill(keeper._server.pid, 9)
            for number in range(100):
                account.send(number)
            assert await account.within(PATIENCE).call(Account.summary) == (100, True)
            assert keeper.restarts == 1
            assert not peer.ended.is_set()


async def test_a_server_of_another_user_is_not_shown_the_token(tmp_path: Path) -> None:
    """The kernel says whose the other end is: that is known before anything is said."""
    async with running(tmp_path) as (server,):
        connection = socket.create_connection(("127.0.0.1", server.server.port))
        with connection:
            connection.recv(10)
            assert owner_of_peer(connection) == os.geteuid()
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    thief = """
import os, socket, sys
os.setuid(4242)
with socket.create_server(("127.0.0.1", 0)) as door:
    print(door.getsockname()[1], flush=True)
    taken, _ = door.accept()
    taken.sendall(b'INFO {"version":"2.15.0","max_payload":1048576,"headers":true}\\r\\n')
    print(taken.recv(1000), flush=True)
"""
    with subprocess.Popen(  # noqa: ASYNC220 - for a moment
        [sys.executable, "-c", thief], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        connecting = Connection(
            [Server("127.0.0.1", port)],
            name="a",
            inbox="inbox.a",
            watcher=Quiet(),
            entropy=os.urandom,
            random=lambda: 0.5,
            token="secret",
            owner=os.geteuid(),
        )
        with trio.fail_after(PATIENCE), pytest.raises(MeshError, match="belongs to user 4242, not to 0"):
            await connecting.run()
        assert process.stdout.readline() == "b''\n", "it was told nothing"


async def test_the_certificate_must_be_the_nodes(site: Site) -> None:
    site.admit("a@east", also=["a-1@east"])
    async with kept(site.keeper()):
        os.rename(site.directory / "a@east", site.directory / "b@west")
        with pytest.raises(MeshError, match="is for a@east, this node is b@west"):
            async with site.node("b@west"):
                pytest.fail("it was let in")
        os.rename(site.directory / "b@west", site.directory / "a-1@east")
        async with site.node("a-1@east") as node:
            assert node.full_name == "a-1@east"
    with pytest.raises(MeshError, match="expected a file"):
        async with site.node("c@north"):
            pytest.fail("it was let in")


async def test_a_lame_duck_is_missed_by_nobody(tmp_path: Path) -> None:
    """Nodes of two servers: one keeper is asked to go, and its clients move."""
    site = Site(tmp_path, 2)
    site.admit("a@east", "b@west")
    first, second = site.keeper(0), site.keeper(1)
    async with (
        kept(first, second),
        site.node("a@east", site.urls) as a,
        site.node("b@west", site.urls[::-1]) as b,
    ):
        if True:
            with trio.fail_after(4 * PATIENCE):
                await until(lambda: len(a.mesh.nodes()) == len(b.mesh.nodes()) == 2)
                account: Ref[Account] = await a.whereis_on("b@west", "account")
                connection = a.mesh._membership.carrier.connection
                assert first._server is not None
                os.kill(first._server.pid, 12)  # as `mesh up` does when it is asked to go
                sent = 0
                while connection.server is None or connection.server.port != site.ports[1]:
                    for number in range(sent, sent + 100):
                        account.send(number)
                    sent += 100
                    assert await account.within(PATIENCE).call(Account.summary) == (sent, True)


async def test_the_server_makes_the_registry(site: Site) -> None:
    """Nodes claim names in it; what the whole of it is about only servers write."""
    site.admit("a@east")
    keeper = site.keeper()
    async with kept(keeper), site.node("a@east") as node:
        connection = node.mesh._membership.carrier.connection
        registry = MeshRegistry(connection, "default")

        async def epoch() -> bytes:
            while True:
                try:
                    if value := (await registry.read("epoch")).value:
                        return value
                except NoAnswer:
                    pass
                await trio.sleep(0.05)

        with trio.fail_after(PATIENCE):
            assert await epoch()
            await registry.write("name.bank", b"x", 0)
            with trio.move_on_after(0.5) as limit:
                await registry.write("epoch", b"x", 1)
            assert limit.cancelled_caught, "servers alone write that"


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("", "missing: 'name'"),
        ('name = "s"', "missing: 'listen'"),
        ('name = "s"\nlisten = "nowhere"', "expected the address of a server|missing"),
        ('name = "s"\nlisten = "h:1"\nidentity = "i"\nlisten_to = 1', "expected other keys than listen_to"),
        (
            'name = "s"\nlisten = "h:1"\nidentity = "i"\nroutes = ["10.0.0.1:1"]',
            "routes must have host names",
        ),
        (
            'name = "s"\nlisten = "h:1"\nidentity = "i"\nroutes = ["a:1", "b:1"]\nlease = 6',
            "lease must be 15",
        ),
        ("name = ", "Invalid value"),
        ('name = ""', "name must be a non-empty string, got ''"),
        ('name = "s"\nlisten = 4222', "listen must be a non-empty string, got 4222"),
        ('routes = "two:6222"', "routes must be a list of strings, got 'two:6222'"),
        ("others = [1]", "others must be a non-empty string, got 1"),
        ('lease = "6"', "lease must be a number of seconds, got '6'"),
        ("lease = true", "lease must be a number of seconds, got True"),
    ],
    ids=range(13),
)
def test_a_wrong_server_file_is_refused(tmp_path: Path, line: str, refusal: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(f"[server]\n{line}\n")
    with pytest.raises(MeshError, match=refusal):
        read_server_file(path)
