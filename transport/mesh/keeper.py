"""The server of one machine, kept running and told who may be in the mesh: what `enfilade mesh up` runs.

A file says where the server listens and where its identity is. The keeper writes the server's configuration
of that and of the signed list of nodes. It looks for newer lists in a file, and hears of them from keepers of
other servers; each is checked, written down, and loaded while the server runs. Before a server starts, the
others are asked: so one that was down when a node was revoked does not let it in.

A server that ends is started again, after pauses that grow while it does not stay up. When the keeper is
asked to go, so is the server: its clients move to others, one after another, and miss nothing.
"""

import logging
import os
import random
import re
import signal
import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from enfilade.transport.mesh.authority import NodeList, read_list
from enfilade.transport.mesh.certificate_dates import warn_of_end, watch_end
from enfilade.transport.mesh.configuration import ServerPaths, server_configuration
from enfilade.transport.mesh.connection import Connection, NoResponders
from enfilade.transport.mesh.files import make_private_directory, write_private
from enfilade.transport.mesh.identity import Identity, client_context, read_identity
from enfilade.transport.mesh.protocol import Message
from enfilade.transport.mesh.registry import NoAnswer, make_bucket
from enfilade.transport.mesh.server import ServerProcess, find_program
from enfilade.transport.mesh.settings import MeshError, Server
from enfilade.transport.mesh.subjects import to_token
from enfilade.transport.mesh.watcher import Quiet

__all__ = ["Keeper", "ServerFile", "read_server_file"]

logger = logging.getLogger("enfilade.mesh")

REPLICAS: Final = 3
"""Servers on which the registry lies, when there are so many; otherwise on one."""

LOOK_SECONDS: Final = 0.5
"""Seconds between looks at the file with the list."""

START_SECONDS: Final = 10.0
ASK_SECONDS: Final = 2.0
"""Time for a server to listen, and for all others to tell their lists."""

LAME_DUCK_SECONDS: Final = 40.0
"""Time for a server to send its clients away and end."""

SERVER_NAME: Final = re.compile(r"\w[\w.-]{0,62}")
"""The names of servers: of files, too."""

FIRST_PAUSE: Final = 0.1
LAST_PAUSE: Final = 10.0
STEADY_SECONDS: Final = 30.0
"""Pauses before a server is started again, and how long it must stay up for the first of them."""


@attrs.frozen(kw_only=True)
class ServerFile:
    """The contents of a server's file; paths are complete.

    Attributes:
        name: of the server.
        listen: host and port for clients.
        identity: the directory with its certificate.
        directory: where it keeps its files.
        store: where it keeps the registry.
        cluster: host and port for other servers.
        routes: hosts, by name, and ports of the other servers for servers.
        others: the addresses of the other servers for clients.
        nodes: a file with the list of nodes, kept current by whoever has the authority.
        lease: seconds for which nodes hold global names without a word from the registry, if this server
            makes it; a registry on several servers needs 15 at least, because they take 4 to 9 to agree on
            another leader.
        program: the path of the program.
        mesh: the name of the mesh, if the file has it; that of the identity must be the same.
    """

    name: str
    listen: str
    identity: Path
    directory: Path
    store: Path
    cluster: str = ""
    routes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    nodes: Path | None = None
    lease: float = 6.0
    program: str | None = None
    mesh: str = ""


