"""What nodes of a mesh do besides what they do at doors: names, keyed actors, certificates, lost servers."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import trio

from enfilade.actors import Actor, CallError, Down, Kind, Node, Ref, open_node
from enfilade.transport import Policy
from enfilade.transport.mesh import Mesh, MeshError
from enfilade.transport.mesh.authority import Authority, join
from enfilade.transport.mesh.keeper import Keeper, read_server_file
from tests.benchmarks.kernel import CannotRun, kernel
from tests.benchmarks.peers.transports import end, fork
from tests.ports import free_port

POLICY = Policy.same_mesh(exports="*", kinds="*")

SHARDS = 16


class Echo(Actor):
    def __init__(self, key: str = "") -> None:
        self.key = key

    def echo(self, payload: bytes) -> bytes:
        return payload


KINDS = {"Echo": Kind(Echo, shards=SHARDS)}

Main = Callable[[Node, int], Awaitable[float]]
"""What is measured: with a node, and the process of the other one."""


@contextmanager
def _runtime() -> Iterator[Path]:
    """A runtime directory of this benchmark's own, for its server; the file that says that this one runs."""
    before = os.environ.get("XDG_RUNTIME_DIR")
    with tempfile.TemporaryDirectory(prefix="mesh-") as directory:
        os.environ["XDG_RUNTIME_DIR"] = directory
        try:
            yield Path(directory) / "enfilade" / "mesh" / "default" / "port"
        finally:
            if before is None:
                del os.environ["XDG_RUNTIME_DIR"]
            else:
                os.environ["XDG_RUNTIME_DIR"] = before


async def _serve(mesh: Any, started: Path, *, runs_kinds: bool) -> None:
    while not await trio.Path(started).exists():  # noqa: ASYNC110 - of another process
        await trio.sleep(0.01)
    kinds = KINDS if runs_kinds else None
    async with open_node("server", mesh=mesh, policy=POLICY, kinds=kinds) as node:
        echo = await node.spawn(Echo, name="echo")
        while runs_kinds:
            try:
                await node.mesh.register("echo", echo)
                break
            except CallError:  # the registry is young
                await trio.sleep(0.1)
        await trio.sleep_forever()


async def _other(node: Node) -> Ref[Echo]:
    """The actor of the other node, which may not be there yet."""
    while True:
        try:
            echo: Ref[Echo] | None = await node.whereis_on("server@local", "echo")
        except CallError:
            echo = None
        if echo is not None:
            return echo
        await trio.sleep(0.01)


def _embedded(main: Main, *, runs_kinds: bool = True, kinds: Any = None) -> float:
    """Measure with two nodes of an embedded mesh, whose server the measuring one runs."""

    async def run(pid: int) -> float:
        async with open_node("client", mesh="embedded", policy=POLICY, kinds=kinds) as node:
            return await main(node, pid)

    with _runtime() as started:
        pid = fork(lambda: trio.run(lambda: _serve("embedded", started, runs_kinds=runs_kinds)))
        try:
            return trio.run(run, pid)
        except MeshError as error:
            raise CannotRun(str(error)) from error
        finally:
            end(pid)


async def _timed(call: Callable[[], Awaitable[Any]], count: int) -> float:
    for _ in range(min(count, 20)):
        await call()
    begin = time.perf_counter()
    for _ in range(count):
        await call()
    return (time.perf_counter() - begin) / count


async def _patient(ref: Ref[Any]) -> None:
    """Call until there is an answer: names and shards are claimed in a while."""
    while True:
        try:
            await ref.within(2.0).call(Echo.echo, b"")
        except CallError:
            await trio.sleep(0.05)
        else:
            return


@kernel("mesh-call", variant="mesh")
def call_by_ref(calls: int) -> float:
    async def main(node: Node, _pid: int) -> float:
        echo = await _other(node)
        return await _timed(lambda: echo.call(Echo.echo, bytes(64)), calls)

    return _embedded(main)


