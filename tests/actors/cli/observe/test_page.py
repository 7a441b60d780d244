"""The page in headless Chromium, against a real server and a real node in the same trio run."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

pytest.importorskip("wsproto")

from enfilade.actors import Child, Node, Supervisor, system
from enfilade.actors.cli.observe.observed import RIGHTS, Observed
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.web.audience import Audience
from enfilade.actors.cli.observe.web.server import Server, open_listeners
from tests.actors.cli.observe.browser import Browser, Program, Tab, needs_browser
from tests.actors.cli.observe.shop import Door, Till, hall, tills
from tests.actors.cli.observe.web import Hall, watches

pytestmark = [needs_browser, pytest.mark.real]

VIEWS = (
    "overview",
    "processes",
    "tree",
    "guests",
    "nodes",
    "timeline",
    "log",
    "trace",
    "names",
    "groups",
    "pools",
    "dead_letters",
    "timers",
    "links",
)


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    """The browser of all tests."""
    found = Program()
    yield found
    found.end()


class Stage:
    """A server, a node behind it, a browser before it.

    Attributes:
        here: the node.
        server: the server.
        browser: the browser.
    """

    def __init__(self, here: Hall, server: Server, browser: Browser, port: int) -> None:
        self.here = here
        self.server = server
        self.browser = browser
        self.port = port
        self.serving = trio.CancelScope()

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the page, until `serving` is cancelled."""
        with trio.CancelScope() as self.serving:
            listeners = await open_listeners(self.port)
            await trio.serve_listeners(self.server.serve, listeners, task_status=task_status)

    async def tab(self, view: str = "overview", **options: Any) -> Tab:
        """A page that shows a view, and the node."""
        tab = await self.browser.open(self.server.address(), **options)
        await tab.until("shop@east · pid")
        await go(tab, view)
        return tab


async def go(tab: Tab, view: str) -> None:
    """Show a view, and wait until it has something to show."""
    await tab.ask(f"location.hash = '#0/{view}'")
    await tab.until(lambda text: "asking the node" not in text)


@asynccontextmanager
async def stage(
    program: Program, setup: Callable[[Node], Awaitable[None]] = hall, door: Door | None = None
) -> AsyncIterator[tuple[Stage, trio.Nursery]]:
    here = Hall(setup=setup)
    connect = here.connect if door is None else door.connect
    observed = Observed("shop.door", connect, trio.current_time, allowed=RIGHTS)
    probe = await open_listeners(0)
    port = probe[0].socket.getsockname()[1]
    for listener in probe:
        await listener.aclose()
    async with program.open() as browser, trio.open_nursery() as nursery:
        server = Server(Audience([Sight(observed)]), port)
        nursery.start_soon(observed.run)
        found = Stage(here, server, browser, port)
        await nursery.start(found.serve)
        yield found, nursery
        nursery.cancel_scope.cancel()


NAME = "<img src=x onerror=alert(1)>"
LABEL = "\x1b[2J\u202edlog<script>alert(2)</script>"


async def test_obs_80_hostile_text_stays_text(program: Program) -> None:
    async def hostile(node: Node) -> None:
        child = Child(Till, id=NAME, name=NAME, label=LABEL, restart="temporary")
        node.root = await node.spawn(Supervisor, [child], name="root")

    async with stage(program, hostile) as (found, _):
        tab = await found.tab("log")
        logging.getLogger(NAME).warning(LABEL)
        await tab.until("dlog<script>")
        for view in VIEWS:
            await go(tab, view)
            if view in ("processes", "tree", "timeline", "names"):
                await tab.until(NAME)
        await go(tab, f"process/{found.here.node.whereis(NAME).serial}")
        await tab.until(NAME)
        assert await tab.ask("document.querySelectorAll('img, main script').length") == 0
        assert "\x1b" not in await tab.text()
        assert "\u202e" not in await tab.text()
        assert problems(tab, found.port) == []
        # No text becomes a script, wherever it is put.
        for attempt in SCRIPTS:
            text = f"(() => {{ try {{ {attempt} }} catch (error) {{ return error.name; }} }})()"
            assert await tab.ask(text) == "TypeError", attempt
        assert await tab.ask("window.ran ?? 0") == 0


