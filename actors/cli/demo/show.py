"""The course of the demo, and the console node that watches both zones through their doors."""

import contextlib
import functools
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio
from rich.console import Console
from rich.live import Live

from enfilade.actors.cli.config import WATCHED
from enfilade.actors.cli.demo.board import Board, ChildView, ZoneView
from enfilade.actors.cli.demo.drawing import draw, event_line, standing, summary, wrapped
from enfilade.actors.cli.demo.parts import POISON, Reporter, mill_module
from enfilade.actors.cli.demo.zones import KINDS, ZONE_FILE, ZoneProcess, zone
from enfilade.actors.cli.quiet import quietly
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.guests import Guest
from enfilade.actors.messages.errors import ProcessDied, RuntimeFault
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.node.node import Node
from enfilade.actors.opening import open_node
from enfilade.actors.peers.events import NodeDown, NodeUp
from enfilade.actors.processes.links import Down
from enfilade.actors.processes.process import Process
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.supervisor import Supervisor
from enfilade.transport.namespaces import available
from enfilade.transport.settings import Settings

__all__ = ["run_demo"]

NAMES = ("east", "west")
VICTIM = "west"
START_SECONDS = 300.0
RECOVERY_SECONDS = 300.0
PATIENCE_SECONDS = 15.0
POLL_SECONDS = 0.1
RETRY_SECONDS = 0.002
LONGEST_PAUSE_SECONDS = 0.25
DRAWINGS_PER_SECOND = 10


class Show:
    """The console's knowledge of the zones, and its output."""

    def __init__(self, board: Board, say: Callable[[str], None] | None) -> None:
        self.board = board
        self.begun = time.perf_counter()
        self.running = {name: ZoneProcess(name) for name in NAMES}
        self._say = say
        self.working = trio.Event()
        self.seen = trio.Event()  # each zone has told what stands in it
        self.over = False
        self._serials: dict[tuple[str, str], int] = {}

    @property
    def now(self) -> float:
        """Seconds since the show began."""
        return time.perf_counter() - self.begun

    def event(self, text: str) -> None:
        """Report an event; events after the end of the show are ignored."""
        if self.over:
            return
        at = self.now
        self.board.events.append((at, text))
        if self._say is not None:
            self._say(event_line(at, text))

    def up(self, name: str) -> None:
        """A zone is connected."""
        view = self.board.zones[name]
        view.up = True
        view.starts += 1
        view.pid = self.running[name].pid
        self.event(f"zone {name} is up, connected through {name}.door")

    def down(self, name: str, reason: str) -> None:
        """A zone is connected no longer, and what ran in it has ended; after the show all of them end."""
        if self.over:
            return
        self.board.zones[name].gone()
        self.seen = trio.Event()
        for key in [key for key in self._serials if key[0] == name]:
            del self._serials[key]
        self.event(f"zone {name} is down: {reason}")

    def report(self, name: str, report: dict[str, Any]) -> None:
        """Take in a zone's report; a child with another serial number was restarted."""
        view = self.board.zones[name]
        for child, serial in report["children"]:
            shown = view.children.setdefault(child, ChildView(child, KINDS[child]))
            before = self._serials.get((name, child))
            if serial and before and serial != before:
                shown.restarts += 1
                self.event(f"{child} in zone {name} runs again, as process {serial}")
            if serial:
                self._serials[name, child] = serial
                shown.detail = f"#{serial}"
        if all(len(zone.children) == len(KINDS) for zone in self.board.zones.values()):
            self.seen.set()
        totals = report["totals"]
        view.answered, view.failed = totals["answered"], totals["failed"]
        view.round_trips = totals["round_trips"] or view.round_trips
        if all(zone.answered for zone in self.board.zones.values()):
            self.working.set()


def run_demo(*, pace: float, plain: bool, isolate: bool) -> int:
    """Run the demo.

    Args:
        pace: seconds of undisturbed work before and after each act.
        plain: print lines, also on a terminal.
        isolate: give the zones namespaces of their own, where the machine allows it.

    Returns:
        The status of the command: 0 when everything that was killed came back.

    Raises:
        Refusal: the zones did not start.
    """
    console = Console()
    live = console.is_terminal and not plain
    # What ends in the demo ends on purpose, and is told by its own lines.
    with tempfile.TemporaryDirectory(prefix="enfilade-") as directory, quietly():
        return trio.run(_show, console, live, Path(directory), pace, isolate)


async def _show(console: Console, live: bool, directory: Path, pace: float, isolate: bool) -> int:
    say = functools.partial(console.print, highlight=False, soft_wrap=True)
    kinds = available() if isolate else ()
    own = f"with its own {', '.join(kinds)} namespaces." if kinds else "in this zone's namespaces."
    say(wrapped(f"Two zones, {' and '.join(NAMES)}: each an OS process {own}", indent=0))
    board = Board({name: ZoneView(name) for name in NAMES})
    show = Show(board, None if live else say)
    _prepare(directory, 0 if "user" in kinds else os.geteuid())
    door = str(directory / "console.door")
    settings = Settings(last_retry=LONGEST_PAUSE_SECONDS)
    with _drawing(console, board, live) as display:
        async with open_node(
            "console", zone="global", config=WATCHED, listen=door, settings=settings
        ) as node:
            if display is not None:
                await node.spawn(_redraw, display, board)
            children = [
                Child(zone, show.running[name], directory, isolate, id=name, shutdown=10.0) for name in NAMES
            ]
            node.root = await node.spawn(Supervisor, children, intensity=5, period=60.0)
            for name in NAMES:
                node.distribution.keep_connected(str(directory / f"{name}.door"))
            await _start(node, show, directory)
            working = show.now
            await trio.sleep(pace)
            guest_seconds = await _kill_guest(node, show)
            await trio.sleep(pace)
            zone_seconds = await _kill_zone(node, show)
            await trio.sleep(pace)
            with trio.move_on_after(RECOVERY_SECONDS):
                await show.seen.wait()
            worked = show.now - working
            show.over = True
    if not live:
        console.print(standing(board))
    for line in summary(board, worked):
        say(wrapped(line))
    say(f"the guest that trapped answered again after {guest_seconds * 1e3:.1f} ms")
    say(f"the zone that was killed answered again after {zone_seconds:.2f} s")
    return 0


