"""The tree as boxes on the terminal: places, windows, keys and clicks."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("textual")

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from enfilade.actors.cli.observe.observed import Look
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.terminal.boxes import LINES, Boxes
from enfilade.actors.cli.observe.terminal.glyphs import ASCII, UNICODE
from enfilade.actors.cli.observe.terminal.tree import TreePage
from tests.actors.cli.observe import recorded


def branch(depth: int, id_: str, process: int, **given: Any) -> dict[str, Any]:
    return {"id": id_, "depth": depth, "process": process, "name": None, "queued": 0, **given}


def supervisor(depth: int, id_: str, process: int) -> dict[str, Any]:
    return branch(depth, id_, process, children=9, open=True)


TREE = [
    supervisor(0, "root", 1),
    supervisor(1, "floor", 2),
    branch(2, "till 1", 3),
    branch(2, "till 2", 4),
    branch(1, "ledger", 5),
    supervisor(1, "cellar", 6),
    branch(2, "box", 7),
]


def drawn(boxes: Boxes, width: int, height: int, selected: int = 0) -> list[str]:
    return [line.plain for line in boxes.draw(width, height, selected)]


def test_children_stand_behind_the_middle_of_their_supervisor() -> None:
    boxes = Boxes(TREE, UNICODE, {})
    text = drawn(boxes, 60, boxes.height)
    assert boxes.height == 4 * LINES
    for number, name in enumerate(each["id"] for each in TREE):
        box = boxes.boxes[number]
        assert name in text[box.line]
        assert text[box.line][box.left] in "│┤"
    by_name = {each["id"]: box for each, box in zip(TREE, boxes.boxes, strict=True)}
    assert by_name["floor"].line * 2 == by_name["till 1"].line + by_name["till 2"].line - 1
    assert by_name["ledger"].left == by_name["floor"].left < by_name["box"].left


def test_a_window_shows_its_part_of_the_whole() -> None:
    whole = Boxes(TREE, UNICODE, {})
    lines = drawn(whole, 60, whole.height)
    for top, left in ((0, 0), (3, 5), (7, 20), (11, 59)):
        boxes = Boxes(TREE, UNICODE, {})
        boxes.top, boxes.left = top, left
        assert drawn(boxes, 12, 4) == [line[left : left + 12].ljust(12) for line in lines[top : top + 4]] + [
            " " * 12
        ] * max(0, top + 4 - len(lines))


@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, len(TREE) - 1))
def test_the_selected_box_is_seen_as_far_as_there_is_room(width: int, height: int, number: int) -> None:
    boxes = Boxes(TREE, ASCII, {})
    boxes.top, boxes.left = 5, 17
    boxes.look_at(number, width, height)
    box = boxes.boxes[number]
    assert boxes.left <= box.left
    assert box.right < boxes.left + width or box.width > width
    assert boxes.top <= box.line < boxes.top + height or height == 1
    lines = boxes.draw(width, height, number)
    assert len(lines) == height
    assert all(cell_len(line.plain) == width for line in lines)


@given(st.text(max_size=60), st.integers(-5, 40))
def test_texts_of_all_kinds_fill_their_cells(text: str, left: int) -> None:
    boxes = Boxes([branch(0, text, 1)], UNICODE, {})
    boxes.left = max(0, left)
    for line in boxes.draw(20, 3, 0):
        assert cell_len(line.plain) == 20
        assert line.plain.isprintable()


def test_steps_and_clicks_find_boxes() -> None:
    boxes = Boxes(TREE, UNICODE, {})
    names = [each["id"] for each in TREE]
    floor, till, box = names.index("floor"), names.index("till 1"), names.index("box")
    assert names[boxes.beside(floor, 1)] == "ledger"
    assert names[boxes.beside(floor, -1)] == "floor"
    assert names[boxes.beside(till, 2)] == "box"
    assert names[boxes.beside(till, 99)] == "box"
    boxes.top, boxes.left = 3, 2
    found = boxes.boxes[box]
    assert boxes.at(found.line - 3, found.left - 2) == box
    assert boxes.at(found.line - 2, found.right - 2) == box
    assert boxes.at(found.line - 3, found.right - 1) is None


class Desk:
    glyphs = UNICODE

    def __init__(self) -> None:
        self.opened: list[int] = []

    def open_process(self, process: int) -> None:
        self.opened.append(process)

    def soon_sync(self, *_: Any) -> None:
        """Not asked."""

    async def painted(self) -> None:
        """It is."""


async def test_t_switches_and_keys_move_among_boxes() -> None:
    desk: Any = Desk()
    page = TreePage(desk, Sight(recorded.observed()))
    page._looks = [Look(page._view(), page.take)]
    await page.take(recorded.state(fields={"branches": TREE, "is_cut": False}))

    def at() -> str:
        page.draw(60, 12)
        assert page.branch is not None
        return str(page.branch["id"])

    assert "CHILD" in page.draw(60, 12)[0].plain
    assert page.key("t")
    assert "root" in page.draw(60, 12)[6].plain
    went = []
    for key in (
        "right",
        "down",
        "j",
        "up",
        "k",
        "right",
        "down",
        "pagedown",
        "left",
        "left",
        "home",
        "end",
        "pageup",
    ):
        page.key(key)
        went.append(at())
    assert went[:6] == ["floor", "ledger", "cellar", "ledger", "floor", "till 1"]
    assert went[6:] == ["till 2", "box", "cellar", "cellar", "root", "box", "till 1"]
    page.draw(60, 12)
    page.click(8, 14)
    assert at() == "ledger"
    page.click(8, 14)
    assert desk.opened == [5]
    page.click(0, 0)  # beside all boxes
    assert at() == "ledger"
    page.scroll(3)
    lines = [line.plain for line in page.draw(60, 6)]
    page.scroll(-3)
    assert lines[:3] == [line.plain for line in page.draw(60, 6)][3:]
    assert page.status().startswith("ledger")
    page.key("t")
    assert at() == "ledger"
    assert "CHILD" in page.draw(60, 12)[0].plain
    await page.take(recorded.state(fields={"branches": [], "is_cut": False}))
    page.key("t")
    assert "no supervision tree" in page.draw(60, 12)[-1].plain
