"""`enfilade observe` on the terminal, by Textual's pilot, against a real node in the same trio run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

pytest.importorskip("textual")

from enfilade.actors import Actor, Child, Node, Supervisor, system
from enfilade.actors.cli.observe.command import nodes_behind
from enfilade.actors.cli.observe.terminal.table import ProcessesPage
from enfilade.actors.observing.dumps.dump import dump, written
from enfilade.actors.observing.watches.client import State
from enfilade.transport.policy import Rights
from tests.actors.cli.observe.shop import Till, connecting, hall, shop, tills, viewer

pytestmark = pytest.mark.real  # about real time: two loops in one thread


def run(script: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(script())  # type: ignore[arg-type]


def row(text: str, part: str) -> int:
    """The number of the line with that text."""
    return next(number for number, line in enumerate(text.splitlines()) if part in line)


def test_the_pages_show_a_node() -> None:
    async def script() -> None:
        async with viewer(connecting(hall)) as seen:
            text = await seen.until("no warnings")
            assert "shop@east" in text.splitlines()[0]
            assert "nothing has crashed" in text
            await seen.press("2")
            text = await seen.until("till 00002")
            assert "QUEUED" in text
            await seen.press("3")
            text = await seen.until("floor")
            assert row(text, "root") < row(text, "floor")
            await seen.press("7")
            await seen.until("till 2 started")
            await seen.press("6")
            text = await seen.until("zone east")
            assert "zone local" in text
            await seen.press("0")
            await seen.until("till 00001")
            for nothing in ("there is no group", "there is no pool", "no message was lost"):
                await seen.press("t")
                await seen.until(nothing)
            await seen.press("t", "t")
            await seen.until("LINKED TO")
            await seen.press("5")
            await seen.until("no guest runs")

    run(script)


def test_obs_69_the_selected_process_stays_selected_when_the_order_changes() -> None:
    nodes: list[Node] = []

    async def many(node: Node) -> None:
        nodes.append(node)
        for number in range(60):
            await node.spawn(Till, name=f"till {number:05}")

    async def fill() -> None:
        """Let all but the first have a message."""
        for number in range(1, 60):
            ref = nodes[0].whereis(f"till {number:05}")
            assert ref is not None
            await system.suspend(ref)
            ref.cast(Till.wait)

    async def script() -> None:
        async with viewer(connecting(many)) as seen:
            await seen.press("2")
            await seen.until("till 00000")
            await seen.press("/")
            await seen.type("actor = Till")
            await seen.until("1-19 of 60")
            await seen.press("home")
            page = seen.app.page
            assert isinstance(page, ProcessesPage)
            assert page.row is not None
            first = page.row["serial"]
            assert page.row["name"] == "till 00000"
            seen.app.soon(fill)
            await seen.until(lambda _: page.cursor == 59)
            assert page.row["serial"] == first
            assert page.target is not None
            assert page.target.serial == first

    run(script)


def test_a_filter_and_an_order_are_asked_of_the_node() -> None:
    async def many(node: Node) -> None:
        for number in range(300):
            await node.spawn(Till, label=f"worker {number}")

    async def script() -> None:
        async with viewer(connecting(many)) as seen:
            await seen.press("2")
            await seen.until("Till")
            await seen.press("/")
            await seen.type("worker 29*")
            text = await seen.until("of 11 ")
            assert "filter 'worker 29*' of 3" in text
            await seen.press("end")
            assert "1-11 of 11" in seen.text
            await seen.press("/", "end", "ctrl+u")
            await seen.type("queued > many")
            await seen.until("queued must be compared with a number")

    run(script)


@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_obs_68_a_table_of_very_many_processes(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end, an order, a filter: each shows the right rows, and an update has at most 500 of them."""
    longest = 0
    take = ProcessesPage.take

    async def noted(page: ProcessesPage, state: State) -> None:
        nonlocal longest
        longest = max(longest, len(state.rows))
        await take(page, state)

    monkeypatch.setattr(ProcessesPage, "take", noted)
    last = f"worker {count - 1:06}"

    async def many(node: Node) -> None:
        for number in range(count):
            node.spawn_soon(Till, label=f"worker {number:06}", name=f"w{count - number:06}")
            if number % 500 == 0:
                await trio.lowlevel.checkpoint()

    async def script() -> None:
        async with viewer(connecting(many)) as seen:
            await seen.press("2")
            await seen.until("Till")
            page = seen.app.page
            assert isinstance(page, ProcessesPage)
            await seen.press("/")
            await seen.type("actor = Till")
            await seen.until(f"of {count:,}")
            await seen.press("<", "<", "<", "<")
            assert page.sort == "serial"
            await seen.press("r")
            await seen.until("by serial, smallest first")
            await seen.press("end")
            text = await seen.until("w000001")
            assert "w000019" in text
            await seen.press(">")
            await seen.until("by name, smallest first")
            await seen.press("home")
            text = await seen.until("w000001")
            assert row(text, "w000001") < row(text, "w000002") < row(text, "w000019")
            await seen.press("/", "end", "ctrl+u")
            await seen.type(f"{last[:-1]}?")
            text = await seen.until("1-10 of 10")
            assert "w000001" in text
            assert "w000011" not in text

    run(script)
    assert 0 < longest <= 500


