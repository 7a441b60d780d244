"""Misuse of refs, coroutines, trio and asyncio, and of `super()`: an error that shows it says what to write
instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from types import CoroutineType, FunctionType
from typing import Protocol

from enfilade.actors.messages.kinds import definitions_of, is_a
from enfilade.actors.messages.nearest import COMPARED, SURELY, did_you_mean, nearest, option_meant
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import add_note, safe_repr, safe_str, shown_name
from enfilade.actors.messages.tracebacks import members_of

__all__ = ["IN_A_THREAD", "OF_PROCESSES", "OTHER_WORDS", "STARTERS", "explain_misuse"]


USED = frozenset(name for name in vars(Ref) if not name.startswith("_"))
"""What programs use of a ref: whoever looks for that in None has taken the result of `whereis` for a ref."""


IN_A_THREAD = (
    "processes run in trio: write `trio.sleep(...)` and the like; what needs asyncio runs in "
    "`enfilade.actors.bridges.EventLoopThread`"
)

LOOPS = {
    "no running event loop": IN_A_THREAD,
    "There is no current event loop in thread 'MainThread'.": IN_A_THREAD,
    "Attempted to call run() from inside a run()": (
        "trio runs already, as a process runs in it: have an async handler await the function itself"
    ),
    "this thread wasn't created by Trio, pass kwarg trio_token=...": (
        "`trio.from_thread` is for threads of `trio.to_thread`; a handler runs in trio's own: write "
        "`async def`, and `await`"
    ),
}
"""What trio and asyncio say of a loop that is missing, or there already; and what to do."""


NOTHING_AWAITED = (
    "object NoneType can't be used in 'await' expression",
    "'NoneType' object can't be awaited",  # since Python 3.14
)
"""What `await None` says."""


REFS = frozenset(("Alias", "HeldRef", "LocalRef", "NameRef", "NodeRef", "RemoteNameRef"))
"""The classes of refs that programs hold."""

OF_PROCESSES = frozenset(
    (
        *("alias", "continue_with", "defer", "demonitor", "exit", "exit_after", "kill_after", "link"),
        *("monitor", "receive", "ref", "request", "send_after", "spawn", "spawn_soon", "stash", "stop"),
        *("timeout_after", "trap_exits", "unalias", "unlink", "unstash"),
    )
)
"""What programs use of a process, and may look for in an actor, or in a node."""

REQUEST = "write `ref.send(message)`, or have a method run: `await ref.call(Class.method, ...)`"
STARTED = "a process is started by `await node.spawn(Class, ...)`, which returns its ref"

OTHER_WORDS = {
    "ask": REQUEST,
    "put": REQUEST,
    "request": REQUEST,
    "send_message": REQUEST,
    "tell": REQUEST,
    "proxy": "there are no proxies: write `await ref.call(Class.method, ...)`",
    "remote": "there are no proxies: write `await ref.call(Class.method, ...)`",
    "is_alive": "a process may end at any time: `process.monitor(ref)` tells of its end",
    "kill": "write `ref.exit(KILL)`",
    "link": "a process links itself: write `process.link(ref)`, in an actor `self.process.link(ref)`",
    "monitor": "a process monitors: write `process.monitor(ref)`, in an actor `self.process.monitor(ref)`",
}
"""What refs have in other libraries."""

STARTERS = frozenset(("remote", "spawn", "start", "start_link"))
"""What starts a process of a class in other libraries."""

ASSIGNED = re.compile(r"'(\w+)' object has no attribute '(\w+)'( and no __dict__ .*)?")
"""What the interpreter says of an attribute that is not there; more of one to be set, since Python 3.13."""

MISUSED = re.compile(r"'(\w+)' object (?:is not|can't be)|^object (\w+) can't be used in 'await'")
"""What the interpreter says of an object that cannot be called, indexed, iterated or awaited."""


class KnownNames(Protocol):
    """The names of a node, as far as a note tells of them."""

    missed: str | None
    """The name that was last looked up in vain; None if there is none."""

    def some(self, count: int) -> Iterable[str]:
        """The first names, at most so many."""


def explain_misuse(error: BaseException, names: KnownNames, own: object) -> None:
    """Note at each error that a ref, a coroutine or None in its place, a loop of trio or asyncio, a method
    that does not call `super()`, or a misspelt option of `spawn` has caused, what was meant to be written;
    also within groups. Never raises.

    Args:
        error: the error.
        names: those of the node.
        own: the actor, or the node, whose code has raised it.

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
            explanation = _of_attribute(error, names, own)
        elif type(error) is TypeError:
            explanation = _of_type(_only_text(error) or "")
        elif type(error) is RuntimeError:
            explanation = LOOPS.get(_only_text(error) or "")
        else:
            explanation = None
        if explanation is not None:
            add_note(error, explanation)


