"""Misuse of refs: an error that shows it says what to write instead."""

from __future__ import annotations

from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import add_note, safe_str
from enfilade.actors.messages.tracebacks import members_of

__all__ = ["explain_misuse"]


def explain_misuse(error: BaseException) -> None:
    """Note at each `AttributeError` of a ref, also within groups, what was meant to be written. Never raises.

    A `__getattr__` of refs could put it into the error's own text. But the interpreter looks up every
    attribute of an object that has one in a slow way, and nothing is looked up more often than `send`.
    """
    pending = [error]
    while pending:
        error = pending.pop()
        if is_a(error, BaseExceptionGroup):
            pending.extend(members_of(error))
        elif type(error) is AttributeError and is_a(error.obj, Ref):
            add_note(
                error,
                "a ref is a handle for a process, not the object; to have its method run, write "
                f"`await ref.call(Class.{safe_str(error.name)}, ...)`, or `ref.cast(...)` for no reply",
            )