def test_a_trace_shows_messages_as_they_come() -> None:
    """From when processes are named, the newest first, until it ends; another page ends it, too."""
    nodes: list[Node] = []

    async def one(node: Node) -> None:
        nodes.append(node)
        await node.spawn(Till, name="till")

    async def pay() -> None:
        nodes[0].named("till").cast(Till.pay, 4_711)

    async def script() -> None:
        async with viewer(connecting(one, Rights(observe=True, trace=True))) as seen:
            await seen.until("shop@east")
            await seen.press("9")
            await seen.until("no process is traced")
            await seen.press("/")
            await seen.type("till")
            await seen.until("tracing till")
            await seen.until(lambda _: seen.app.sight.observed.is_up)
            for _ in range(600):
                seen.app.soon(pay)
                if "done cast pay" in seen.text:
                    break
                await seen.pilot.pause(0.1)
            assert "got cast pay" in seen.text
            assert "4711" not in seen.text
            await seen.press("v")
            await seen.until("with contents")
            for _ in range(600):
                seen.app.soon(pay)
                if "4711" in seen.text:
                    break
                await seen.pilot.pause(0.1)
            await seen.press("x")
            await seen.until("ended (asked)")
            await seen.press("/")
            await seen.type("")
            await seen.until("tracing till")
            await seen.press("1")
            await seen.press("9")
            await seen.until("another page was shown")

    run(script)


def test_without_the_right_to_trace_the_page_says_so() -> None:
    async def script() -> None:
        async with viewer(connecting(hall, Rights(observe=True))) as seen:
            await seen.until("shop@east")
            await seen.press("9", "/")
            await seen.type("till*")
            await seen.until("needs the right to trace")

    run(script)


def test_rows_far_away_are_asked_for() -> None:
    async def many(node: Node) -> None:
        for number in range(1_500):
            await node.spawn(Till, name=f"till {number:05}")

    async def script() -> None:
        async with viewer(connecting(many)) as seen:
            await seen.press("2")
            await seen.until("Till")
            await seen.press("slash")
            await seen.type("till")
            await seen.until("of 1,500 ")
            await seen.press("right_square_bracket")  # means nothing here
            for _ in range(5):  # from queued over serial to name
                await seen.press("less_than_sign")
                if "by name" in seen.text:
                    break
            await seen.until(lambda text: "till 00000" in text and "till 00018" in text)
            await seen.press("end")
            text = await seen.until(lambda text: "till 01499" in text and "till 01481" in text)
            assert "1,482-1,500 of 1,500" in text

    run(script)