@kernel("mesh-call", variant="keyed")
def call_by_key(calls: int) -> float:
    async def main(node: Node, _pid: int) -> float:
        await _other(node)
        echo = node.mesh.keyed("Echo", "key")
        await _patient(echo)
        return await _timed(lambda: echo.call(Echo.echo, bytes(64)), calls)

    return _embedded(main)


@kernel("mesh-call", variant="global")
def call_by_global_name(calls: int) -> float:
    async def main(node: Node, _pid: int) -> float:
        await _other(node)
        echo = node.mesh.named("echo")
        await _patient(echo)
        return await _timed(lambda: echo.call(Echo.echo, bytes(64)), calls)

    return _embedded(main)


@kernel("mesh-call-here", variant="sync")
def call_by_local_name(calls: int) -> float:
    async def main(node: Node, _pid: int) -> float:
        await node.spawn(Echo, name="own")
        echo: Ref[Echo] = node.named("own")
        return await _timed(lambda: echo.call(Echo.echo, bytes(64)), calls)

    return _embedded(main, runs_kinds=False)


@kernel("mesh-call-here", variant="keyed")
def call_by_key_here(calls: int) -> float:
    async def main(node: Node, _pid: int) -> float:
        echo = node.mesh.keyed("Echo", "key")
        await _patient(echo)
        return await _timed(lambda: echo.call(Echo.echo, bytes(64)), calls)

    return _embedded(main, runs_kinds=False, kinds=KINDS)


@kernel("mesh-cold-name", variant="global")
def call_by_name_anew(calls: int) -> float:
    async def main(node: Node, _pid: int) -> float:
        await _other(node)
        echo = node.mesh.named("echo")
        await _patient(echo)

        async def call() -> None:
            node.mesh.names.forget("echo")
            await echo.call(Echo.echo, bytes(64))

        return await _timed(call, calls)

    return _embedded(main)


@kernel("mesh-cold-name", variant="mesh")
def read_and_call(calls: int) -> float:
    """A raw read of the registry, and a call by a ref."""

    async def main(node: Node, _pid: int) -> float:
        echo = await _other(node)
        await _patient(node.mesh.named("echo"))

        async def call() -> None:
            await node.mesh.whereis("echo")
            await echo.call(Echo.echo, bytes(64))

        return await _timed(call, calls)

    return _embedded(main)


@kernel("mesh-activation")
def activation(keys: int) -> float:
    """Many first calls at a time."""

    async def main(node: Node, _pid: int) -> float:
        await _other(node)
        for key in range(4 * SHARDS):  # until each shard has its node
            await _patient(node.mesh.keyed("Echo", f"warm {key}"))
        begin = time.perf_counter()

        async def ask(first: int) -> None:
            for key in range(first, keys, 32):
                await node.mesh.keyed("Echo", str(key)).call(Echo.echo, b"")

        async with trio.open_nursery() as nursery:
            for first in range(32):
                nursery.start_soon(ask, first)
        return (time.perf_counter() - begin) / keys

    return _embedded(main)


@kernel("mesh-down")
def down(count: int) -> float:
    """A server that tells who has left it."""

    async def main(node: Node, pid: int) -> float:
        async with node.mailbox() as me:
            echo = await _other(node)
            me.monitor(echo)
            await echo.call(Echo.echo, b"")
            begin = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            await me.receive(Down)
            return time.perf_counter() - begin

    return sum(_embedded(main, runs_kinds=False) for _ in range(count)) / count


@kernel("mesh-open")
def opening(count: int) -> float:
    """How much longer it takes to open a node, when the server runs."""

    async def main(node: Node, _pid: int) -> float:
        await _other(node)
        spent = {True: 0.0, False: 0.0}
        with tempfile.TemporaryDirectory(prefix="door-") as directory:
            for number in range(count):
                for is_in_mesh in (True, False):
                    way: dict[str, Any] = {"listen": f"{directory}/{number}"}
                    if is_in_mesh:
                        way = {"mesh": "embedded"}
                    begin = time.perf_counter()
                    async with open_node(f"node{number}", **way):
                        spent[is_in_mesh] += time.perf_counter() - begin
        return (spent[True] - spent[False]) / count

    return _embedded(main)


