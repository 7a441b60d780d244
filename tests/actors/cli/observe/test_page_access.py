"""The page for people who do not see it, or have no mouse: in headless Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest

pytest.importorskip("wsproto")

from enfilade.actors import KILL
from tests.actors.cli.observe.browser import Program, Tab, needs_browser
from tests.actors.cli.observe.shop import Door, Till
from tests.actors.cli.observe.test_page import VIEWS, arrived, found_by, go, problems, stage

pytestmark = [needs_browser, pytest.mark.real]


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    """The browser of all tests."""
    found = Program()
    yield found
    found.end()


def all_of(selector: str) -> str:
    """The expression for all elements of a kind."""
    return f"[...document.querySelectorAll({selector!r})]"


NAMING = ("aria-labelledby", "aria-describedby", "aria-controls", "aria-activedescendant", "for")

MUST_BE_TRUE = (
    "document.documentElement.lang === 'en'",
    "document.querySelectorAll('main, [role=main]').length === 1",
    "document.querySelectorAll('nav:not([hidden]) [aria-current]').length === 1",
    all_of("[tabindex]") + ".every((each) => each.tabIndex <= 0)",
    all_of("[aria-hidden=true] :is(a, button, input, [tabindex='0'])") + ".length === 0",
    all_of("th") + ".every((each) => each.scope || each.getAttribute('role'))",
    all_of("table")
    + ".every((each) => each.caption || each.ariaLabel || each.hasAttribute('aria-labelledby'))",
    all_of("[aria-live], [role=status]") + ".every((each) => each.ariaLive !== 'assertive')",
    "document.querySelector('[role=alert]') === null",
)
"""What is true of each view."""


async def test_every_view_has_what_a_screen_reader_needs(program: Program) -> None:
    """Headings in order, references that lead somewhere, tables with heads, and nobody interrupts."""
    async with stage(program) as (found, _):
        tab = await found.tab("overview")
        for view in VIEWS:
            await go(tab, view)
            levels = await tab.ask(all_of("h1, h2, h3, h4") + ".map((each) => +each.tagName[1])")
            assert levels[0] == 1
            assert all(after <= before + 1 for before, after in pairwise(levels)), (view, levels)
            ids = await tab.ask(all_of("[id]") + ".map((each) => each.id)")
            assert len(ids) == len(set(ids)), view
            for name in NAMING:
                named = await tab.ask(all_of(f"[{name}]") + f".map((each) => each.getAttribute('{name}'))")
                assert {part for each in named for part in each.split()} <= set(ids), (view, name)
            for truth in MUST_BE_TRUE:
                assert await tab.ask(truth), (view, truth)
        assert problems(tab, found.port) == []


async def test_the_tab_key_goes_from_the_top_to_the_content(program: Program) -> None:
    """Over the views first; where the focus is can be seen."""
    async with stage(program) as (found, _):
        tab = await found.tab("processes")
        await tab.until("till 00002")
        await tab.ask("document.getElementById('skip').focus()")
        places = []
        for _ in range(30):
            await tab.press("Tab")
            places.append(await tab.ask("document.activeElement.closest('nav, main')?.tagName ?? 'else'"))
            style = "getComputedStyle(document.activeElement)"
            assert await tab.ask(f"{style}.outlineStyle !== 'none' || {style}.boxShadow !== 'none'")
            if places[-1] == "MAIN":
                break
        assert places[-1] == "MAIN"
        assert places[0] == "NAV"


async def test_the_skip_link_leads_to_the_view_that_is_shown(program: Program) -> None:
    """It is no address of another view."""
    async with stage(program) as (found, _):
        tab = await found.tab("processes")
        await tab.until("till 00002")
        await tab.ask("document.getElementById('skip').focus()")
        await tab.press("Enter")
        await tab.until_true("document.activeElement.id === 'main'")
        assert await tab.ask("location.hash") == "#0/processes"
        assert "till 00002" in await tab.text()


HEARING = """window.heard = [];
new MutationObserver(() => window.heard.push(document.getElementById('heard').textContent))
    .observe(document.getElementById('heard'), { childList: true, characterData: true, subtree: true });"""


def age_shown(text: str) -> int:
    """How many seconds ago the node was seen last, by the line at the top; 0 if it does not say so."""
    found = re.search(r"last seen (\d+)s ago", text)
    return 0 if found is None else int(found[1])


async def heard(tab: Tab) -> list[str]:
    """What was announced."""
    found: list[str] = await tab.ask("window.heard")
    return found


async def test_a_lost_node_is_announced_once(program: Program) -> None:
    """The age of what is shown changes with each update, and is not read out again and again."""
    door = Door()
    async with stage(program, door=door) as (found, _):
        tab = await found.tab("processes")
        await tab.until("till 00002")
        await tab.ask(f"(() => {{ {HEARING} }})()")
        door.lose()
        for seconds in (1, 3):
            await tab.until(lambda text, seconds=seconds: age_shown(text) >= seconds)  # type: ignore[misc]
        announced = await heard(tab)
        assert len(announced) <= 2, announced  # that the link was lost, and that the door is closed
        assert not any("last seen" in each for each in announced)
        door.is_open = True
        await tab.until_true("window.heard.includes('connected again')")


async def test_the_focus_stays_on_its_row(program: Program) -> None:
    """While rows come, and in a dialog and after it; and it is not lost with the process."""
    async with stage(program) as (found, _):
        tab = await found.tab("processes")
        await tab.until("till 00002")
        node = await arrived(found)
        row = found_by("tbody tr", "00001")
        await tab.ask(f"{row}.focus()")
        for number in range(3):
            await node.spawn(Till, name=f"newcomer {number}")
            await tab.until(f"newcomer {number}")
            assert "00001" in await tab.ask("document.activeElement.innerText")
        await tab.press("S")
        await tab.until_true("document.querySelector('dialog')?.open")
        nodes = (await tab.call("Accessibility.getFullAXTree"))["nodes"]
        (dialog,) = [each for each in nodes if each.get("role", {}).get("value") in ("dialog", "alertdialog")]
        assert dialog["name"]["value"]
        assert await tab.ask("document.querySelector('dialog').contains(document.activeElement)")
        await tab.press("Escape")
        await tab.until_true("!document.querySelector('dialog')?.open")
        assert "00001" in await tab.ask("document.activeElement.innerText")
        node.whereis("till 00001").exit(KILL)
        await tab.until("ended")
        assert await tab.ask("document.activeElement !== document.body")