def test_obs_70_without_the_right_nothing_is_sent_and_the_reason_is_shown() -> None:
    async def script() -> None:
        rights = Rights(observe=True, inspect=True)
        async with viewer(connecting(hall, rights)) as seen:
            await seen.press("2")
            await seen.until("till 00000")
            await seen.press("K")
            await seen.until("K: the node does not let us control it")
            assert len(seen.app.screen_stack) == 1

    run(script)


def test_obs_71_a_supervisor_is_killed_only_when_its_name_has_been_typed() -> None:
    nodes: list[Node] = []

    async def floors(node: Node) -> None:
        nodes.append(node)
        await node.spawn(Supervisor, tills(3), name="floor")

    async def script() -> None:
        async with viewer(connecting(floors)) as seen:
            await seen.press("2", "slash")
            await seen.type("floor")
            await seen.until(" of 1 ")
            await seen.press("home", "K")
            text = await seen.until("type floor and press enter")
            assert "kill Supervisor 'floor'" in text
            assert "3 processes below it end with it" in text
            await seen.press("y", "enter")
            await seen.until("nothing was done")
            assert nodes[0].whereis("floor") is not None
            await seen.press("K")
            await seen.until("type floor")
            await seen.type("floor")
            await seen.until(lambda text: ": done" in text and "ended" in text)
            assert nodes[0].whereis("floor") is None
            assert nodes[0].whereis("till 00000") is None

    run(script)


def test_a_process_is_suspended_and_resumed_after_a_yes() -> None:
    nodes: list[Node] = []

    async def one(node: Node) -> None:
        nodes.append(node)
        await node.spawn(Till, name="till")

    async def script() -> None:
        async with viewer(connecting(one)) as seen:
            await seen.press("2", "slash")
            await seen.type("till")
            await seen.until(" of 1 ")
            await seen.press("home", "S")
            await seen.until("suspend Till 'till'")
            await seen.press("n")
            await seen.until("nothing was done")
            assert "suspended" not in seen.text
            await seen.press("S")
            await seen.until("y: yes")
            await seen.press("y")
            await seen.until("suspended")
            await seen.press("R")
            await seen.until("y: yes")
            await seen.press("y")
            await seen.until(lambda text: "suspended" not in text)

    run(script)


class Reader(Actor):
    def __init__(self, got: list[object]) -> None:
        self.got = got

    def on_message(self, message: object) -> None:
        self.got.append(message)


def test_a_message_is_sent_as_json() -> None:
    """What is no JSON is said at once; what is asked before it is sent shows it."""
    got: list[object] = []

    async def setup(node: Node) -> None:
        await node.spawn(Reader, got, name="reader")

    async def script() -> None:
        async with viewer(connecting(setup)) as seen:
            await seen.press("2", "/")
            await seen.type("name = reader")
            await seen.until(" of 1 ")
            await seen.press("home", "M")
            await seen.until("a message as JSON")
            await seen.type("x")
            await seen.until("M: expected a message as JSON")
            await seen.press("M")
            await seen.type("42")
            await seen.until("message 42")
            await seen.press("y")
            await seen.until("send a message to Reader 'reader'")
            await seen.until(": done")
        assert got == [42]

    run(script)


def test_the_log_is_shown_to_those_who_may_inspect() -> None:
    async def write() -> None:
        logging.getLogger("enfilade.test").warning("the till is empty")

    async def script() -> None:
        async with viewer(connecting(hall)) as seen:
            await seen.press("8")
            await seen.until("no line at INFO or above")
            seen.app.soon(write)
            text = await seen.until("the till is empty")
            assert "WARNING" in text
            await seen.press("v", "v")
            await seen.until("no line at ERROR or above")
        async with viewer(connecting(hall, Rights(observe=True))) as seen:
            await seen.press("8")
            await seen.until("LogView needs the right to inspect")

    run(script)


def test_read_only_leaves_actions_out() -> None:
    async def script() -> None:
        async with viewer(connecting(hall), is_read_only=True) as seen:
            await seen.press("2")
            await seen.until("till 00000")
            assert "SRKXMBT" not in seen.text
            await seen.press("S")
            await seen.until("S: read-only")

    run(script)