# With certificates.


class _Site:
    """An authority, two nodes, and servers, of which each knows the others."""

    def __init__(self, directory: Path, count: int) -> None:
        self.directory = directory
        ports = [free_port() for _ in range(count)]
        routes = [free_port() for _ in range(count)]
        self.urls = [f"tls://localhost:{port}" for port in ports]
        authority = Authority.create(directory / "ca", servers=self.urls)
        for name in ("client@local", "server@local"):
            self._install(name, authority.issue(name))
        self.keepers = []
        for number in range(count):
            self._install(f"s{number}", authority.issue_server(["localhost"]))
            lines = ["[server]", f'name = "s{number}"', f'listen = "127.0.0.1:{ports[number]}"']
            lines += [f'identity = "s{number}"', 'nodes = "ca/nodes.list"']
            if count > 1:
                others = [each for each in range(count) if each != number]
                lines += [f'cluster = "127.0.0.1:{routes[number]}"']
                lines += [f"routes = {[f'localhost:{routes[each]}' for each in others]}"]
                lines += [f"others = {[self.urls[each] for each in others]}"]
            file = directory / f"s{number}.toml"
            file.write_text("\n".join(lines))
            self.keepers.append(Keeper(read_server_file(file)))

    def _install(self, name: str, bundle: bytes) -> None:
        path = self.directory / f"{name}.bundle"
        path.write_bytes(bundle)
        path.chmod(0o600)
        join(path, self.directory / name)

    def mesh(self, name: str) -> Mesh:
        return Mesh(servers=self.urls, identity=self.directory / name)


def _certified(main: Callable[[Node, _Site], Awaitable[float]], count: int) -> float:
    """Measure with two nodes that have certificates, at so many servers."""

    async def run(site: _Site, ready: Path) -> float:
        async with trio.open_nursery() as nursery:
            for keeper in site.keepers:
                await nursery.start(keeper.run)
            await trio.Path(ready).touch()
            async with AsyncExitStack() as stack:
                mesh = site.mesh("client@local")
                node = await stack.enter_async_context(open_node("client", mesh=mesh, policy=POLICY))
                result = await main(node, site)
            for keeper in site.keepers:
                if keeper._server is not None:
                    os.kill(keeper._server.pid, signal.SIGKILL)
            nursery.cancel_scope.cancel()
        return result

    with tempfile.TemporaryDirectory(prefix="mesh-") as directory:
        site, ready = _Site(Path(directory), count), Path(directory) / "ready"
        mesh = site.mesh("server@local")
        pid = fork(lambda: trio.run(lambda: _serve(mesh, ready, runs_kinds=False)))
        try:
            return trio.run(run, site, ready)
        except MeshError as error:
            raise CannotRun(str(error)) from error
        finally:
            end(pid)


@kernel("mesh-call", variant="tls")
def call_over_tls(calls: int) -> float:
    async def main(node: Node, _site: _Site) -> float:
        echo = await _other(node)
        return await _timed(lambda: echo.call(Echo.echo, bytes(64)), calls)

    return _certified(main, 1)


@kernel("mesh-failover")
def failover(count: int) -> float:
    """The longest call while the server of the caller is killed, and another is there."""

    async def main(node: Node, site: _Site) -> float:
        echo = await _other(node)
        connection = node.mesh._membership.carrier.connection
        total = 0.0
        for _ in range(count):
            while connection.server is None:  # noqa: ASYNC110 - it looks for another
                await trio.sleep(0.01)
            (keeper,) = (each for each in site.keepers if each.address.port == connection.server.port)
            longest = 0.0
            begun = time.perf_counter()
            is_killed = False
            while time.perf_counter() - begun < 1.0:
                begin = time.perf_counter()
                await echo.within(30.0).call(Echo.echo, bytes(64))
                longest = max(longest, time.perf_counter() - begin)
                if not is_killed and time.perf_counter() - begun > 0.2 and keeper._server is not None:
                    os.kill(keeper._server.pid, signal.SIGKILL)
                    is_killed = True
            total += longest
        return total / count

    return _certified(main, 2)
