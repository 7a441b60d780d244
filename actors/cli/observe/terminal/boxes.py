"""A tree drawn as boxes, from left to right: each supervisor stands before the middle of its children."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
from rich.cells import cell_len
from rich.text import Text

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.branches import Branch, is_supervisor, parent_of, state_of, sums_of
from enfilade.actors.cli.observe.terminal.glyphs import Glyphs
from enfilade.actors.cli.observe.terminal.page import cut

__all__ = ["Boxes"]

LINES: Final = 3
"""Lines of a box."""

WIDEST: Final = 32
"""Cells of the text in a box, at most."""

GAP: Final = 4
"""Cells between a box and its children."""

UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
"""The directions that a line leaves a cell in."""


@attrs.frozen
class Box:
    """A branch as a box.

    Attributes:
        text: what it says.
        style: how that looks.
        depth: its column.
        line: the line of its text.
        left, width: the cell of its left side, and its cells.
        children: the numbers of those below it.
    """

    text: str
    style: str
    depth: int
    line: int
    left: int
    width: int
    children: Sequence[int]

    @property
    def right(self) -> int:
        """The cell of its right side."""
        return self.left + self.width - 1


class Boxes:
    """A tree as boxes.

    Args:
        branches: its branches, each before those below it.
        glyphs: the characters.
        styles: how a state looks.

    Attributes:
        boxes: one for each branch.
        height: the lines of all of it.
        top, left: the line and the cell at the corner of what was drawn last.
    """

    def __init__(self, branches: Sequence[Branch], glyphs: Glyphs, styles: dict[str, str]) -> None:
        self._glyphs = glyphs
        self.top = self.left = 0
        children: list[list[int]] = [[] for _ in branches]
        for number in range(len(branches)):
            parent = parent_of(branches, number)
            if parent is not None:
                children[parent].append(number)
        lines, self.height = _lines_of(children)
        texts = [_text_of(branch, glyphs) for branch in branches]
        widths: dict[int, int] = {}
        for branch, text in zip(branches, texts, strict=True):
            widths[branch["depth"]] = max(widths.get(branch["depth"], 0), cell_len(text) + 4)
        lefts = {depth: sum(widths[each] + GAP for each in widths if each < depth) for depth in widths}
        self.boxes = [
            Box(
                texts[number],
                styles.get(state_of(branch), "bold" if is_supervisor(branch) else ""),
                branch["depth"],
                lines[number],
                lefts[branch["depth"]],
                widths[branch["depth"]],
                children[number],
            )
            for number, branch in enumerate(branches)
        ]

    def beside(self, number: int, step: int) -> int:
        """The number of the box that is so many boxes below one, or above it, in its column."""
        column = [at for at, box in enumerate(self.boxes) if box.depth == self.boxes[number].depth]
        return column[max(0, min(column.index(number) + step, len(column) - 1))]

    def at(self, line: int, cell: int) -> int | None:
        """The number of the box at a line and a cell of what was drawn last; None."""
        line, cell = line + self.top, cell + self.left
        found = (
            number
            for number, box in enumerate(self.boxes)
            if abs(box.line - line) <= LINES // 2 and box.left <= cell <= box.right
        )
        return next(found, None)

    def look_at(self, number: int, width: int, height: int) -> None:
        """Move what is drawn, as little as needed, to where a box is seen."""
        box = self.boxes[number]
        self.top = max(min(self.top, box.line - 1), box.line + 2 - height, 0)
        self.left = (
            max(min(self.left, box.left), box.right + 1 - width, 0) if box.width <= width else box.left
        )

    def draw(self, width: int, height: int, selected: int) -> list[Text]:
        """The lines that are seen.

        Args:
            width: cells.
            height: lines.
            selected: the number of the box that is marked.
        """
        canvas = _Canvas(self.top, self.left, width, height)
        for box in self.boxes:
            self._connect(canvas, box)
        for box in self.boxes:
            self._outline(canvas, box)
        lines = canvas.lines(self._glyphs.joints)
        for number, box in enumerate(self.boxes):
            line = box.line - self.top
            if 0 <= line < height:
                text = f" {box.text}" + " " * (box.width - 3 - cell_len(box.text))
                style = f"{box.style} reverse" if number == selected else box.style
                lines[line].write(box.left + 1 - self.left, text, style)
        return [line.text() for line in lines]

    def _connect(self, canvas: _Canvas, box: Box) -> None:
        if not box.children:
            return
        spine = box.right + 2
        canvas.across(box.line, box.right, spine)
        lines = [self.boxes[child].line for child in box.children]
        canvas.down(spine, min(*lines, box.line), max(*lines, box.line))
        for child in box.children:
            canvas.across(self.boxes[child].line, spine, self.boxes[child].left)

    def _outline(self, canvas: _Canvas, box: Box) -> None:
        for line in (box.line - 1, box.line + 1):
            canvas.across(line, box.left, box.right)
        for cell in (box.left, box.right):
            canvas.down(cell, box.line - 1, box.line + 1)


def _lines_of(children: Sequence[Sequence[int]]) -> tuple[list[int], int]:
    """The line of the text of each box, and the number of all lines: leaves stand below one another."""
    rows = [0.0] * len(children)
    leaves = 0
    for number, below in enumerate(children):
        if not below:
            rows[number] = leaves
            leaves += 1
    for number in reversed(range(len(children))):
        below = children[number]
        if below:
            rows[number] = (rows[below[0]] + rows[below[-1]]) / 2
    return [int(row * LINES) + 1 for row in rows], leaves * LINES


def _text_of(branch: Branch, glyphs: Glyphs) -> str:
    sums = sums_of(branch)
    mark = ""
    if is_supervisor(branch):
        mark = f"{glyphs.opened if branch.get('open') else glyphs.closed} "
    parts = [
        f"{mark}{words.one_line(branch['id'] or '-')}",
        "" if sums.processes is None else f"({words.number(sums.processes)})",
        f"{words.number(sums.restarts)} restart{'s' * (sums.restarts != 1)}" if sums.restarts else "",
        state_of(branch),
    ]
    text = " ".join(filter(None, parts))
    return text if cell_len(text) <= WIDEST else cut(text, WIDEST, glyphs)


class _Canvas:
    """Lines that meet in a window."""

    def __init__(self, top: int, left: int, width: int, height: int) -> None:
        self._top, self._left = top, left
        self._cells = [[0] * width for _ in range(height)]

    def across(self, line: int, first: int, last: int) -> None:
        """A line from one cell to another."""
        line -= self._top
        if 0 <= line < len(self._cells):
            cells = self._cells[line]
            for cell in range(max(first, self._left), min(last, self._left + len(cells) - 1) + 1):
                cells[cell - self._left] |= RIGHT * (cell < last) | LEFT * (cell > first)

    def down(self, cell: int, first: int, last: int) -> None:
        """A line from one line to another."""
        cell -= self._left
        if self._cells and 0 <= cell < len(self._cells[0]):
            for line in range(max(first, self._top), min(last, self._top + len(self._cells) - 1) + 1):
                self._cells[line - self._top][cell] |= DOWN * (line < last) | UP * (line > first)

    def lines(self, joints: str) -> list[_Line]:
        """The lines as characters."""
        return [_Line([joints[cell] for cell in cells]) for cells in self._cells]


class _Line:
    """A line of characters, each in its cells: the second cell of a wide one is empty."""

    def __init__(self, cells: list[str]) -> None:
        self._cells = cells
        self._styles: list[tuple[int, int, str]] = []

    def write(self, at: int, text: str, style: str) -> None:
        """Write a text; what lies outside of the line is left out."""
        first = at
        for character in text:
            width = cell_len(character)
            if not width:
                continue
            if at >= 0 and at + width <= len(self._cells):
                self._cells[at : at + width] = [character, *[""] * (width - 1)]
            else:
                for cell in range(max(0, at), min(at + width, len(self._cells))):
                    self._cells[cell] = " "
            at += width
        if style:
            self._styles.append((max(0, first), min(at, len(self._cells)), style))

    def text(self) -> Text:
        """The line."""
        text = Text("".join(self._cells), style="")
        for first, last, style in self._styles:
            start = len("".join(self._cells[:first]))
            text.stylize(style, start, start + len("".join(self._cells[first:last])))
        return text