def read_server_file(path: Path) -> ServerFile:
    """Read the file of a server.

    Raises:
        MeshError: it is not there, or says something else than it may.
    """
    try:
        tables = tomllib.loads(path.read_text())
        table = _table("server", tables["server"])
        registry, mesh = (_table(name, tables.get(name, {})) for name in ("registry", "mesh"))
        _check_keys("tables", tables, {"server", "registry", "mesh"})
        _check_keys("keys in [registry]", registry, {"lease"})
        _check_keys("keys in [mesh]", mesh, {"name"})
        if "lease" in registry and "lease" in table:
            raise ValueError("lease must be in [registry] or in [server], and is in both")
        table |= registry
        lists = {key: _texts(key, table.pop(key, [])) for key in ("routes", "others")}
        routes = lists["routes"]
        lease = table.pop("lease", 20.0 if routes else 6.0)
        least = 15.0 if len(routes) + 1 >= REPLICAS else 1.0
        if type(lease) not in (int, float):
            raise TypeError(f"lease must be a number of seconds, got {lease!r}")
        if not least <= lease <= 3600:
            raise ValueError(f"lease must be {least:g} to 3600 seconds here, got {lease:g}")
        _check_keys("keys", table, {each.name for each in attrs.fields(ServerFile)} - {"mesh"})
        texts = {key: _text(key, value) for key, value in table.items()}
        where = path.parent
        if not SERVER_NAME.fullmatch(texts["name"]):
            raise ValueError(f"name must be of letters, digits, '-', '_' and '.', got {texts['name']!r}")
        directory = (where / texts.get("directory", f"{texts['name']}.server")).absolute()
        file = ServerFile(
            name=texts["name"],
            listen=texts["listen"],
            identity=(where / texts["identity"]).absolute(),
            directory=directory,
            store=(where / texts["store"]).absolute() if "store" in texts else directory / "store",
            cluster=texts.get("cluster", ""),
            nodes=(where / texts["nodes"]).absolute() if "nodes" in texts else None,
            lease=lease,
            program=texts.get("program"),
            mesh=_text("name", mesh["name"]) if mesh else "",
            **lists,
        )
        for each in (file.listen, *([file.cluster] if file.cluster else ()), *file.routes):
            Server.parse(f"tls://{each}")
        for each in file.others:
            Server.parse(each)
        for each in file.routes:
            if not each.rpartition(":")[0].strip("[]").strip("0123456789.:"):
                raise ValueError(f"routes must have host names, which certificates can show, got {each!r}")
    except KeyError as error:
        what = f"expected a table [server] with name, listen and identity; missing: {error}"
        raise MeshError(f"{path}: {what}") from error
    except (OSError, ValueError, TypeError) as error:
        raise MeshError(f"{path}: {error}") from error
    return file


