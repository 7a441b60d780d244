"""The characters that pictures are made of: those of Unicode, or ASCII alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

__all__ = ["ASCII", "UNICODE", "Glyphs", "bars"]


@attrs.frozen
class Glyphs:
    """A set of characters.

    Attributes:
        levels: bars of one line, from nothing to full.
        up, down: the directions of a sort.
        opened, closed: branches of a tree.
        alive, gone: whether a node is connected.
        on_its_way: stands in a row that has not come yet.
        cut: ends a text that was cut.
        mark: a mark on a time axis.
        cross: a crash on a time axis.
        rule: a horizontal line.
        corners: of a box: top left, top right, bottom left, bottom right.
        side: the side of a box.
        joints: lines that leave a cell up (1), down (2), left (4), right (8), by the sum of these.
    """

    levels: str
    up: str
    down: str
    opened: str
    closed: str
    alive: str
    gone: str
    on_its_way: str
    cut: str
    mark: str
    cross: str
    rule: str
    corners: str
    side: str
    joints: str


UNICODE: Final = Glyphs(
    levels=" ▁▂▃▄▅▆▇█",
    up="▲",
    down="▼",
    opened="▾",
    closed="▸",
    alive="●",
    gone="○",
    on_its_way="·",
    cut="…",
    mark="•",
    cross="\N{MULTIPLICATION SIGN}",
    rule="─",
    corners="┌┐└┘",
    side="│",
    joints=" ╵╷│╴┘┐┤╶└┌├─┴┬┼",
)
ASCII: Final = Glyphs(
    levels=" .:-=+*#%",
    up="^",
    down="v",
    opened="-",
    closed="+",
    alive="*",
    gone="o",
    on_its_way=".",
    cut="~",
    mark="o",
    cross="x",
    rule="-",
    corners="++++",
    side="|",
    joints=" |||-+++-+++-+++",
)


def bars(values: Sequence[float | None], height: int, glyphs: Glyphs, most: float | None = None) -> list[str]:
    """The values as bars, in lines from the top down. A value above nothing shows, however small it is.

    Args:
        values: one for each column; None leaves it empty.
        height: lines.
        glyphs: the characters.
        most: the value of a full bar; None for the largest one.
    """
    top = most or max((value for value in values if value is not None), default=0.0)
    steps = len(glyphs.levels) - 1
    heights = [
        0
        if value is None or value <= 0 or top <= 0
        else max(1, round(min(1.0, value / top) * height * steps))
        for value in values
    ]
    return [
        "".join(glyphs.levels[min(steps, max(0, filled - line * steps))] for filled in heights)
        for line in reversed(range(height))
    ]
