"""The terminal program: a line for the node, a line of pages, the page, a line about it, a line of keys."""

from __future__ import annotations

import asyncio
import itertools
import select
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Final, TextIO

import trio
from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.actions import ACTIONS, Action, Question, Target, question, why_no_action
from enfilade.actors.cli.observe.following import Follower, Unfollowing
from enfilade.actors.cli.observe.observed import Observed
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.terminal.detail import DetailPage
from enfilade.actors.cli.observe.terminal.dialogs import Ask, Choose, Confirm, Read, key_of
from enfilade.actors.cli.observe.terminal.glyphs import ASCII, UNICODE
from enfilade.actors.cli.observe.terminal.guest_run import GuestRun
from enfilade.actors.cli.observe.terminal.log import LogPage
from enfilade.actors.cli.observe.terminal.nodes import NodesPage
from enfilade.actors.cli.observe.terminal.overview import OverviewPage
from enfilade.actors.cli.observe.terminal.page import ListPage, Page, fitted
from enfilade.actors.cli.observe.terminal.table import GuestsPage, ProcessesPage, TablesPage
from enfilade.actors.cli.observe.terminal.timeline import TimelinePage
from enfilade.actors.cli.observe.terminal.trace import TracePage
from enfilade.actors.cli.observe.terminal.tree import TreePage

__all__ = ["PAGES", "ObserveApp"]

PAGES: Final[dict[str, type[Page]]] = {
    "1": OverviewPage,
    "2": ProcessesPage,
    "3": TreePage,
    "4": DetailPage,
    "5": GuestsPage,
    "6": NodesPage,
    "7": TimelinePage,
    "8": LogPage,
    "9": TracePage,
    "0": TablesPage,
}
"""The pages, by their keys."""

PAINT: Final = 2.0
"""Seconds that an update waits at most for being drawn, where nothing is drawn any more."""

FOLLOWING: Final = 1.0
"""Seconds after which nodes that are to be observed, too, are looked for again."""

FILTER_HELP: Final = "texts with * and ?, queued > 10, state = suspended, actor = Till; joined by and"

DEFAULT_KEYS: Final = (("0-9", "pages"), ("?", "help"), ("q", "quit"))


class _Line(Widget):
    """A line that the program draws."""

    DEFAULT_CSS = "_Line { height: 1; background: ansi_default; }"

    def __init__(self, drawn: Callable[[int], Text]) -> None:
        super().__init__()
        self._drawn = drawn

    def render_line(self, y: int) -> Strip:
        return _strip(self._drawn(self.size.width), self.size.width, self.app)


class Board(Widget, can_focus=True):
    """The widget that shows a page."""

    DEFAULT_CSS = "Board { height: 1fr; background: ansi_default; }"

    def __init__(self, page: Callable[[], Page]) -> None:
        super().__init__()
        self._page = page
        self._lines: list[Text] = []

    def render_lines(self, crop: Any) -> list[Strip]:
        """Draw the page once for all lines."""
        width, height = self.size
        self._lines = self._page().draw(width, height) if width and height else []
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        line = self._lines[y] if y < len(self._lines) else Text("")
        return _strip(line, self.size.width, self.app)

    def on_click(self, event: events.Click) -> None:
        page = self._page()
        if isinstance(page, ListPage):
            page.click(event.y, event.x)
            self.refresh()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._scroll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._scroll(-3)

    def _scroll(self, lines: int) -> None:
        page = self._page()
        if isinstance(page, ListPage):
            page.scroll(lines)
            self.refresh()


def _strip(text: Text, width: int, app: App[Any]) -> Strip:
    return Strip(fitted(text, width).render(app.console), width)


def _has_hung_up(terminal: TextIO | None) -> bool:
    """Tell whether nobody is at the other end of a terminal any more."""
    if terminal is None or terminal.closed:
        return True
    look = select.poll()
    look.register(terminal.fileno(), 0)  # that it hung up is told in any case
    return bool(look.poll(0))


