"""Misuse of refs, coroutines and asyncio: an error that shows it says what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import CoroutineType
from typing import Protocol

from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.nearest import COMPARED, did_you_mean, option_meant
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import add_note, safe_repr, safe_str
from enfilade.actors.messages.tracebacks import members_of

__all__ = ["explain_misuse"]


USED = frozenset(name for name in vars(Ref) if not name.startswith("_"))
"""What programs use of a ref: whoever looks for that in None has taken the result of `whereis` for a ref."""


NO_LOOP = "no running event loop"
"""What the parts of asyncio say that need its loop."""


NOTHING_AWAITED = (
    "object NoneType can't be used in 'await' expression",
    "'NoneType' object can't be awaited",  # since Python 3.14
)
"""What `await None` says."""


REFS = frozenset(("Alias", "HeldRef", "LocalRef", "NameRef", "NodeRef", "RemoteNameRef"))
"""The classes of refs that programs hold."""

MISUSED = re.compile(r"'(\w+)' object (?:is not|can't be)|^object (\w+) can't be used in 'await'")
"""What the interpreter says of an object that cannot be called, indexed, iterated or awaited."""


class KnownNames(Protocol):
    """The names of a node, as far as a note tells of them."""

    missed: str | None
    """The name that was last looked up in vain; None if there is none."""

    def some(self, count: int) -> Iterable[str]:
        """The first names, at most so many."""


def explain_misuse(error: BaseException, names: KnownNames) -> None:
    """Note at each error that a ref, a coroutine or None in its place, a missing loop of asyncio, or a
    misspelt option of `spawn` has caused, what was meant to be written; also within groups. Never raises.

    A `__getattr__` of refs could put it into the error's own text. But the interpreter looks up every
    attribute of an object that has one in a slow way, and nothing is looked up more often than `send`.
    """
    pending = [error]
    while pending:
        error = pending.pop()
        if is_a(error, BaseExceptionGroup):
            pending.extend(members_of(error))
            continue
        if type(error) is AttributeError:
            explanation = _of_attribute(error, names)
        elif type(error) is TypeError:
            explanation = _of_type(_only_text(error) or "")
        elif type(error) is RuntimeError and error.args == (NO_LOOP,):
            explanation = (
                "processes run in trio: write `trio.sleep(...)` and the like; what needs asyncio runs in "
                "`enfilade.actors.bridges.EventLoopThread`"
            )
        else:
            explanation = None
        if explanation is not None:
            add_note(error, explanation)


def _of_attribute(error: AttributeError, names: KnownNames) -> str | None:
    """Explain an attribute that was looked for in a ref, or in a coroutine or None in its place."""
    if is_a(error.obj, Ref):
        return _not_the_object(safe_str(error.name))
    if type(error.obj) is CoroutineType:
        name = safe_str(error.obj.__qualname__)
        return f"this is the coroutine of {name}, and not its result: write `await` before the call"
    if error.obj is None and _is_of_refs(error.name) and names.missed:
        last = safe_repr(names.missed) + did_you_mean(names.missed, names.some(COMPARED))
        return f"`whereis` gives None for a name that no process has; the last was {last}"
    return None


def _of_type(text: str) -> str | None:
    """Explain the text of a `TypeError`."""
    if text in NOTHING_AWAITED:
        return (
            "`ref.send(...)` and `ref.cast(...)` give nothing to await: leave `await` out, or write "
            "`await ref.call(...)` for the reply"
        )
    if "'coroutine'" in text:
        return "a coroutine stands where its result was meant: write `await` before the call that made it"
    if misused := MISUSED.search(text):
        return None if REFS.isdisjoint(misused.groups()) else _not_the_object("method")
    return option_meant(text)


def _not_the_object(method: str) -> str:
    return (
        "a ref is a handle for a process, not the object; to have its method run, write "
        f"`await ref.call(Class.{method}, ...)`, or `ref.cast(...)` for no reply"
    )


def _only_text(error: BaseException) -> str | None:
    """The only argument of an error, if that is a text."""
    return error.args[0] if len(error.args) == 1 and type(error.args[0]) is str else None


def _is_of_refs(name: object) -> bool:
    return type(name) is str and name in USED