SCRIPTS = (
    "document.createElement('script').textContent = 'window.ran = 1';",
    "document.body.setAttribute('onclick', 'window.ran = 2');",
    "document.body.innerHTML = '<img src=x onerror=window.ran=3>';",
)


def problems(tab: Tab, port: int) -> list[Any]:
    """What the browser has complained of, and requests to elsewhere."""
    complaints = tab.heard(
        "Runtime.consoleAPICalled",
        "Runtime.exceptionThrown",
        "Log.entryAdded",
        "Page.javascriptDialogOpening",
    )
    asked = [each["request"]["url"] for each in tab.heard("Network.requestWillBeSent")]
    ours = (f"http://127.0.0.1:{port}/", "data:image/svg+xml,")
    return [*complaints, *(url for url in asked if not url.startswith(ours))]


HURRIED = """
    const later = window.setTimeout;
    window.setTimeout = (fn, pause) => later(fn, pause === 10000 ? 200 : pause);
    Object.defineProperty(document, "visibilityState", { get: () => window.seen ?? "visible" });
"""
"""The ten seconds of a hidden tab are short, and the test says which tab is hidden."""


async def test_obs_83_a_hidden_tab_looks_at_nothing(program: Program) -> None:
    async with stage(program) as (found, _):
        tab = await found.tab("processes", script=HURRIED)
        await tab.until("till 00002")
        node = found.here.node
        assert watches(node) == 6
        see = "window.seen = '{}'; document.dispatchEvent(new Event('visibilitychange'))"
        await tab.ask(see.format("hidden"))
        with trio.fail_after(30):
            while watches(node):  # noqa: ASYNC110 (in real time)
                await trio.sleep(0.05)
        assert not node.observation.counts.is_on
        await node.spawn(Till, name="newcomer")
        await tab.ask(see.format("visible"))
        await tab.until("newcomer")
        assert watches(node) == 6
        assert problems(tab, found.port) == []


async def test_obs_86_two_thousand_processes_are_a_picture_that_keeps_its_places(program: Program) -> None:
    async def many(node: Node) -> None:
        floor = Child(Supervisor, tills(2_000), id="floor", intensity=5)
        node.root = await node.spawn(Supervisor, [floor], name="root")

    async with stage(program, many) as (found, _):
        tab = await found.tab("tree")
        await tab.until("2,000 processes")
        assert await tab.ask("document.querySelectorAll('.mark').length") == 2
        await tab.ask("document.querySelectorAll('[role=treeitem]')[1].click()")
        await tab.until("there is more below")
        places = "[...document.querySelectorAll('.mark')].map((mark) => mark.getAttribute('transform'))"
        before = await tab.ask(places)
        assert len(before) == 500
        node = found.here.node
        node.whereis("till 00003").cast(Till.pay, -1)
        line = "document.querySelectorAll('[role=treeitem]')[5].innerText"
        assert "till 3" in await tab.ask(line)
        await tab.ask("void (window.mark = document.querySelectorAll('.mark')[5])")
        await tab.until_true(f"{line}.includes('1 restarts')")
        assert await tab.ask(places) == before
        assert await tab.ask("window.mark.isConnected")  # the child that was restarted keeps its mark
        await go(tab, "timeline")
        await tab.until("till 3 restarted, 1 of 5")
        assert await tab.ask("document.querySelectorAll('.axis circle').length") == 1
        assert problems(tab, found.port) == []


def found_by(selector: str, text: str) -> str:
    """The expression for the first element of a kind that has a text in it."""
    return f"[...document.querySelectorAll('{selector}')].find((each) => each.innerText.includes('{text}'))"