def _table(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected a table [{name}], got {value!r}")
    return dict(value)


def _check_keys(what: str, table: dict[str, Any], known: set[str]) -> None:
    if strange := table.keys() - known:
        raise ValueError(f"expected other {what} than {', '.join(sorted(strange))}")


def _texts(key: str, values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"{key} must be a list of strings, got {values!r}")
    return tuple(_text(key, each) for each in values)


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{key} must be a non-empty string, got {value!r}")
    return value


class Keeper:
    """Keeps the server of one machine running.

    Args:
        file: what the server's file says.

    Attributes:
        nodes: the list that the server goes by.
        restarts: times that the server was started again after it had ended.

    Raises:
        MeshError: the identity is unusable, or there is no list of this mesh.
    """

    def __init__(self, file: ServerFile) -> None:
        self._file = file
        self._identity = read_identity(file.identity)
        if file.mesh not in ("", self._identity.mesh):
            raise MeshError(
                f"the certificate in {file.identity} is for mesh {self._identity.mesh!r}, "
                f"and the file of the server is for {file.mesh!r}"
            )
        self._authority = (file.identity / "ca.pem").read_bytes()
        self._program = find_program(file.program)
        make_private_directory(file.directory)
        self._kept = file.directory / "nodes.list"
        self._seen: bytes = b""
        self._data = b""
        self.restarts = 0
        self.nodes = NodeList(self._identity.mesh, 0, ())
        for path in (file.identity / "nodes.list", self._kept, file.nodes):
            if path is not None and path.exists():
                self._take(path.read_bytes())
        if not self._data:
            raise MeshError(f"{file.identity} has no list of nodes: join with a bundle of this authority")
        self._server: ServerProcess | None = None
        self._address = _own_address(file, self._identity)
        self._connection = self._connect_to([self._address], _Teller(self._tell))

    @property
    def name(self) -> str:
        """The name of the server."""
        return self._file.name

    @property
    def address(self) -> Server:
        """Where clients of this machine find the server."""
        return self._address

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the server running until cancelled; then send its clients away, and end it.

        It has started when the server listens.

        Raises:
            MeshError: the server does not start the first time.
        """
        who = f"server {self._file.name}"
        warn_of_end(self._identity, who)
        await self._ask_others()
        try:
            await self._start()
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch_end, self._identity, who)
                nursery.start_soon(self._look)
                nursery.start_soon(self._look_at_certificate)
                nursery.start_soon(self._talk)
                nursery.start_soon(self._make_registry)
                await self._keep()
        finally:
            if self._server is not None:
                with trio.CancelScope(shield=True):
                    await self._server.stop(signal.SIGUSR2, LAME_DUCK_SECONDS)

    async def _start(self) -> None:
        self._configure()
        with trio.move_on_after(START_SECONDS) as limit:
            self._server = await ServerProcess.start(
                self._program, self._file.directory / "server.conf", self._file.directory
            )
        if limit.cancelled_caught:
            raise MeshError(f"the server {self._file.name} did not listen within {START_SECONDS:g} s")

    def _configure(self) -> None:
        file = self._file
        paths = ServerPaths(
            name=file.name,
            listen=file.listen,
            identity=file.identity,
            directory=file.directory,
            store=file.store,
            cluster=file.cluster,
            routes=file.routes,
        )
        write_private(file.directory / "server.conf", server_configuration(paths, self.nodes).encode())

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            began = trio.current_time()
            if self._server is not None:
                await self._server.ended()
                self._server = None
                logger.warning("server %s has ended, and is started again", self._file.name)
            if trio.current_time() - began > STEADY_SECONDS:
                pause = FIRST_PAUSE
            await trio.sleep(pause)
            pause = min(LAST_PAUSE, 2 * pause)
            self.restarts += 1
            try:
                await self._start()
            except MeshError as error:
                logger.error("server %s does not start: %s", self._file.name, error)  # noqa: TRY400 - one line

    # The list.

    def _take(self, data: bytes) -> bool:
        """Take a list if it is newer than the one there is; return whether it was.

        Raises:
            MeshError: it is no list of this mesh.
        """
        found = read_list(data, self._authority)
        if found.mesh != self._identity.mesh:
            raise MeshError(f"expected a list of mesh {self._identity.mesh!r}, got one of {found.mesh!r}")
        if found.number <= self.nodes.number:
            return False
        self.nodes, self._data = found, data
        write_private(self._kept, data)
        return True

    def _offered(self, data: bytes, where: str) -> bool:
        """Take a list that comes while the server runs, and have the server go by it."""
        try:
            is_newer = self._take(data)
        except MeshError as error:
            logger.warning("ignored a list of nodes from %s: %s", where, error)
            return False
        if is_newer:
            self._configure()
            if self._server is not None:
                self._server.reload()
            logger.info("server %s uses list %d of nodes, from %s", self._file.name, self.nodes.number, where)
        return is_newer

    async def _look(self) -> None:
        """Look for a newer list in the file."""
        path = self._file.nodes
        while path is not None:
            with suppress(OSError):
                data = path.read_bytes()
                if data != self._seen:
                    self._seen = data
                    if self._offered(data, str(path)):
                        self._tell()
            await trio.sleep(LOOK_SECONDS)

    async def _look_at_certificate(self) -> None:
        """Have the server use its certificate when `join` has put another one in its place."""
        path = self._identity.directory / "node.pem"
        seen = path.read_bytes()
        while True:
            await trio.sleep(LOOK_SECONDS)
            with suppress(OSError):
                data = path.read_bytes()
                if data != seen:
                    seen = data
                    if self._server is not None:
                        self._server.reload()
                    logger.info("server %s uses a renewed certificate", self._file.name)

    @property
    def _subject(self) -> str:
        return f"enf.{to_token(self._identity.mesh)}.c"

    async def _talk(self) -> None:
        """Tell the keepers of other servers the list, and hear theirs."""
        self._connection.subscribe(f"{self._subject}.list", self._heard)
        self._connection.subscribe(f"{self._subject}.ask", self._asked)
        known = ""
        while True:
            try:
                await self._connection.run()
            except MeshError as error:
                if str(error) != known:
                    known = str(error)
                    logger.warning("server %s rejects its own keeper: %s", self._file.name, error)
                await trio.sleep(LAST_PAUSE / 10)

    async def _make_registry(self) -> None:
        """Make the registry of global names, unless another server has made it."""
        record = self._file.directory / "epoch"
        before = int(record.read_text()) if record.exists() else 0
        began = max(int(time.time() * 1000), before + 1)
        replicas = REPLICAS if len(self._file.routes) + 1 >= REPLICAS else 1
        while True:
            with trio.move_on_after(ASK_SECONDS):
                try:
                    epoch = await make_bucket(
                        self._connection,
                        self._identity.mesh,
                        began=began,
                        lease=self._file.lease,
                        replicas=replicas,
                        is_first=before == 0 and not self._file.routes,
                    )
                except NoAnswer as error:
                    logger.debug("the registry cannot be made yet: %s", error)
                else:
                    write_private(record, str(max(before, epoch.began)).encode())
                    return
            await trio.sleep(LOOK_SECONDS)

    def _tell(self) -> None:
        if self._data and len(self._data) < MOST_TOLD:
            self._connection.publish(f"{self._subject}.list", self._data)

    def _heard(self, message: Message) -> None:
        if not self._offered(message.payload, "another server") and message.payload != self._data:
            with suppress(MeshError):
                if read_list(message.payload, self._authority).number < self.nodes.number:
                    self._tell()  # it has missed something

    def _asked(self, message: Message) -> None:
        if message.reply and len(self._data) < MOST_TOLD:
            self._connection.publish(message.reply, self._data)

    async def _ask_others(self) -> None:
        """Ask the other servers for their lists, before this one lets anybody in."""
        with trio.move_on_after(ASK_SECONDS):
            async with trio.open_nursery() as nursery:
                for other in self._file.others:
                    nursery.start_soon(self._ask, Server.parse(other))

    async def _ask(self, other: Server) -> None:
        try:
            async with trio.open_nursery() as nursery:
                connection = self._connect_to([other], Quiet())
                await nursery.start(connection.run)
                answer = await connection.request(f"{self._subject}.ask", b"")
                if self._take(answer.payload):
                    number = self.nodes.number
                    logger.info("server %s uses list %d of nodes, from %s", self._file.name, number, other)
                nursery.cancel_scope.cancel()
        except* (OSError, NoResponders) as errors:
            logger.info("no list of nodes from server %s: %s", other, errors.exceptions[0])

    def _connect_to(self, servers: list[Server], watcher: Any) -> Connection:
        return Connection(
            servers,
            name=f"keeper of {self._file.name}",
            inbox=f"{self._subject}.inbox.{to_token(self._file.name)}",
            watcher=watcher,
            entropy=os.urandom,
            random=random.random,
            tls=partial(client_context, self._identity),
        )


class _Teller(Quiet):
    """Tells the list whenever there is a server."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self.connection_ready = tell  # type: ignore[method-assign]


MOST_TOLD: Final = 1024 * 1024 - 4096
"""Bytes of a list that servers tell one another: what a message may have."""


def _own_address(file: ServerFile, identity: Identity) -> Server:
    """Where this machine finds its own server, under a name that its certificate has."""
    listen = Server.parse(f"tls://{file.listen}")
    if identity.hosts:
        return Server(identity.hosts[0], listen.port, is_tls=True)
    raise MeshError(
        f"{file.identity} is the identity of a node: give that of a server (`mesh ca issue --server`)"
    )
