"""Short texts that name something in a mesh: the check of what users give as one."""

from __future__ import annotations

from enfilade.actors.messages.safe_text import safe_repr

__all__ = ["check_short"]


def check_short(text: object, longest: int, what: str) -> None:
    """Check that `text` can be `what`, which travels in a subject.

    Args:
        text: what was given.
        longest: bytes that it may have.
        what: names it in the errors.

    Raises:
        TypeError: it is no text.
        ValueError: it has not 1 to `longest` bytes, or cannot be written in UTF-8.
    """
    wanted = f"{what} must be a string of 1 to {longest} bytes in UTF-8, got {safe_repr(text, 80)}"
    if not isinstance(text, str):
        raise TypeError(wanted)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError(wanted) from None
    if not 0 < size <= longest:
        raise ValueError(wanted)