HOSTILE = "\x1b[2Jclear\nnext <b>\u202eright"


def test_obs_10_a_hostile_name_is_text_without_escapes() -> None:
    async def hostile(node: Node) -> None:
        node.root = await node.spawn(Supervisor, [Child(Till, id=HOSTILE, name=HOSTILE)], name="root")
        node.named(HOSTILE).cast(Till.pay, -1)
        await node.spawn(Till, label=HOSTILE)

    async def script() -> None:
        async with viewer(connecting(hostile), size=(160, 50)) as seen:
            await seen.until("ValueError: expected coins")
            for key in ("1", "2", "3", "7"):
                await seen.press(key)
                text = await seen.until("clear")
                assert "<b>" in text
                assert not set("\x1b\u202e") & set(text)
            await seen.press("2")
            await seen.until("clear")
            await seen.press("/")
            await seen.type("clear")
            await seen.until(" of 2 ")
            await seen.press("home", "enter")
            text = await seen.until("mailbox: 0")
            assert not set("\x1b\u202e") & set(text)

    run(script)


def test_a_process_that_ends_is_a_state_of_its_detail() -> None:
    nodes: list[Node] = []

    async def one(node: Node) -> None:
        nodes.append(node)
        await node.spawn(Till, name="till")

    async def break_it() -> None:
        nodes[0].named("till").cast(Till.pay, -1)

    async def script() -> None:
        async with viewer(connecting(one)) as seen:
            await seen.press("2", "/")
            await seen.type("till")
            await seen.until(" of 1 ")
            await seen.press("home", "enter")
            await seen.until("no message waits")
            seen.app.soon(break_it)
            await seen.until("it has ended: crashed: ValueError")
            await seen.press("escape")
            assert isinstance(seen.app.page, ProcessesPage)
            await seen.press("7")
            await seen.until("crashed: ValueError: expected coins")
            await seen.press("enter")
            text = await seen.until("it handled")
            assert "cast pay" in text
            await seen.press("escape")

    run(script)


def test_obs_77_a_dump_is_shown_by_the_same_pages(tmp_path: Path) -> None:
    async def dumped() -> bytes:
        async with shop() as (node, _):
            await hall(node)
            node.named("till 00001").cast(Till.pay, -1)
            await wait_all_tasks_blocked()
            return b"".join(written(dump(node)))

    file = tmp_path / "shop.jsonl"
    file.write_bytes(trio.run(dumped))
    (observed,) = nodes_behind([file], None)

    async def script() -> None:
        async with viewer(observed) as seen:
            text = await seen.until("ValueError: expected coins")
            assert "shop@east" in text.splitlines()[0]
            assert "dump of 20" in text.splitlines()[0]
            for key, shown in (("2", "till 00001"), ("3", "floor"), ("7", "crashed"), ("6", "zone east")):
                await seen.press(key)
                await seen.until(shown)
            await seen.press("0")
            await seen.until("till 00001")
            await seen.press("2", "home", "K")
            await seen.until("K: this is a dump")
            await seen.press("enter")
            await seen.until("no message waits")

    run(script)


def test_leaving_ends_what_runs_in_trio() -> None:
    """The node that was opened in the guest run is closed in order before the program is over."""
    left: list[str] = []

    @asynccontextmanager
    async def connect() -> AsyncIterator[tuple[Node, str]]:
        try:
            async with connecting(hall)() as (node, peer):
                yield node, peer
        finally:
            left.append("closed")

    async def script() -> None:
        async with viewer(connect) as seen:
            await seen.until("no warnings")
            await seen.press("q")
        assert left == ["closed"]

    run(script)


def test_ascii_draws_no_other_characters() -> None:
    async def script() -> None:
        async with viewer(connecting(hall), is_ascii=True) as seen:
            await seen.until("no warnings")
            for key in ("1", "2", "3", "6", "7", "question_mark"):
                await seen.press(key)
                assert seen.text.isascii(), seen.text

    run(script)
