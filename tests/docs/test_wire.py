"""The table of frames in docs/wire.md says what the code says."""

import re
from pathlib import Path

from enfilade.transport.wire import FRAMES

PAGE = Path(__file__).resolve().parents[2] / "docs/wire.md"


def table() -> dict[int, tuple[str, str]]:
    """The rows of the section "Frames": name and fields by tag."""
    section = PAGE.read_text().partition("\n## Frames\n")[2].partition("\n## ")[0]
    rows = re.finditer(r"^\| (\d+) \| (\w+) \|(.*)\|$", section, re.M)
    return {int(row[1]): (row[2], row[3]) for row in rows}


def test_each_frame_has_a_row() -> None:
    """Tags and names agree, and no row is left of a frame that is no more."""
    assert {tag: name for tag, (name, _) in table().items()} == {
        kind.__struct_config__.tag: kind.__name__ for kind in FRAMES
    }


def test_each_row_names_the_fields() -> None:
    rows = table()
    for kind in FRAMES:
        _, text = rows[kind.__struct_config__.tag]  # type: ignore[index]
        places = [re.search(rf"\b{field}\b", text) for field in kind.__struct_fields__]
        assert all(places), (kind.__name__, text)
