"""The server that the programs of one user share on one machine: whoever comes first starts it.

Its directory, which is nobody's but the user's, holds a lock, a port, a token, the server's configuration and
log, what the registry stores, and its last epoch. The program that has the lock runs the server, which
listens at the loopback address only and takes none but clients that show the token. When that program ends,
for whatever reason, so does the server: the kernel kills it with its parent. Another program takes the lock
then, and starts a server at the same port.
"""

import fcntl
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import trio

from enfilade.transport.mesh.connection import USER, Connection
from enfilade.transport.mesh.files import make_private_directory, write_private
from enfilade.transport.mesh.registry import NoAnswer, make_bucket
from enfilade.transport.mesh.server import ServerProcess, find_program
from enfilade.transport.mesh.settings import Mesh, MeshError, Server
from enfilade.transport.mesh.subjects import ACCOUNT, DISCONNECTED, to_token

__all__ = ["SharedServer"]

logger = logging.getLogger("enfilade.mesh")

HOST: Final = "127.0.0.1"

READY_SECONDS: Final = 10.0
"""Time for a server to take connections."""

STOP_SECONDS: Final = 2.0
"""Time for a server to end in order."""

PAUSE: Final = 0.02
"""Seconds between looks at a server that starts, or at a lock."""

CONFIGURATION: Final = """\
listen: "{host}:{port}"
accounts {{
  system {{ exports: [{{ stream: "{disconnected}" }}] }}
  {account} {{
    users: [{{ user: "{user}", password: "{token}" }}]
    imports: [{{ stream: {{ account: system, subject: "{disconnected}" }} }}]
    jetstream: enabled
  }}
}}
system_account: system
ping_interval: "1s"
ping_max: 2
write_deadline: "2s"
max_pending: 134217728
max_payload: 1048576
max_connections: 4096
ports_file_dir: "{directory}"
log_file: "{log}"
logfile_size_limit: 1048576
jetstream {{
  store_dir: "{directory}/store"
  max_memory_store: 16777216
  max_file_store: 268435456
  sync_interval: always
}}
"""


class Client(Protocol):
    """The carrier whose connection needs the server."""

    @property
    def lost(self) -> trio.Event: ...

    @property
    def is_up(self) -> bool: ...


