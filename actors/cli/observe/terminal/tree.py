"""The supervision tree: branches that are opened one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.observed import Look
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.terminal.page import Desk, ListPage, Target, cut, shorten
from enfilade.actors.cli.observe.terminal.table import STYLES
from enfilade.actors.observing.client import State
from enfilade.actors.observing.views import TreeView

__all__ = ["TreePage"]

Branch = Mapping[str, Any]

NUMBERS = 30
"""Cells of the numbers at the right."""


class TreePage(ListPage):
    """The supervision tree of a node."""

    title = "tree"
    hints = (("enter", "open, close, detail"), ("d", "detail"), ("+ -", "all open, closed"))

    def __init__(self, desk: Desk, sight: Sight) -> None:
        super().__init__(desk, sight)
        self._branches: list[Branch] = []
        self._is_cut = False
        self._is_loaded = False
        self._open: set[int] = set()
        self._selected: Any = None
        self._was_opened = False

    def looks(self) -> list[Look]:
        return [Look(self._view(), self.take)]

    def _view(self) -> TreeView:
        return TreeView(open=tuple(sorted(self._open)))

    async def take(self, state: State) -> None:
        """Take a state in, and wait until it has been drawn."""
        self._branches = state.fields["branches"]
        self._is_cut = state.fields["is_cut"]
        self._is_loaded = True
        if not self._was_opened and self._branches and self._branches[0].get("process") is not None:
            self._was_opened = True  # the root is open at first
            self._open.add(self._branches[0]["process"])
            self._ask_again()
        places = [_place(branch) for branch in self._branches]
        if self._selected in places:
            self.cursor = places.index(self._selected)
        await self.desk.painted()

    def _ask_again(self) -> None:
        if self._looks:
            self.desk.soon_sync(self._looks[0].change, self._view())

    def moved(self) -> None:
        branch = self.branch
        self._selected = None if branch is None else _place(branch)

    @property
    def count(self) -> int:
        return len(self._branches)

    @property
    def branch(self) -> Branch | None:
        """The selected branch; None."""
        return self._branches[self.cursor] if self.cursor < len(self._branches) else None

    def heads(self, width: int, height: int) -> list[Text]:
        numbers = "PROCESSES   RESTARTS     QUEUED"
        return [Text(cut("CHILD", width - len(numbers) - 1, self.glyphs) + " " + numbers, style="bold")]

    def item(self, number: int, width: int) -> Text:
        branch = self._branches[number]
        below = branch.get("below")
        is_supervisor = "children" in branch
        mark = (self.glyphs.opened if branch.get("open") else self.glyphs.closed) if is_supervisor else " "
        line = Text("  " * branch["depth"] + f"{mark} ")
        line.append(words.one_line(branch["id"] or "-"), style="bold" if is_supervisor else "")
        state = branch.get("process_state") or branch.get("state") or ""
        line.append(f"  {_about(branch)}", style="dim")
        if state not in ("idle", "running", ""):
            line.append(f"  {state}", style=STYLES.get(state, ""))
        restarts = branch.get("restarts") or 0
        processes = below["processes"] if below else None
        queued = below["queued"] if below else branch.get("queued")
        if below:
            restarts += below["restarts"]
        numbers = "".join(
            cut("" if not value else words.number(value), cells, self.glyphs, at_right=True)
            for value, cells in ((processes, 9), (restarts, 11), (queued, 11))
        )
        room = max(0, width - len(numbers) - 1)
        shorten(line, room, self.glyphs, pad=True)
        line.append(" " + numbers, style="" if not restarts else "yellow")
        return line

    def empty(self) -> str:
        return "the node has no supervision tree" if self._is_loaded else "asking the node"

    def status(self) -> str:
        if self.refused:
            return self.refused
        more = ", and more below: close some branches" if self._is_cut else ""
        return f"{self.range_shown()}{more}"

    def key(self, key: str) -> bool:
        branch = self.branch
        if super().key(key):
            return True
        if branch is None:
            return False
        serial: int | None = branch.get("process")
        is_open = bool(branch.get("open"))
        if key in ("enter", "d") and serial is not None:
            if key == "enter" and "children" in branch:
                self._toggle(serial, not is_open)
            else:
                self.desk.open_process(serial)
        elif key in ("right", "l") and serial is not None:
            self._toggle(serial, True)
        elif key in ("left", "h"):
            if is_open and serial is not None:
                self._toggle(serial, False)
            else:
                self._to_parent()
        elif key == "+":
            self._open |= {each["process"] for each in self._branches if "children" in each}
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

    def _parent(self, number: int) -> int | None:
        depth = self._branches[number]["depth"]
        above = (at for at in range(number - 1, -1, -1) if self._branches[at]["depth"] < depth)
        return next(above, None)

    def _to_parent(self) -> None:
        parent = self._parent(self.cursor)
        if parent is not None:
            self.move_to(parent)

    @property
    def target(self) -> Target | None:
        branch = self.branch
        if branch is None:
            return None
        parent = self._parent(self.cursor)
        supervisor = None if parent is None else self._branches[parent].get("process")
        shown = f"{_about(branch) or 'child'} {words.one_line(branch['id'] or '-')!r}"
        return Target(
            branch.get("process"),
            shown,
            is_supervisor="children" in branch,
            name=words.one_line(branch.get("name") or branch["id"] or branch.get("process")),
            supervisor=supervisor,
            child_id=branch["id"] or f"#{branch.get('process')}",
        )


def _place(branch: Branch) -> Any:
    """The key of a branch: its process, or its id where it has none."""
    return branch["process"] if branch.get("process") is not None else (branch["depth"], branch["id"])


def _about(branch: Branch) -> str:
    parts = [words.one_line(branch["actor"])] if branch.get("actor") else []
    if branch.get("name") and branch["name"] != branch["id"]:
        parts.append(f"named {words.one_line(branch['name'])}")
    if branch.get("process") is not None:
        parts.append(f"({branch['process']})")
    if branch.get("elsewhere"):
        parts.append(f"elsewhere: {words.one_line(branch['elsewhere'])}")
    if branch.get("restart") not in (None, "permanent"):
        parts.append(branch["restart"])
    return " ".join(parts)
