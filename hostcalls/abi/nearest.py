"""Help with misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def hint(wanted: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known name nearest to `wanted`, or an empty text if none is near.

    Case and the characters `_` and `-` do not count. At most 200 characters of `wanted` are compared.
    """
    names = {_plain(name): name for name in known}
    near = difflib.get_close_matches(_plain(wanted[:200]), names, n=1, cutoff=0.6)
    return f"; did you mean {names[near[0]]!r}?" if near else ""


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