class SharedServer:
    """This program's part in the server that its user's programs share.

    Args:
        mesh: says which mesh, and where the program of the server is.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._directory = _runtime_directory() / "mesh" / to_token(mesh.name)
        self._lock: int | None = None
        self._process: ServerProcess | None = None

    @property
    def is_holder(self) -> bool:
        """True while this program runs the server."""
        return self._lock is not None

    @property
    def directory(self) -> Path:
        """The directory of lock, port, token and log."""
        return self._directory

    async def find(self) -> tuple[Server, str]:
        """Find the server, or start it. Return its address and the token.

        Raises:
            MeshError: there is no program to start, the directory is not the user's alone, or the server does
                not take connections in time.
        """
        if sys.platform != "linux":
            raise MeshError("embedded servers need Linux: run nats-server, and name its address in mesh=")
        for each in (self._directory.parent.parent, self._directory.parent, self._directory):
            make_private_directory(each)
        with trio.move_on_after(READY_SECONDS):
            while True:
                if self._take_lock():
                    try:
                        return await self._start_somewhere()
                    except BaseException:
                        await self.stop()
                        raise
                found = self.recorded()
                if found is not None and await _answers(found[0]):
                    return found
                await trio.sleep(PAUSE)
        raise MeshError(f"the server of mesh {self._mesh.name!r} did not start in time; see {self._log}")

    async def keep(
        self, client: Client, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED
    ) -> None:
        """See to it that there is a server, as long as the program lives."""
        task_status.started()
        while True:
            if self._process is not None:
                await self._process.ended()
                logger.warning("the server of mesh %s has ended, and is started again", self._mesh.name)
                await self._start_again()
            else:
                await client.lost.wait()
                while not client.is_up and not self.is_holder:
                    if self._take_lock():
                        await self._start_again()
                    await trio.sleep(PAUSE)

    async def administer(
        self,
        client: Client,
        connection: Connection,
        *,
        task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See to it that the server has a registry, whenever this program runs the server.

        It has started when there is one, or somebody else runs the server.

        Raises:
            MeshError: the server that was just started makes none.
        """
        try:
            with trio.fail_after(READY_SECONDS):
                await self._administer_once(client, connection)
        except trio.TooSlowError:
            raise MeshError(
                f"the server of mesh {self._mesh.name!r} makes no registry; see {self._log}"
            ) from None
        task_status.started()
        while True:
            await client.lost.wait()
            while not client.is_up:  # noqa: ASYNC110 - it looks for another server as often
                await trio.sleep(PAUSE)
            await self._administer_once(client, connection)

    async def _administer_once(self, client: Client, connection: Connection) -> None:
        while self.is_holder and client.is_up:
            try:
                await self._make_registry(connection)
            except NoAnswer:
                await trio.sleep(PAUSE)  # it takes a moment to read what it has stored
            else:
                return

    async def _make_registry(self, connection: Connection) -> None:
        record = self._directory / "epoch"
        try:
            before = int(record.read_text())
        except (FileNotFoundError, ValueError):
            before = 0
        began = max(int(time.time() * 1000), before + 1)
        self._write("epoch", str(began))
        await make_bucket(
            connection, self._mesh.name, began=began, lease=self._mesh.lease, is_first=before == 0
        )

    async def _start_somewhere(self) -> tuple[Server, str]:
        """Start the server, at another port than before if somebody else has that."""
        if self.recorded() is not None:
            with suppress(MeshError):
                return await self._start()
            await self._end()
            (self._directory / "port").unlink()
        return await self._start()

    async def _start_again(self) -> None:
        """Start the server; whoever needs it goes on trying to connect meanwhile."""
        pause = PAUSE
        while True:
            try:
                with trio.fail_after(READY_SECONDS):
                    await self._start()
            except (MeshError, OSError, trio.TooSlowError) as error:
                logger.warning("the server of mesh %s does not start: %s", self._mesh.name, error)
                await self._end()
                await trio.sleep(pause)
                pause = min(2.0, 2 * pause)
            else:
                return

    async def stop(self) -> None:
        """End the server if this program runs it, and let others run it. Harmless when repeated."""
        with trio.CancelScope(shield=True):
            await self._end()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _start(self) -> tuple[Server, str]:
        program = find_program(self._mesh.server)
        found = self.recorded()
        port = found[0].port if found is not None else _free_port()
        token = found[1] if found is not None else secrets.token_urlsafe(32)
        server = Server(HOST, port)
        self._write("token", token)
        configuration = self._write(
            "server.conf",
            CONFIGURATION.format(
                host=HOST,
                port=port,
                user=USER,
                token=token,
                directory=self._directory,
                log=self._log,
                account=ACCOUNT,
                disconnected=DISCONNECTED,
            ),
        )
        self._process = await ServerProcess.start(program, Path(configuration), self._directory)
        self._write("port", str(port))
        return server, token

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.stop(signal.SIGTERM, STOP_SECONDS)

    def _take_lock(self) -> bool:
        lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def recorded(self) -> tuple[Server, str] | None:
        """Read where the server is, or was, and the token; None when it never was. Starts nothing."""
        try:
            port = int((self._directory / "port").read_text())
            return Server(HOST, port), (self._directory / "token").read_text()
        except (FileNotFoundError, ValueError):
            return None

    def _write(self, name: str, text: str) -> str:
        """Write a file that is nobody's but the user's, whole or not at all. Return its path."""
        path = self._directory / name
        write_private(path, text.encode())
        return str(path)

    @property
    def _log(self) -> Path:
        return self._directory / "server.log"


def _runtime_directory() -> Path:
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and os.path.isdir(given):
        return Path(given) / "enfilade"
    return Path(tempfile.gettempdir()) / f"enfilade-{os.geteuid()}"


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as free:
        return int(free.getsockname()[1])


async def _answers(server: Server) -> bool:
    """Tell whether somebody takes connections at an address. A checkpoint."""
    try:
        stream = await trio.open_tcp_stream(server.host, server.port)
    except OSError:
        return False
    await trio.aclose_forcefully(stream)
    return True
