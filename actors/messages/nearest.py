"""Help with misspelt names, in the texts of errors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from itertools import islice
from typing import Final

from enfilade.actors.messages.safe_text import safe_repr

__all__ = ["COMPARED", "OPTIONS", "SURELY", "did_you_mean", "nearest", "option_meant", "slip_of"]

LONGEST = 100
"""Characters of a name that are compared: a name that somebody else made up may be of any length."""

COMPARED = 1_000
"""Names that are compared, at most: an error's text may take some milliseconds, and no more."""

PERHAPS: Final = 0.6
"""Likeness of a name that may have been meant, where it is certain that something else was."""

SURELY: Final = 0.75
"""Likeness that is asked for where what was written may be right, and mean something else."""

OPTIONS: Final = ("name", "link", "monitor", "mailbox", "label", "on_failure", "timeout", "kwargs")
"""What `spawn` itself takes by name."""

UNEXPECTED: Final = re.compile(r"got an unexpected keyword argument '(\w{1,100})'")
"""What a class or function says of a misspelt option, which is taken for an argument of its own."""


def option_meant(text: str, parameters: Iterable[str] = ()) -> str | None:
    """Explain the text of a `TypeError` of the start of a process, where a parameter of its target, or an
    option of `spawn`, was misspelt; None if none was.
    """
    unexpected = UNEXPECTED.search(text)
    if unexpected is None:
        return None
    for known, whose in ((parameters, ""), (OPTIONS, ", an option of `spawn`")):
        if near := nearest(unexpected[1], known, SURELY):
            return f"did you mean `{near}=`{whose}?"
    return None


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known name that is nearest to `wanted`; "" if none is near.

    Case, `_` and `-` do not count. Only the first thousand names are looked at.
    """
    near = nearest(wanted, known)
    return "" if near is None else f"; did you mean {safe_repr(near)}?"


def nearest(wanted: str, known: Iterable[str], likeness: float = PERHAPS) -> str | None:
    """Return the known name that is nearest to `wanted`, as `did_you_mean` finds it; None if none is near.

    Args:
        wanted: what was written.
        known: the names of which one may have been meant.
        likeness: how like it must be, from 0 to 1, as `difflib.SequenceMatcher.ratio` counts.
    """
    names = {_plain(name): name for name in islice(known, COMPARED)}
    near = difflib.get_close_matches(_plain(wanted), names, n=1, cutoff=likeness)
    return names[near[0]] if near else None


LONG = 10
"""Letters of a name of which one may be missing or wrong. In a shorter one the same makes another word:
`on_step` is a good name beside `on_stop`.
"""


def slip_of(written: str, known: Iterable[str]) -> str | None:
    """Return the known name that `written` is but for one slip; None if it is a name of its own.

    A slip is: other case or other `_`; two neighbouring letters exchanged; a letter twice. In names of ten
    letters and more also: a letter missing, or wrong, or one too many, except at the end, where it may be
    a plural's.
    """
    return next((name for name in known if written != name and _is_slip(written, name)), None)


def _is_slip(written: str, name: str) -> bool:
    if written[:1].lower() != name[0]:
        return False
    if _plain(written) == _plain(name):
        return True
    if abs(len(written) - len(name)) > 1:
        return False
    places = range(len(name))
    exchanged = {name[:at] + name[at + 1 : at + 2] + name[at] + name[at + 2 :] for at in places}
    twice = {name[:at] + name[at] + name[at:] for at in places}
    if written in exchanged or written in twice:
        return True
    if len(name) < LONG:
        return False
    shorter = {name[:at] + name[at + 1 :] for at in places}
    ours = {written[:at] + written[at + 1 :] for at in range(len(written))}
    is_plural = written[:-1] == name
    return written in shorter or (name in ours and not is_plural) or not ours.isdisjoint(shorter)


def _plain(name: str) -> str:
    # The type's own methods: a name may be of a class derived from it, which has others.
    return str.lower(str.__getitem__(name, slice(LONGEST))).replace("_", "").replace("-", "")
