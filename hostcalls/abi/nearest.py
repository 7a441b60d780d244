"""Help with misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice
from typing import Final

_LONGEST: Final = 48  # characters of a name that are compared; hostcalls have fewer
_MOST: Final = 128  # known names that are: comparing two takes up to 0.2 ms, and a module may export 10,000


def hint(wanted: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known name nearest to `wanted`, or an empty text if none is near.

    Case and the characters `_` and `-` do not count. Compared are at most 128 names, 48 characters each.
    """
    names = {_plain(name): name for name in islice(known, _MOST)}
    near = difflib.get_close_matches(_plain(wanted), names, n=1, cutoff=0.6)
    return f"; did you mean {names[near[0]]!r}?" if near else ""


def _plain(name: str) -> str:
    return name[:_LONGEST].lower().replace("_", "").replace("-", "")
