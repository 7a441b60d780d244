"""The nodes that this one is connected to, by zone."""

from __future__ import annotations

from rich.text import Text

from enfilade.actors.cli.observe.terminal.page import ListPage, cut
from enfilade.actors.cli.observe.zones import Neighbour, zones_of

__all__ = ["NodesPage"]


class NodesPage(ListPage):
    """The zones as boxes, the node links of the observed node in them."""

    title = "nodes"

    def _lines(self, width: int) -> list[Text]:
        top_left, top_right, low_left, low_right = list(self.glyphs.corners)
        rule, side = self.glyphs.rule, self.glyphs.side
        room = max(10, width - 4)
        lines: list[Text] = []
        for zone, neighbours in zones_of(self.sight).items():
            title = f" zone {zone} "
            lines.append(Text(top_left + rule + title + rule * max(0, room + 1 - len(title)) + top_right))
            for neighbour in neighbours:
                for number, text in enumerate(self._told(neighbour)):
                    style = "dim" if number or not neighbour.is_up else ""
                    line = Text(f"{side} ")
                    line.append(cut(text, room, self.glyphs), style=style)
                    line.append(f" {side}")
                    lines.append(line)
            lines.append(Text(low_left + rule * (room + 2) + low_right))
        return lines

    def _told(self, neighbour: Neighbour) -> list[str]:
        mark = self.glyphs.alive if neighbour.is_up else self.glyphs.gone
        first = f"{mark} {neighbour.name}  {neighbour.state}"
        if neighbour.round_trip:
            first += f"  round trip {neighbour.round_trip}"
        lines = [first]
        if neighbour.rates:
            lines.append(f"    {neighbour.rates}")
        if neighbour.used is not None:
            full = round(neighbour.used * 20)
            lines.append(f"    credit [{'#' * full + '.' * (20 - full)}] {neighbour.credit}")
        if neighbour.reason:
            lines.append(f"    {neighbour.reason}")
        return lines

    def draw(self, width: int, height: int) -> list[Text]:
        self._drawn = self._lines(width) if self.sight.fields else []
        return super().draw(width, height)

    _drawn: list[Text] = []  # noqa: RUF012 (replaced at each draw)
    is_cursor_shown = False

    @property
    def count(self) -> int:
        return len(self._drawn)

    def item(self, number: int, width: int) -> Text:
        return self._drawn[number]

    def key(self, key: str) -> bool:
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -self.height, "pagedown": self.height}
        if key in steps:
            self.scroll(steps[key])
            return True
        return super().key(key)

    def empty(self) -> str:
        return self.sight.observed.not_yet

    def status(self) -> str:
        links = self.sight.links
        up = sum(1 for link in links if link.get("state") == "up")
        return f"connected to {up} node{'' if up == 1 else 's'}"
