"""The supervision tree: branches that are opened one by one, as a list or as boxes."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.actions import Target
from enfilade.actors.cli.observe.branches import (
    Branch,
    about,
    is_supervisor,
    parent_of,
    place_of,
    state_of,
    sums_of,
    target_at,
)
from enfilade.actors.cli.observe.observed import Look
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.terminal.boxes import LINES, Boxes
from enfilade.actors.cli.observe.terminal.page import MOVES, Desk, ListPage, cut, shorten
from enfilade.actors.cli.observe.terminal.table import STYLES
from enfilade.actors.observing.protocol.views import TreeView
from enfilade.actors.observing.watches.client import State

__all__ = ["TreePage"]

NUMBERS = 30
"""Cells of the numbers at the right."""


class TreePage(ListPage):
    """The supervision tree of a node."""

    title = "tree"
    hints = (("enter", "open, close"), ("d", "detail"), ("t", "boxes, list"), ("+ -", "all open, closed"))

    def __init__(self, desk: Desk, sight: Sight) -> None:
        super().__init__(desk, sight)
        self._branches: list[Branch] = []
        self._is_cut = False
        self._is_loaded = False
        self._open: set[int] = set()
        self._selected: Any = None
        self._was_opened = False
        self._boxes: Boxes | None = None
        self._follows = True

    def looks(self) -> list[Look]:
        return [Look(self._view(), self.take)]

    def _view(self) -> TreeView:
        return TreeView(open=tuple(sorted(self._open)))

    async def take(self, state: State) -> None:
        """Take a state in, and wait until it has been drawn."""
        if self.keep_up():
            self._open.clear()
            self._was_opened, self._selected, self.cursor = False, None, 0
        self._branches = state.fields["branches"]
        self._is_cut = state.fields["is_cut"]
        self._is_loaded = True
        if not self._was_opened and self._branches and self._branches[0].get("process") is not None:
            self._was_opened = True  # the root is open at first
            self._open.add(self._branches[0]["process"])
            self._ask_again()
        places = [place_of(branch) for branch in self._branches]
        if self._selected in places:
            self.cursor = places.index(self._selected)
        self._settle()
        if self._boxes is not None:
            self._draw_boxes()
        await self.desk.painted()

    def _ask_again(self) -> None:
        if self._looks:
            self.desk.soon_sync(self._looks[0].change, self._view())

    def moved(self) -> None:
        branch = self.branch
        self._selected = None if branch is None else place_of(branch)
        self._follows = True

    @property
    def count(self) -> int:
        return len(self._branches)

    @property
    def branch(self) -> Branch | None:
        """The selected branch; None."""
        return self._branches[self.cursor] if self.cursor < len(self._branches) else None

    # As boxes.

    def _draw_boxes(self) -> None:
        """Make the boxes of the branches that there are."""
        before, self._boxes = self._boxes, Boxes(self._branches, self.glyphs, STYLES)
        if before is not None:
            self._boxes.top, self._boxes.left = before.top, before.left

    def draw(self, width: int, height: int) -> list[Text]:
        if self._boxes is None or not self._branches:
            return super().draw(width, height)
        self.height = max(1, height // LINES)
        if self._follows:
            self._boxes.look_at(self.cursor, width, height)
        self._boxes.top = max(0, min(self._boxes.top, self._boxes.height - height))
        return self._boxes.draw(width, height, self.cursor)

    def at(self, line: int, cell: int) -> int | None:
        return super().at(line, cell) if self._boxes is None else self._boxes.at(line, cell)

    def scroll(self, lines: int) -> None:
        if self._boxes is None:
            super().scroll(lines)
        else:
            self._follows = False
            self._boxes.top = max(0, self._boxes.top + lines)

    def _move_beside(self, key: str) -> bool:
        """Move the cursor to another box of its column."""
        steps = {**MOVES, "pageup": -self.height, "pagedown": self.height}
        if self._boxes is None or key not in steps or not self._branches:
            return False
        self.move_to(self._boxes.beside(self.cursor, steps[key]))
        return True

    # As a list.

    def heads(self, width: int, height: int) -> list[Text]:
        numbers = "PROCESSES   RESTARTS     QUEUED"
        return [Text(cut("CHILD", width - len(numbers) - 1, self.glyphs) + " " + numbers, style="bold")]

    def item(self, number: int, width: int) -> Text:
        branch = self._branches[number]
        sums = sums_of(branch)
        mark = " "
        if is_supervisor(branch):
            mark = self.glyphs.opened if branch.get("open") else self.glyphs.closed
        line = Text("  " * branch["depth"] + f"{mark} ")
        line.append(words.one_line(branch["id"] or "-"), style="bold" if is_supervisor(branch) else "")
        line.append(f"  {about(branch)}", style="dim")
        state = state_of(branch)
        if state:
            line.append(f"  {state}", style=STYLES.get(state, ""))
        numbers = "".join(
            cut("" if not value else words.number(value), cells, self.glyphs, at_right=True)
            for value, cells in ((sums.processes, 9), (sums.restarts, 11), (sums.queued, 11))
        )
        room = max(0, width - len(numbers) - 1)
        shorten(line, room, self.glyphs, pad=True)
        line.append(" " + numbers, style="yellow" if sums.restarts else "")
        return line

    def empty(self) -> str:
        return "the node has no supervision tree" if self._is_loaded else self.sight.observed.not_yet

    def status(self) -> str:
        if self.refused:
            return self.refused
        more = ", and more below: close some branches" if self._is_cut else ""
        branch = self.branch
        if self._boxes is None or branch is None:
            return f"{self.range_shown()}{more}"
        shown = f"{words.one_line(branch['id'] or '-')}  {about(branch)}"
        return f"{shown}  {self.cursor + 1:,} of {self.count:,}{more}"

    def key(self, key: str) -> bool:
        branch = self.branch
        if self._move_beside(key) or super().key(key):
            return True
        if key == "t":
            self._boxes = None if self._boxes is not None else Boxes(self._branches, self.glyphs, STYLES)
            self.move_to(self.cursor)
            return True
        if branch is None:
            return False
        serial: int | None = branch.get("process")
        is_open = bool(branch.get("open"))
        if key in ("enter", "d") and serial is not None:
            if key == "enter" and is_supervisor(branch):
                self._toggle(serial, not is_open)
            else:
                self.desk.open_process(serial)
        elif key in ("right", "l") and serial is not None:
            if (
                is_open
                and self.cursor + 1 < self.count
                and parent_of(self._branches, self.cursor + 1) == self.cursor
            ):
                self.move_to(self.cursor + 1)
            else:
                self._toggle(serial, True)
        elif key in ("left", "h"):
            if is_open and serial is not None:
                self._toggle(serial, False)
            else:
                self._to_parent()
        elif key == "+":
            self._open |= {each["process"] for each in self._branches if is_supervisor(each)}
            self._ask_again()
        elif key == "-":
            self._open = {each["process"] for each in self._branches[:1] if each["process"] is not None}
            self._ask_again()
        else:
            return False
        return True

    def _toggle(self, serial: int, is_open: bool) -> None:
        if is_open:
            self._open.add(serial)
        else:
            self._open.discard(serial)
        self._ask_again()

    def _to_parent(self) -> None:
        parent = parent_of(self._branches, self.cursor) if self._branches else None
        if parent is not None:
            self.move_to(parent)

    @property
    def target(self) -> Target | None:
        return None if self.branch is None else target_at(self._branches, self.cursor, self.life)
