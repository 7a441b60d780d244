"""Help with misspelt names, in the texts of errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

from enfilade.actors.messages.safe_text import safe_repr

__all__ = ["COMPARED", "did_you_mean"]

LONGEST = 100
"""Characters of a name that are compared: a name that somebody else made up may be of any length."""

COMPARED = 1_000
"""Names that are compared, at most: an error's text may take some milliseconds, and no more."""


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known name that is nearest to `wanted`; "" if none is near.

    Case, `_` and `-` do not count. Only the first thousand names are looked at.
    """
    names = {_plain(name): name for name in islice(known, COMPARED)}
    near = difflib.get_close_matches(_plain(wanted), names, n=1, cutoff=0.6)
    return f"; did you mean {safe_repr(names[near[0]])}?" if near else ""


def _plain(name: str) -> str:
    # The type's own methods: a name may be of a class derived from it, which has others.
    return str.lower(str.__getitem__(name, slice(LONGEST))).replace("_", "").replace("-", "")