class ObserveApp(App[None]):
    """Observes nodes, one of which is shown.

    Args:
        nodes: the nodes, at least one.
        follower: finds nodes that are to be observed, too.
        is_read_only: whether actions are left out.
        is_ascii: whether to draw with ASCII characters alone.
    """

    CSS = "Screen { background: ansi_default; } ModalScreen { background: transparent; }"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[Any]] = [("ctrl+c", "leave", "quit"), ("ctrl+q", "leave", "quit")]

    def __init__(
        self,
        nodes: Sequence[Observed],
        follower: Follower | None = None,
        *,
        is_read_only: bool = False,
        is_ascii: bool = False,
    ) -> None:
        super().__init__(ansi_color=True)
        self.glyphs = ASCII if is_ascii else UNICODE
        self.sights = [Sight(observed) for observed in nodes]
        self._follower = follower or Unfollowing()
        self._is_read_only = is_read_only
        self._at = 0
        self._key = "1"
        self._before: list[str] = []
        self._pages: dict[tuple[int, str], Page] = {}
        self._said = ""
        self._said_until = 0.0
        self._timer: Timer | None = None
        self._asked: Callable[[], None] = lambda: None
        self._guest = GuestRun(self._observe)

    # The two loops.

    def compose(self) -> ComposeResult:
        yield _Line(self._head)
        yield _Line(self._tabs)
        yield Board(lambda: self.page)
        yield _Line(self._status)
        yield _Line(self._keys)

    def on_mount(self) -> None:
        """Begin to observe."""
        self.query_one(Board).focus()
        for sight in self.sights:
            sight.on_change = self.redraw
        self._guest.start()
        self.set_interval(1.0, self.redraw)
        if not self.is_headless:
            self.set_interval(1.0, self._look_at_terminal)

    async def _look_at_terminal(self) -> None:
        """Leave when the terminal is gone: Textual reads its end again and again, for ever."""
        if _has_hung_up(sys.__stdin__):
            await self.action_leave()

    async def _observe(self, nursery: trio.Nursery) -> None:
        for sight in self.sights:
            sight.begin()
            nursery.start_soon(sight.observed.run)
        self.page.show()
        while True:
            await trio.sleep(FOLLOWING)
            for observed in self._follower.found(self.sights):
                sight = Sight(observed)
                sight.on_change = self.redraw
                self.sights.append(sight)
                sight.begin()
                nursery.start_soon(observed.run)

    async def on_unmount(self) -> None:
        """Leave the nodes before the terminal is restored."""
        await self._guest.stop()

    async def action_leave(self) -> None:
        """Leave."""
        await asyncio.shield(self._guest.stop())
        self.exit()

    def soon(self, fn: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """See `page.Desk`."""
        self._guest.soon(fn, *args)

    def soon_sync(self, fn: Callable[..., object], *args: Any) -> None:
        """See `page.Desk`."""
        self._guest.soon_sync(fn, *args)

    def redraw(self) -> None:
        """See `page.Desk`."""
        for widget in self.screen_stack[0].query(Widget) if self.screen_stack else ():
            widget.refresh()

    async def painted(self) -> None:
        """See `page.Desk`."""
        drawn = trio.Event()
        self.redraw()
        self.call_after_refresh(self._guest.soon_sync, drawn.set)
        with trio.move_on_after(PAINT):
            await drawn.wait()

    # Pages.

    @property
    def sight(self) -> Sight:
        """The node that is shown."""
        return self.sights[self._at]

    @property
    def page(self) -> Page:
        """The page that is shown."""
        place = self._at, self._key
        if place not in self._pages:
            self._pages[place] = PAGES[self._key](self, self.sight)
        return self._pages[place]

    def turn_to(self, key: str, at: int | None = None) -> None:
        """Show another page, perhaps of another node."""
        before = self.page
        self._key = key
        self._at = self._at if at is None else at % len(self.sights)
        after = self.page
        if after is not before:
            self.soon_sync(before.hide)
            self.soon_sync(after.show)
        self.redraw()

    def open_process(self, process: int | str) -> None:
        """See `page.Desk`."""
        self._before.append(self._key)
        place = self._at, "4"
        page = self._pages.setdefault(place, DetailPage(self, self.sight))
        assert isinstance(page, DetailPage)
        self.soon_sync(page.open, process)
        self.turn_to("4")

    # Lines.

    def _head(self, width: int) -> Text:
        sight, observed = self.sight, self.sight.observed
        fields = sight.fields
        name = words.one_line(observed.name)
        line = Text()
        if observed.is_up:
            line.append(f"{self.glyphs.alive} ", style="green")
        else:
            line.append(f"{self.glyphs.gone} ", style="red")
        line.append(name, style="bold")
        if len(self.sights) > 1:
            line.append(f" [{self._at + 1}/{len(self.sights)}]", style="dim")
        if not observed.is_up:
            if sight.heard_at is not None:  # first, because the trouble may be longer than the line
                line.append(f"  last seen {words.age(int(observed.now() - sight.heard_at))} ago", style="dim")
                line.append(", trying again", style="dim")
            line.append(f"  {observed.trouble or 'connecting'}", style="red")
            return line
        silence = observed.silence
        if silence is not None:
            line.append(f"  no answer for {words.age(int(silence))}; enfilade dump may say why", style="red")
            return line
        if not fields:
            return line
        for fact in sight.facts:
            if cell_len(line.plain) + 2 + len(fact) <= width:
                line.append(f"  {fact}")
        used = sight.observation_share
        if used is not None:
            cost = f"observing it takes {words.share(used)}"
            room = width - cell_len(line.plain) - len(cost)
            if room >= 2:
                line.append(" " * room + cost, style="dim")
        return line

    def _tabs(self, width: int) -> Text:
        is_wide, warnings = width >= 110, len(self.sight.warnings)
        note = f"{warnings} warning{'s' * (warnings > 1)}" if is_wide else f"! {warnings}"
        room = width - len(note) - 1 if warnings else width
        tabs = {
            key: f" {key} {page.title} " if is_wide else f"{key}{page.title}" for key, page in PAGES.items()
        }
        before = list(itertools.takewhile(lambda key: key != self._key, tabs))
        while before and sum(cell_len(tabs[key]) + 1 for key in (*before, self._key)) > room + 1:
            del tabs[before.pop(0)]  # so that the page that is shown is always named
        line = Text()
        for key, shown in tabs.items():
            line.append(shown, style="reverse" if key == self._key else "")
            line.append("" if is_wide else " ")
        if warnings:
            line.truncate(room)
            line.append(" " * (width - cell_len(line.plain) - len(note)) + note, style="yellow bold")
        return line

    def _status(self, width: int) -> Text:
        if self._said and self.sight.observed.now() < self._said_until:
            return Text(self._said, style="bold")
        return Text(self.page.status(), style="dim")

    def _keys(self, width: int) -> Text:
        line = Text()
        for key, text in (*self.page.hints, *self._action_hints(), *self._default_keys()):
            piece = f"{key} {text}"
            if cell_len(line.plain) + cell_len(piece) + 2 > width:
                break
            if line:
                line.append("  ")
            line.append(key, style="bold")
            line.append(f" {text}", style="dim")
        return line

    def _default_keys(self) -> tuple[tuple[str, str], ...]:
        return (("tab", "next node"), *DEFAULT_KEYS) if len(self.sights) > 1 else DEFAULT_KEYS

    def _action_hints(self) -> list[tuple[str, str]]:
        if self.page.target is None or self._why_no_action() is not None:
            return []
        return [("".join(action.key for action in ACTIONS), "act")]

    def say(self, text: str) -> None:
        """Show a line for some seconds in the place of the status."""
        self._said, self._said_until = text, self.sight.observed.now() + 8.0
        self.redraw()

    # Keys.

    async def on_key(self, event: events.Key) -> None:
        """Take a key: of the program, of the page, of an action."""
        if len(self.screen_stack) > 1:
            return
        key = key_of(event)
        if key in ("tab", "shift+tab"):
            event.prevent_default()
            event.stop()
            self.turn_to(self._key, self._at + (1 if key == "tab" else -1))
        elif key in PAGES:
            self._before.clear()
            self.turn_to(key)
        elif key == "q":
            await self.action_leave()
            return
        elif key in ("?", "f1"):
            self.read("keys", self._help())
        elif key == "escape" and self._before:
            self.turn_to(self._before.pop())
        elif not self.page.key(key):
            action = next((action for action in ACTIONS if action.key == key), None)
            if action is not None:
                self._begin(action)
        self.redraw()

    def _help(self) -> list[Text]:
        lines = [Text(f"{key:10} {page.title}") for key, page in PAGES.items()]
        lines += [Text(f"{keys:10} {text}") for keys, text in self.page.hints]
        lines += [Text("arrows     move; also j k, page up, page down, home, end")]
        lines += [Text(f"{keys:10} {text}") for keys, text in self._default_keys()[:-1]]
        lines += [Text("esc        back"), Text("q          leave")]
        why_not = self._why_no_action()
        lines += [
            Text(""),
            Text("actions on the selected process" + (f": {why_not}" if why_not else ""), style="bold"),
        ]
        lines += [Text(f"{a.key:10} {a.title}", style="dim" if why_not else "") for a in ACTIONS]
        return lines

    # What pages ask for.

    def read(self, title: str, lines: Sequence[Text]) -> None:
        """Show some lines above the page."""
        self.push_screen(Read(title, lines, self.glyphs))

    def ask(self, question: str, given: str, answer: Callable[[str], None]) -> None:
        """See `page.Desk`."""

        def answered(text: str | None) -> None:
            if text is not None:
                answer(text)
                self.redraw()

        help_ = FILTER_HELP if question == "filter" else ""
        self.push_screen(Ask(question, given, help_, self.glyphs), answered)

    def choose(
        self, title: str, choices: Sequence[tuple[str, str, bool]], answer: Callable[[list[str]], None]
    ) -> None:
        """See `page.Desk`."""

        def answered(values: list[str] | None) -> None:
            if values is not None:
                answer(values)
                self.redraw()

        self.push_screen(Choose(title, choices, self.glyphs), answered)

    def later(self, seconds: float, fn: Callable[[], None]) -> None:
        """See `page.Desk`."""
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(seconds, fn)

    # Actions.

    def _why_no_action(self) -> str | None:
        """The reason for which nothing can be done to processes of this node; None if it can."""
        return "read-only" if self._is_read_only else why_no_action(self.sight.observed)

    def _begin(self, action: Action) -> None:
        observed, target, why_not = self.sight.observed, self.page.target, self._why_no_action()
        if why_not is not None:
            self.say(f"{action.key}: {why_not}")
        elif target is None:
            self.say(f"{action.key}: no process is selected")
        elif not action.arguments(target.serial, target.supervisor, target.child_id, ""):
            whose = "a child of a supervisor" if action.is_of_a_child else "a process that runs"
            self.say(f"{action.key}: {target.shown} is not {whose}")
        elif action.asks:
            self.ask(
                f"{action.title} {target.shown}: {action.asks}",
                action.proposed,
                lambda given: self._take(observed, action, target, given),
            )
        else:
            self.soon(self._prepare, observed, action, target, "")

    def _take(self, observed: Observed, action: Action, target: Target, given: str) -> None:
        problem = action.problem(given)
        if problem is not None:
            self.say(f"{action.key}: {problem}")
        else:
            self.soon(self._prepare, observed, action, target, given)

    async def _prepare(self, observed: Observed, action: Action, target: Target, given: str) -> None:
        """Ask how much is below the process, and then for confirmation. Runs in trio."""
        over = observed.is_over(target.life)
        if over is not None:
            self.say(f"{action.key}: {over}")
            return
        asked = await question(observed, action, target, given)
        self.call_later(self._confirm, observed, action, target, given, asked)

    def _confirm(
        self, observed: Observed, action: Action, target: Target, given: str, asked: Question
    ) -> None:
        def answered(is_confirmed: bool | None) -> None:
            if is_confirmed:
                self.soon(self._act, observed, action, target, given)
            else:
                self.say("nothing was done")

        self.push_screen(Confirm(asked.title, asked.lines, asked.typed, self.glyphs), answered)

    async def _act(self, observed: Observed, action: Action, target: Target, given: str) -> None:
        """Have it done, and say how that went. Runs in trio."""
        arguments = action.arguments(target.serial, target.supervisor, target.child_id, given)
        problem = await observed.act(target.life, action.method, *arguments)
        self.say(f"{action.title} {target.shown}: {problem or 'done'}")
