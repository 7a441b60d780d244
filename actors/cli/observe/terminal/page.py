"""Pages: what the board shows. A page draws itself as lines of text, and takes keys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Final, Protocol

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from enfilade.actors.cli.observe.actions import Target
from enfilade.actors.cli.observe.facts import Fact
from enfilade.actors.cli.observe.observed import Look
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.terminal.glyphs import Glyphs

__all__ = ["Desk", "ListPage", "Page", "cut", "fact_line", "fitted", "heading", "shorten"]


class Desk(Protocol):
    """The program that shows a page, as the page knows it."""

    glyphs: Glyphs

    def soon(self, fn: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Have `fn(*args)` run as a task of trio."""

    def soon_sync(self, fn: Callable[..., object], *args: Any) -> None:
        """Have `fn(*args)` called within trio."""

    def redraw(self) -> None:
        """Draw the page soon."""

    async def painted(self) -> None:
        """Draw the page, and wait until it has been drawn. Runs in trio."""

    def open_process(self, process: int | str) -> None:
        """Show the details of a process."""

    def ask(self, question: str, given: str, answer: Callable[[str], None]) -> None:
        """Have a line of text typed; `answer` gets it."""

    def later(self, seconds: float, fn: Callable[[], None]) -> None:
        """Have `fn` called after so many seconds, and not before the last call of `later` but this one."""

    def read(self, title: str, lines: Sequence[Text]) -> None:
        """Show some lines above the page."""

    def choose(
        self, title: str, choices: Sequence[tuple[str, str, bool]], answer: Callable[[list[str]], None]
    ) -> None:
        """Have some of the choices (value, text, chosen) chosen; `answer` gets their values, in order."""


class Page(ABC):
    """A page of one node.

    Args:
        desk: the program that shows it.
        sight: what is known of the node.

    Attributes:
        life: the start of the node that what is shown is of.
    """

    title: ClassVar[str] = ""
    hints: ClassVar[tuple[tuple[str, str], ...]] = ()
    """The keys that it takes, and what they do."""

    def __init__(self, desk: Desk, sight: Sight) -> None:
        self.desk = desk
        self.sight = sight
        self.life = ""
        self._looks: list[Look] = []

    @property
    def glyphs(self) -> Glyphs:
        return self.desk.glyphs

    def looks(self) -> list[Look]:
        """The views that the page needs while it is shown, but for those of its sight."""
        return []

    def show(self) -> None:
        """Begin to look. Called within trio."""
        self._looks = [self.sight.observed.look(look) for look in self.looks()]

    def hide(self) -> None:
        """Look no more. Called within trio."""
        for look in self._looks:
            self.sight.observed.drop(look)
        self._looks = []

    def keep_up(self) -> bool:
        """Note the start of the node of which a state has come; tell whether it is another one than before.

        Serials of the one before mean nothing to it.
        """
        before, self.life = self.life, self.sight.observed.life
        return before not in ("", self.life)

    @property
    def refused(self) -> str | None:
        """The reason for which the node does not show what the page needs; None."""
        return next((look.refused for look in self._looks if look.refused), None)

    @abstractmethod
    def draw(self, width: int, height: int) -> list[Text]:
        """The lines of the page."""

    def status(self) -> str:
        """One line about what is shown."""
        return ""

    def key(self, key: str) -> bool:
        """Take a key; return whether it means something here."""
        return False

    @property
    def target(self) -> Target | None:
        """The process that actions are about; None."""
        return None


MOVES = {"up": -1, "k": -1, "down": 1, "j": 1}