def _prepare(directory: Path, uid: int) -> None:
    """Write the zones' files; `uid` is ours as the zones see it, whose user namespaces map us to root."""
    (directory / "mill.wasm").write_bytes(mill_module())
    for name, peer in zip(NAMES, reversed(NAMES), strict=True):
        text = ZONE_FILE.format(name=name, peer=peer, uid=uid)
        (directory / f"{name}.toml").write_text(text)


@contextmanager
def _drawing(console: Console, board: Board, live: bool) -> Iterator[Live | None]:
    """Show the board while a block runs, and once more at its end; give None where lines are printed."""
    if not live:
        yield None
        return
    with Live(draw(board), console=console, auto_refresh=False) as display:
        yield display
        display.update(draw(board), refresh=True)


async def _redraw(me: Process, display: Live, board: Board) -> None:
    """Draw the board again and again: the body of a process of the console's node."""
    while True:
        display.update(draw(board), refresh=True)
        await trio.sleep(1 / DRAWINGS_PER_SECOND)


async def _start(node: Node, show: Show, directory: Path) -> None:
    """Watch both zones, and wait until work flows in both directions."""
    await node.spawn(_watch_nodes, show)
    for name in NAMES:
        await node.spawn(_poll, show, name)
    while show.now < START_SECONDS:
        with trio.move_on_after(PATIENCE_SECONDS):
            await show.working.wait()
            return
        show.event("the zones are still starting: this machine is slow, or busy")
    told = "; ".join(f"{name} logged {_last_words(directory / f'{name}.log')}" for name in NAMES)
    raise Refusal(f"the zones did not start within {START_SECONDS:.0f} s: {told}")


def _last_words(log: Path) -> str:
    """The last line of a log that says what happened; the lines of a traceback say where."""
    lines = log.read_text().splitlines() if log.exists() else []
    told = [line for line in lines if line.strip() and not line.startswith((" ", "Traceback"))]
    return repr(told[-1]) if told else "nothing"


async def _kill_guest(node: Node, show: Show) -> float:
    """Have a guest trap; returns the seconds until its successor answers."""
    show.event(f"a poisoned request goes to the mill in zone {VICTIM}")
    mill = node.remote("mill", f"{VICTIM}@{VICTIM}")
    with contextlib.suppress(ProcessDied):
        await mill.call(Guest.request, POISON)
        raise AssertionError("the mill survived its poison")
    return await _answers_again(node, "mill")


async def _kill_zone(node: Node, show: Show) -> float:
    """Kill a whole zone; returns the seconds until its successor answers."""
    victim = show.running[VICTIM]
    show.event(f"kill -9 {victim.pid}: the whole zone {VICTIM}")
    victim.send_signal(signal.SIGKILL)
    return await _answers_again(node, "zone")


async def _answers_again(node: Node, what: str) -> float:
    """Call the victim's mill until it answers.

    Raises:
        Refusal: it did not come back.
    """
    begun = time.perf_counter()
    with trio.move_on_after(RECOVERY_SECONDS):
        while True:
            try:
                await node.remote("mill", f"{VICTIM}@{VICTIM}").call(Guest.request, b"are you there?")
            except RuntimeFault:
                await trio.sleep(RETRY_SECONDS)
            else:
                return time.perf_counter() - begun
    raise Refusal(f"the killed {what} was not restarted within {RECOVERY_SECONDS:.0f} s")


async def _watch_nodes(me: Process, show: Show) -> None:
    """Turn node events, and the ends of the mills, into lines."""
    me.node.distribution.monitor_nodes(me.ref)
    watched: dict[Any, str] = {}

    def watch(name: str) -> None:
        try:
            mill = me.node.remote("mill", f"{name}@{name}")
        except RuntimeFault:
            return
        watched[me.monitor(mill)] = name

    while True:
        message = await me.receive((NodeUp, NodeDown, Down))
        if isinstance(message, Down):
            name = watched.pop(message.monitor)
            show.event(f"monitor: the mill in zone {name} ended: {_first_line(message.reason)}")
            if show.board.zones[name].up:
                watch(name)
        elif message.name.partition("@")[0] in NAMES:
            name = message.name.partition("@")[0]
            if isinstance(message, NodeUp):
                show.up(name)
                watch(name)
            else:
                show.down(name, message.reason)


def _first_line(reason: Reason) -> str:
    return str(reason).partition("\n")[0].rstrip(":")


async def _poll(me: Process, show: Show, name: str) -> None:
    """Ask a zone's reporter how it is going."""
    while True:
        try:
            report = await me.node.remote("reporter", f"{name}@{name}").within(1.0).call(Reporter.report)
        except RuntimeFault:
            pass
        else:
            if show.board.zones[name].up:
                show.report(name, report)
        await trio.sleep(POLL_SECONDS)