async def test_a_table_is_walked_through_with_keys(program: Program) -> None:
    async def many(node: Node) -> None:
        for number in range(1_500):
            await node.spawn(Till, name=f"till {number:05}")

    async with stage(program, many) as (found, _):
        tab = await found.tab("overview")
        await tab.press("2")
        await tab.until_true("document.querySelector('[aria-sort=descending]') !== null")
        assert await tab.ask("document.querySelector('[aria-sort=descending]').innerText") == "QUEUED"
        await tab.ask(
            "[...document.querySelectorAll('th button')].find((b) => b.innerText === 'NAME').click()"
        )
        await tab.until_true("document.querySelector('[aria-sort=ascending]')?.innerText === 'NAME'")
        await tab.ask("document.querySelector('[type=search]').focus()")
        await tab.press(*"actor=Till")
        await tab.until("1,500 rows, of 1,5")
        await tab.until_true(
            "document.querySelector('tbody tr[aria-rowindex=\"2\"]').innerText.includes('00000')"
        )
        await tab.ask("document.querySelector('tbody [tabindex=\"0\"]').focus()")
        await tab.press("ArrowDown", "ArrowDown")
        focused = "document.activeElement.innerText"
        assert "till 00002" in await tab.ask(focused)
        assert await tab.ask("document.activeElement.getAttribute('aria-selected')") == "true"
        await tab.press("End")
        await tab.until("till 01499")
        await tab.ask("document.querySelector('.scroller').scrollTop = 0")
        await tab.until("till 00003")
        await tab.ask(
            "[...document.querySelectorAll('tbody tr')].find((r) => r.innerText.includes('00007')).focus()"
        )
        node = found.here.node
        node.whereis("till 00007").cast(Till.wait)
        await tab.press("Enter")
        await tab.until(f"Till <shop@east:{node.whereis('till 00007').serial} till 00007>")
        assert problems(tab, found.port) == []


async def test_an_action_is_confirmed_and_what_became_of_it_is_said(program: Program) -> None:
    async with stage(program) as (found, _):
        node = found.here.node or await arrived(found)
        tab = await found.tab("tree")
        await tab.until("floor")
        serial = node.whereis("till 00000").serial
        await tab.ask("document.querySelectorAll('[role=treeitem]')[1].focus()")
        await tab.press("K")
        text = await tab.until("3 processes below it end with it")
        assert "Type floor to confirm" in text
        await tab.until_true("document.querySelector('dialog [type=submit]').disabled")
        await tab.press("Enter")
        assert await tab.ask("document.querySelector('dialog').open")
        await tab.ask("[...document.querySelectorAll('dialog button')].at(-1).click()")
        await tab.until("nothing was done")
        assert node.whereis("till 00000").serial == serial
        await tab.ask("document.querySelectorAll('[role=treeitem]')[1].focus()")
        await tab.press("K")
        await tab.until_true("document.activeElement.id === 'answer'")
        await tab.press(*"floor", "Enter")
        await tab.until_true("document.getElementById('said').innerText.endsWith(': done')")
        await tab.until("1 restarts")
        assert node.whereis("till 00000").serial != serial
        assert problems(tab, found.port) == []


async def arrived(found: Stage) -> Any:
    """The node, as soon as it is there."""
    while found.here.node is None:  # noqa: ASYNC110 (in real time)
        await trio.sleep(0.01)
    return found.here.node


async def test_a_lost_server_is_said_and_found_again(program: Program) -> None:
    async with stage(program) as (found, nursery):
        tab = await found.tab("processes")
        await tab.until("till 00002")
        found.serving.cancel()
        await tab.until("no connection to the observer")
        assert await tab.ask("document.getElementById('main').className") == "stale"
        assert "till 00002" in await tab.text()
        await found.here.node.spawn(Till, name="newcomer")
        await nursery.start(found.serve)
        await tab.until("newcomer")
        assert await tab.ask("document.getElementById('main').className") == ""


