"""The nodes that this one is connected to, by zone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.terminal.page import ListPage, cut

__all__ = ["NodesPage"]

Link = Mapping[str, Any]


class NodesPage(ListPage):
    """The zones as boxes, the node links of the observed node in them."""

    title = "nodes"

    def _zones(self) -> dict[str, list[Link]]:
        """The nodes of each zone, the observed one first."""
        fields = self.sight.fields
        own = str(fields.get("full_name", self.sight.observed.name))
        zones: dict[str, list[Link]] = {_zone(own): [{"name": own, "state": "observed"}]}
        for link in sorted(self.sight.links, key=lambda link: str(link["name"])):
            zones.setdefault(_zone(str(link["name"])), []).append(link)
        return zones

    def _lines(self, width: int) -> list[Text]:
        top_left, top_right, low_left, low_right = list(self.glyphs.corners)
        rule, side = self.glyphs.rule, self.glyphs.side
        room = max(10, width - 4)
        lines: list[Text] = []
        for zone, links in self._zones().items():
            title = f" zone {words.one_line(zone)} "
            lines.append(Text(top_left + rule + title + rule * max(0, room + 1 - len(title)) + top_right))
            for link in links:
                for number, text in enumerate(self._link(link)):
                    style = "dim" if number or link.get("state") not in ("up", "observed") else ""
                    line = Text(f"{side} ")
                    line.append(cut(text, room, self.glyphs), style=style)
                    line.append(f" {side}")
                    lines.append(line)
            lines.append(Text(low_left + rule * (room + 2) + low_right))
        return lines

    def _link(self, link: Link) -> list[str]:
        get = link.get
        state = str(get("state") or "up")
        mark = self.glyphs.alive if state in ("up", "observed") else self.glyphs.gone
        first = f"{mark} {words.one_line(link['name'])}  {state}"
        if get("round_trip") is not None:
            first += f"  round trip {words.age(get('round_trip'))}"
        if state == "observed":
            first = f"{mark} {words.one_line(link['name'])}  this node"
        lines = [first]
        if get("frames_in") is not None:
            lines.append(
                f"    in {words.number(get('frames_in'))} frames/s, {words.size(get('bytes_in'))}/s"
                f"   out {words.number(get('frames_out'))} frames/s, {words.size(get('bytes_out'))}/s"
            )
        window = get("window")
        if window:
            used = min(1.0, (get("under_way") or 0) / window)
            full = round(used * 20)
            bar = "#" * full + "." * (20 - full)
            lines.append(
                f"    credit [{bar}] {words.size(get('under_way') or 0)} of {words.size(window)}"
                f" under way, {words.size(get('queued') or 0)} queued"
            )
        if state != "up" and get("reason"):
            lines.append(f"    {words.one_line(get('reason'))}")
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
        return "asking the node" if self.sight.observed.is_up else "not connected"

    def status(self) -> str:
        links = self.sight.links
        up = sum(1 for link in links if link.get("state") == "up")
        return f"connected to {up} node{'' if up == 1 else 's'}"


def _zone(name: str) -> str:
    return name.partition("@")[2] or "?"
