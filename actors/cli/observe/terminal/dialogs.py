"""Dialogs above a page: a confirmation, a line of text, a choice, a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from enfilade.actors.cli.observe.terminal.glyphs import Glyphs

__all__ = ["Ask", "Choose", "Confirm", "Read", "key_of"]

FRAME = """
{name} {{ align: center middle; background: transparent; }}
{name} > Vertical {{
    width: 80%; max-width: 100; height: auto; max-height: 80%;
    border: round ansi_default; padding: 0 1; background: ansi_default;
}}
{name} Input {{ border: none; height: 1; padding: 0; background: ansi_default; }}
{name} Static {{ background: ansi_default; }}
{name} VerticalScroll {{ height: auto; max-height: 100%; background: ansi_default; }}
{name}.ascii > Vertical {{ border: ascii ansi_default; }}
{name}.ascii VerticalScroll {{ scrollbar-size: 0 0; }}
"""


def _frame(name: str) -> str:
    return FRAME.format(name=name)


def key_of(event: events.Key) -> str:
    """The key of an event: its character, if it has one that can be seen, else its name."""
    return event.character if event.is_printable and event.character else event.key


class _Dialog(ModalScreen[Any]):
    """A dialog: escape leaves it without an answer."""

    def __init__(self, title: str, glyphs: Glyphs) -> None:
        super().__init__()
        self._title = title
        if glyphs.side == "|":
            self.add_class("ascii")

    def title_line(self) -> Static:
        return Static(Text(self._title, style="bold"))

    def on_key(self, event: events.Key) -> None:
        """Take a key. The only handler of keys: Textual calls those of all base classes."""
        if self.takes(key_of(event)):
            event.stop()

    def takes(self, key: str) -> bool:
        """Take a key; return whether it means something here."""
        if key == "escape":
            self.dismiss(None)
        return key == "escape"


class Confirm(_Dialog):
    """Asks whether to do something: `y`, or the name typed where more than one process is at stake.

    The answer is True; None when it is not to be done.
    """

    DEFAULT_CSS = _frame("Confirm")

    def __init__(self, title: str, lines: Sequence[str], typed: str | None, glyphs: Glyphs) -> None:
        super().__init__(title, glyphs)
        self._lines = lines
        self._typed = typed

    def compose(self) -> ComposeResult:
        with Vertical():
            yield self.title_line()
            yield Static(Text("\n".join(self._lines)))
            if self._typed is None:
                yield Static(Text("y: yes   any other key: no", style="bold"))
            else:
                yield Static(Text(f"type {self._typed} and press enter   esc: no", style="bold"))
                yield Input()

    def takes(self, key: str) -> bool:
        """See `_Dialog`."""
        if self._typed is not None:
            return super().takes(key)
        self.dismiss(True if key in ("y", "Y") else None)
        return True

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(True if event.value == self._typed else None)


class Ask(_Dialog):
    """Asks for a line of text. The answer is the text; None when there is none."""

    DEFAULT_CSS = _frame("Ask")

    def __init__(self, title: str, given: str, help_: str, glyphs: Glyphs) -> None:
        super().__init__(title, glyphs)
        self._given = given
        self._help = help_

    def compose(self) -> ComposeResult:
        with Vertical():
            yield self.title_line()
            yield Input(self._given, select_on_focus=False)
            if self._help:
                yield Static(Text(self._help, style="dim"))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)


class Choose(_Dialog):
    """Asks for some of several choices. The answer is a list of their values; None when there is none."""

    DEFAULT_CSS = _frame("Choose")

    def __init__(self, title: str, choices: Sequence[tuple[str, str, bool]], glyphs: Glyphs) -> None:
        super().__init__(f"{title}   space: choose   enter: done", glyphs)
        self._choices = [(value, text) for value, text, _ in choices]
        self._chosen = {value for value, _, is_chosen in choices if is_chosen}
        self._at = 0

    def compose(self) -> ComposeResult:
        with Vertical():
            yield self.title_line()
            with VerticalScroll(can_focus=False):
                yield Static(self._text(), id="choices")

    def _text(self) -> Text:
        text = Text()
        for number, (value, shown) in enumerate(self._choices):
            line = f"[{'x' if value in self._chosen else ' '}] {shown}"
            text.append(line, style="reverse" if number == self._at else "")
            text.append("\n" if number < len(self._choices) - 1 else "")
        return text

    def takes(self, key: str) -> bool:
        """See `_Dialog`."""
        if key in ("up", "k", "down", "j"):
            self._at = (self._at + (1 if key in ("down", "j") else -1)) % len(self._choices)
            self.query_one(VerticalScroll).scroll_to(y=max(0, self._at - 8), animate=False)
        elif key == " ":
            self._chosen ^= {self._choices[self._at][0]}
        elif key == "enter":
            self.dismiss([value for value, _ in self._choices if value in self._chosen])
        elif key in ("escape", "q"):
            self.dismiss(None)
        self.query_one("#choices", Static).update(self._text())
        return True


class Read(_Dialog):
    """Shows some lines to read."""

    DEFAULT_CSS = _frame("Read")
    BINDINGS: ClassVar[list[Any]] = []

    def __init__(self, title: str, lines: Sequence[Text], glyphs: Glyphs) -> None:
        super().__init__(title, glyphs)
        self._lines = lines

    def compose(self) -> ComposeResult:
        with Vertical():
            yield self.title_line()
            with VerticalScroll():
                yield Static(Text("\n").join(self._lines))
            yield Static(Text("esc: back", style="dim"))

    def takes(self, key: str) -> bool:
        """See `_Dialog`."""
        if key in ("escape", "q", "enter"):
            self.dismiss(None)
            return True
        return False