CONTRAST = """(() => {
    const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const light = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(channel);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const probe = document.body.appendChild(document.createElement("p"));
    const of = (name) => {
        probe.style.color = `var(--${name})`;
        return light(getComputedStyle(probe).color);
    };
    const ratio = (front, back) => {
        const [low, high] = [of(front), of(back)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const fronts = ["front", "dim", "link", "good", "odd", "bad"];
    const found = fronts.flatMap((front) => [ratio(front, "back"), ratio(front, "box")]);
    probe.remove();
    return Math.min(...found);
})()"""


NAMED = (
    "button",
    "link",
    "textbox",
    "searchbox",
    "spinbutton",
    "combobox",
    "checkbox",
    "img",
    "meter",
    "table",
    "tree",
    "treeitem",
)
"""The roles whose elements must have a name."""


async def test_the_page_is_for_everybody(program: Program) -> None:
    """Landmarks, names, keyboard; both schemes; a narrow window."""
    async with stage(program) as (found, _):
        tab = await found.tab("overview", width=320, height=600)
        (await arrived(found)).whereis("till 00001").cast(Till.pay, -1)
        await tab.until("expected coins")
        for view in VIEWS:
            await go(tab, view)
            assert await tab.ask("document.documentElement.scrollWidth") <= 320, view
            assert await tab.ask("document.querySelectorAll('h1').length") == 1
            pictures = "[...document.querySelectorAll('svg')]"
            for needed in ("querySelector('title')", "getAttribute('aria-labelledby')"):
                assert await tab.ask(f"{pictures}.every((picture) => picture.{needed})"), (view, needed)
            assert await tab.ask(f"{pictures}.every((picture) => picture.tabIndex === 0)"), view
            nodes = (await tab.call("Accessibility.getFullAXTree"))["nodes"]
            roles = [node["role"]["value"] for node in nodes if not node["ignored"]]
            assert {"banner", "main", "navigation", "status"} <= set(roles)
            nameless = [
                node["role"]["value"]
                for node in nodes
                if not node["ignored"]
                and node["role"]["value"] in NAMED
                and not node.get("name", {}).get("value")
            ]
            assert nameless == [], view
        await tab.ask("document.activeElement.blur(), location.hash = '#0/overview'")
        for scheme in ("light", "dark"):
            await tab.call(
                "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
            )
            assert await tab.ask(CONTRAST) >= 4.5, scheme
        light = await tab.ask("getComputedStyle(document.body).backgroundColor")
        await tab.ask("document.getElementById('theme').click()")  # light, whatever the system prefers
        assert await tab.ask("getComputedStyle(document.body).backgroundColor") != light
        assert problems(tab, found.port) == []


async def test_a_trace_is_drawn_while_it_grows(program: Program) -> None:
    async with stage(program) as (found, _):
        node = await arrived(found)
        tab = await found.tab("trace")
        await tab.ask("document.querySelector('form input').value = 'till-*'")
        await node.spawn(Till, name="till-x")
        await tab.ask("document.querySelector('form').requestSubmit()")
        await tab.until("0 events so far")
        node.whereis("till-x").cast(Till.wait)
        await tab.until_true("document.querySelectorAll('.chart line.message').length === 1")
        assert "till-x" in await tab.ask("document.querySelector('.chart').textContent")
        assert problems(tab, found.port) == []


async def test_the_switches_of_a_process_show_contents_and_follow_the_name(program: Program) -> None:
    """By their keys and by a click; a switch says whether it is on."""
    pressed = "document.querySelector('button[aria-keyshortcuts={}]').getAttribute('aria-pressed')"
    async with stage(program) as (found, _):
        node = await arrived(found)
        till = await node.spawn(Till, name="till-x")
        await system.suspend(till)
        till.cast(Till.pay, 4711)
        tab = await found.tab(f"process/{till.serial}")
        await tab.until("cast pay(…)")
        await tab.press("v")
        await tab.until("('pay', (4711,), {})")
        assert await tab.ask(pressed.format("v")) == "true"
        await tab.ask("document.querySelector('button[aria-keyshortcuts=v]').click()")
        await tab.until("cast pay(…)")
        assert "4711" not in await tab.ask("document.body.innerText")
        assert await tab.ask(pressed.format("f")) == "false"
        await tab.press("f")
        await tab.until_true("location.hash === '#0/process/till-x'")
        assert await tab.ask(pressed.format("f")) == "true"
        await tab.until("cast pay(…)")
        await tab.press("f")
        await tab.until_true(f"location.hash === '#0/process/{till.serial}'")
        assert problems(tab, found.port) == []