class ListPage(Page):
    """A page of lines, one of which is selected: heads that stay, and items below them.

    Attributes:
        cursor: the number of the selected item.
        top: the number of the first item that is seen.
        height: how many items are seen at a time, as it was drawn last.
    """

    def __init__(self, desk: Desk, sight: Sight) -> None:
        super().__init__(desk, sight)
        self.cursor = 0
        self.top = 0
        self.height = 1
        self._heads = 0

    @property
    @abstractmethod
    def count(self) -> int:
        """The number of items."""

    @abstractmethod
    def item(self, number: int, width: int) -> Text:
        """The line of an item."""

    def heads(self, width: int, height: int) -> list[Text]:
        """The lines above the items."""
        return []

    def empty(self) -> str:
        """The text in the place of items where there are none."""
        return ""

    def moved(self) -> None:
        """The cursor or the top has moved."""

    def draw(self, width: int, height: int) -> list[Text]:
        """The heads, and the items that are seen."""
        heads = self.heads(width, height)[: max(0, height - 1)]
        self._heads = len(heads)
        self.height = max(1, height - len(heads))
        self._settle()
        if not self.count:
            return [*heads, Text(f"  {self.refused or self.empty()}", style="dim")]
        last = min(self.count, self.top + self.height)
        items = []
        for number in range(self.top, last):
            line = self.item(number, width)
            if number == self.cursor and self.is_cursor_shown:
                line = fitted(line, width)
                line.stylize("reverse")
            items.append(line)
        return [*heads, *items]

    is_cursor_shown = True

    def _settle(self) -> None:
        self.cursor = max(0, min(self.cursor, self.count - 1))
        self.top = max(0, min(self.top, self.count - self.height))

    def move_to(self, number: int) -> None:
        """Select an item, and have it seen."""
        self.cursor = max(0, min(number, self.count - 1))
        self.top = min(self.top, self.cursor)
        self.top = max(self.top, self.cursor - self.height + 1)
        self.moved()

    def key(self, key: str) -> bool:
        """Move the cursor."""
        page = max(1, self.height - 1)
        if key in MOVES:
            self.move_to(self.cursor + MOVES[key])
        elif key == "pageup":
            self.move_to(self.cursor - page)
        elif key == "pagedown":
            self.move_to(self.cursor + page)
        elif key == "home":
            self.move_to(0)
        elif key == "end":
            self.move_to(self.count - 1)
        else:
            return False
        return True

    def scroll(self, lines: int) -> None:
        """Move what is seen, and the cursor only where it would leave the page."""
        self.top = max(0, min(self.top + lines, self.count - self.height))
        self.cursor = max(self.top, min(self.cursor, self.top + self.height - 1))
        self.moved()

    def at(self, line: int, cell: int) -> int | None:
        """The number of the item that is drawn at a line and a cell; None."""
        number = self.top + line - self._heads
        return number if line >= self._heads and number < self.count else None

    def click(self, line: int, cell: int) -> None:
        """Select the item at a line and a cell; a second click on it is the enter key."""
        number = self.at(line, cell)
        if number is None:
            return
        if number == self.cursor:
            self.key("enter")
        else:
            self.move_to(number)

    def range_shown(self) -> str:
        """The items that are seen: `1-18 of 1,024`."""
        if not self.count:
            return "none"
        last = min(self.count, self.top + self.height)
        return f"{self.top + 1:,}-{last:,} of {self.count:,}"


def fitted(text: Text, width: int) -> Text:
    """The text, of exactly that many cells."""
    if cell_len(text.plain) < width:
        text = text.copy()
        text.append(" " * (width - cell_len(text.plain)))
    else:
        text = text.copy()
        text.truncate(width)
    return text


def cut(text: str, width: int, glyphs: Glyphs, *, at_right: bool = False) -> str:
    """The text, of exactly that many cells; one that is too long ends with a mark."""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, max(0, width - 1)) + glyphs.cut if width > 0 else ""
    return " " * (width - length) + text if at_right else text + " " * (width - length)


def shorten(text: Text, width: int, glyphs: Glyphs, *, pad: bool = False) -> None:
    """Cut the text to that many cells, with a mark at its end where that can be drawn."""
    text.truncate(width, overflow="ellipsis" if glyphs.cut == "…" else "crop", pad=pad)


def heading(title: str, width: int, glyphs: Glyphs, note: str = "") -> Text:
    """A heading with a rule behind it, and a note at its end."""
    text = Text(f"{title} ", style="bold")
    rest = max(0, width - cell_len(text.plain) - (cell_len(note) + 1 if note else 0))
    text.append(glyphs.rule * rest, style="dim")
    if note:
        text.append(f" {note}", style="dim")
    return text


MOODS: Final = {"bad": "red", "dim": "dim"}


def fact_line(fact: Fact, label: int) -> Text:
    """A fact as a line, its label in so many cells."""
    text = Text()
    if fact.label:
        text.append(f"{fact.label:{label}}", style="dim")
    text.append(fact.text, style=MOODS.get(fact.mood, "underline" if fact.leads_to else ""))
    if fact.note:
        text.append(f"  {fact.note}", style="dim")
    return text
