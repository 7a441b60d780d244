"""The demo's zones as children of a supervisor: each an OS process in namespaces of its own."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import trio

from enfilade.actors.messages.reasons import Custom, Exit
from enfilade.actors.processes.process import Process
from enfilade.transport.namespaces import command

STOP_SECONDS = 2.0

ZONE_FILE = """\
[node]
name = "{name}"
zone = "{name}"
door = "{name}.door"
connect = ["{peer}.door"]
longest_pause = 0.25

[supervisor]
strategy = "one_for_one"
intensity = 5

[[child]]
id = "ledger"
actor = "enfilade.actors.cli.demo.parts:Ledger"
name = "ledger"

[[child]]
id = "mill"
guest = "mill.wasm"
capabilities = ["actor_message"]
name = "mill"

[[child]]
id = "clerk"
actor = "enfilade.actors.cli.demo.parts:clerk"
arguments = ["{peer}@{peer}"]

[[child]]
id = "reporter"
actor = "enfilade.actors.cli.demo.parts:Reporter"
name = "reporter"

[[peer]]
uids = [{uid}]
exports = ["mill", "reporter"]
"""

KINDS = {"ledger": "sync actor", "mill": "wasm guest", "clerk": "async function", "reporter": "async actor"}


class ZoneProcess:
    """The OS process of a zone, while it runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process: trio.Process | None = None

    @property
    def pid(self) -> int:
        """The pid of the node itself: `unshare`'s child, where the zone has a pid namespace."""
        if self.process is None:
            return 0
        outer = self.process.pid
        try:
            inner = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
            is_unshare = Path(f"/proc/{outer}/comm").read_text().strip() == "unshare"
        except OSError:
            return outer
        return int(inner[0]) if is_unshare and inner else outer

    def send_signal(self, number: int) -> None:
        """Signal the node; without effect when it is gone."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


async def zone(me: Process, running: ZoneProcess, directory: Path, isolate: bool) -> None:
    """Run a zone's node until it ends or we are told to end it; anything but status 0 is abnormal."""
    program = [sys.executable, "-m", "enfilade", "zone", "run", "--until-eof", f"{running.name}.toml"]
    with (directory / f"{running.name}.log").open("ab") as log:
        running.process = await trio.lowlevel.open_process(
            command(program) if isolate else program,
            cwd=directory,
            stdin=subprocess.PIPE,  # held open: the zone ends when we do, however we end
            stdout=log,
            stderr=log,
        )
    me.label = f"zone {running.name}"
    try:
        status = await running.process.wait()
    finally:
        await _end(running)
    if status:
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        raise Exit(Custom(f"zone {running.name} ended with {how}"))


async def _end(running: ZoneProcess) -> None:
    """The teardown ladder: end its input, wait, kill, reap."""
    process = running.process
    if process is None:
        return
    with trio.CancelScope(shield=True):
        if process.stdin is not None:
            await process.stdin.aclose()
        with trio.move_on_after(STOP_SECONDS):
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