def _of_attribute(error: AttributeError, names: KnownNames, own: object) -> str | None:
    """Explain an attribute that was looked for in a ref, in a coroutine or None in its place, in the actor or
    node in the place of a process, or in an object that was not set up.
    """
    found = ASSIGNED.fullmatch(_only_text(error) or "")
    if found and found[1] in REFS and (error.name is None or found[3]):
        return f"{A_HANDLE}; have one of its methods set `{found[2]}`"
    if is_a(error.obj, Ref):
        name = safe_str(error.name)
        return OTHER_WORDS.get(name) or _slip_in_ref(name) or _not_the_object(name)
    if type(error.obj) is CoroutineType:
        name = safe_str(error.obj.__qualname__)
        return f"this is the coroutine of {name}, and not its result: write `await` before the call"
    if error.obj is None:
        if not _is_of_refs(error.name) or not names.missed:
            return None
        last = safe_repr(names.missed) + did_you_mean(names.missed, names.some(COMPARED))
        return f"`whereis` gives None for a name that no process has; the last was {last}"
    if error.obj is own and type(error.name) is str and error.name in OF_PROCESSES:
        return (
            f"processes have `{error.name}`: an actor's own is `self.process`, a block of a node has one by "
            "`async with node.mailbox() as process`"
        )
    if type(error.obj) is type and error.name in STARTERS and next(definitions_of(error.obj, "body_"), None):
        return STARTED
    return _skipped(type(error.obj), error.name)


def _slip_in_ref(name: str) -> str | None:
    """Explain the misspelt name of a method of refs."""
    near = nearest(name, USED, SURELY)
    return f"did you mean `{near}`?" if near else None


def _skipped(cls: type, attribute: object) -> str | None:
    """Explain an attribute that the `__init__` or `on_start` of a base sets, where a class below has its own,
    which does not call it.
    """
    for hook in ("__init__", "on_start"):
        for (cls_below, ours), (base, theirs) in pairwise(definitions_of(cls, hook)):
            if type(ours) is not FunctionType or type(theirs) is not FunctionType:
                continue
            if {"super", hook}.isdisjoint(ours.__code__.co_names) and attribute in theirs.__code__.co_names:
                below, above = (f"{shown_name(each)}.{hook}" for each in (cls_below, base))
                return f"{above} sets it, and has not run: {below} must call `super().{hook}(...)`"
    return None


def _of_type(text: str) -> str | None:
    """Explain the text of a `TypeError`."""
    if text in NOTHING_AWAITED:
        return (
            "`ref.send(...)` and `ref.cast(...)` give nothing to await: leave `await` out, or write "
            "`await ref.call(...)` for the reply"
        )
    if text.startswith("LocalRef.send() takes"):
        return (
            "`send` gives a process one message; to have a method run, write `ref.cast(Class.method, ...)`, "
            "or `await ref.call(Class.method, ...)` for the reply"
        )
    if text.startswith("LocalRef.ask() "):
        return REQUEST
    if "'coroutine'" in text:
        return "a coroutine stands where its result was meant: write `await` before the call that made it"
    if misused := MISUSED.search(text):
        return None if REFS.isdisjoint(misused.groups()) else _not_the_object("method")
    return option_meant(text)


A_HANDLE = "a ref is a handle for a process, not the object"


def _not_the_object(method: str) -> str:
    return (
        f"{A_HANDLE}; to have its method run, write `await ref.call(Class.{method}, ...)`, or "
        "`ref.cast(...)` for no reply"
    )


def _only_text(error: BaseException) -> str | None:
    """The only argument of an error, if that is a text."""
    return error.args[0] if len(error.args) == 1 and type(error.args[0]) is str else None


def _is_of_refs(name: object) -> bool:
    return type(name) is str and name in USED