LEADING_NOWHERE = (
    "#99/overview",
    "#0/process/%E0%A4%A",
    "#0/constructor",
    "#0/__proto__",
    "#0/event/abc",
    f"#0/process/{'9' * 400}",
    f"#0/process/{'n' * 2_000}",
    "#0/overview/and/more",
)


async def test_what_is_typed_does_not_end_the_link(program: Program) -> None:
    """An address that leads nowhere, or a text that is too long: the page says so, and goes on."""
    async with stage(program) as (found, _):
        tab = await found.tab("processes")

        async def write(text: str) -> None:
            await tab.ask(
                "(() => { const field = document.querySelector('input[type=search]');"
                f" field.value = {text}; field.dispatchEvent(new Event('input')); }})()"
            )

        await write("'x'.repeat(5000)")
        await tab.until("length <= 1000")
        await write("'till 00001'")
        await tab.until("1 rows, of")
        for fragment in LEADING_NOWHERE:
            await tab.ask(f"location.hash = '{fragment}'")
            await tab.until_true("document.querySelectorAll('main h1').length === 1")
            await go(tab, "processes")
            await tab.until("Filter")
            assert await tab.ask("document.getElementById('trouble').textContent") == "", fragment
        assert problems(tab, found.port) == []


async def test_what_is_announced_is_heard_after_the_clock_is_set_back(program: Program) -> None:
    async with stage(program) as (found, _):
        tab = await found.tab("overview")
        await tab.ask("page.announce('first')")
        await tab.until_true("document.getElementById('heard').textContent === 'first'")
        await tab.ask("const now = Date.now; Date.now = () => now() - 3_600_000; page.announce('second')")
        await tab.until_true("document.getElementById('heard').textContent === 'second'")


async def test_names_of_several_words_are_traced_in_quotes(program: Program) -> None:
    async with stage(program) as (found, _):
        tab = await found.tab("trace")
        await tab.ask(
            "document.querySelector('form input').value = '\"till 00001\", 5',"
            "document.querySelector('form').requestSubmit()"
        )
        await tab.until("0 events so far")
        found.here.till(1).cast(Till.pay, 5)
        await tab.until(lambda text: "pay" in text and "till 00001" in text)


async def test_a_page_of_a_node_that_is_started_again_has_nothing_selected(program: Program) -> None:
    """The serials are those of other processes then."""
    door = Door(hall, hall)
    async with stage(program, door=door) as (found, _):
        tab = await found.tab("processes")
        await tab.until("till 00002")
        await tab.ask("document.querySelector('tbody tr[tabindex=\"0\"]').focus()")
        assert await tab.ask("document.querySelectorAll('[aria-selected]').length") == 1
        assert await tab.ask("document.querySelector('#target').textContent") != ""
        await restart(tab, door)
        await tab.until(lambda text: "last seen" not in text)
        with trio.fail_after(60):
            while await tab.ask("document.querySelectorAll('[aria-selected]').length"):  # noqa: ASYNC110
                await trio.sleep(0.1)
        assert await tab.ask("document.querySelector('#target').textContent") == ""
        serial = door.node.whereis("till 00001").serial
        await go(tab, f"process/{serial}")
        await tab.until("till 00001")
        await restart(tab, door)
        text = await tab.until("the node has been started again since this process was chosen")
        assert "till 00001" not in text
        assert problems(tab, found.port) == []


async def restart(tab: Tab, door: Door) -> None:
    """Have the node started again, and wait until the page shows both."""
    door.lose()
    await tab.until("last seen")
    door.is_open = True
