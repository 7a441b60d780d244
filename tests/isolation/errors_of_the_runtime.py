"""Errors of the runtime's own classes that a program has made, and others that act when they are shown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, NoReturn

import trio

from enfilade.actors import (
    KILLED,
    NORMAL,
    Custom,
    Exit,
    Ignore,
    LiveResult,
    MailboxFull,
    NameTaken,
    NurseryLeft,
    ProcessDied,
    RemoveHandler,
    RuntimeFault,
    StartError,
    StepFailed,
    StrayCancelled,
    UnknownMethod,
)
from enfilade.actors.processes.current import running_process

__all__ = ["ERRORS_OF_THE_RUNTIME"]

Maker = Callable[[], BaseException]


def bare(kind: type[BaseException]) -> Maker:
    """What makes errors of a derived class that does not call the base."""
    return lambda: type("Derived", (kind,), {"__init__": lambda *_: None})()


def exact(kind: type[BaseException]) -> Maker:
    """What makes errors of the very class, without its attributes: as a peer may send them."""
    return lambda: kind.__new__(kind)


def pretends(kind: type[BaseException]) -> Maker:
    """What makes errors that say that they are of `kind`."""
    return lambda: type("Pretends", (Exception,), {"__class__": property(lambda _: kind)})()


class ExitWith(Exit):
    def __init__(self, reason: Any) -> None:
        Exception.__init__(self)
        self.reason = reason


class GroupWithoutParts(BaseExceptionGroup[BaseException]):
    @property
    def exceptions(self) -> NoReturn:  # type: ignore[override]
        raise LookupError("no parts")


class GroupOfItself(BaseExceptionGroup[BaseException]):
    @property
    def exceptions(self) -> Any:  # type: ignore[override]
        return (self, self)


class NewRaises(Exception):
    """Cannot be made again from its arguments."""

    def __new__(cls, *args: Any) -> NewRaises:
        if args:
            raise LookupError("not again")
        return super().__new__(cls)


class TextActs(Exception):
    """Uses the runtime when it is shown."""

    def __init__(self, act: Callable[[Any], None]) -> None:
        self.act = act

    def __str__(self) -> str:
        process = running_process()
        if process is not None:
            self.act(process)
        return "acted"

    __repr__ = __str__

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        str(self)
        return []


def spawns(process: Any) -> None:
    async def crashes(me: Any) -> None:
        raise ValueError("as asked")

    process.node.spawn_soon(crashes)


def logs(_: Any) -> None:
    logging.getLogger("enfilade.actors").error("within a text")


def exits(_: Any) -> None:
    raise SystemExit(1)


class SuppressRaises(Exception):
    @property
    def __suppress_context__(self) -> NoReturn:  # type: ignore[override]
        raise LookupError("no context")


class TracebackLies(Exception):
    @property
    def __traceback__(self) -> Any:
        return 5


class AttributesGrow(Exception):
    def __getattr__(self, name: str) -> AttributesGrow:
        return AttributesGrow()


def cause_of_itself() -> Exception:
    error = ValueError("own")
    error.__cause__ = error.__context__ = error
    return error


def of_a_strange_file() -> Exception:
    """As a file raises it whose name is no valid text, and whose loader has no source."""

    class Hostile:
        def __repr__(self) -> NoReturn:
            raise LookupError("no repr")

        def get_source(self, _: str) -> NoReturn:
            raise SystemError("no source")

    scope: dict[str, Any] = {"__name__": Hostile(), "__loader__": Hostile()}
    exec(compile("def fail():\n    raise ValueError('there')\n", "\udcff\n\x1b[31m", "exec"), scope)
    try:
        scope["fail"]()
    except ValueError as error:
        return error
    raise AssertionError


class HostileText(str):
    __slots__ = ()

    def strip(self, *_: Any) -> NoReturn:
        raise LookupError("no part of this")

    splitlines = rstrip = lstrip = __len__ = __eq__ = strip  # type: ignore[assignment]
    __hash__ = str.__hash__


class Undirected:
    def __dir__(self) -> NoReturn:
        raise SystemError("no names")


class ClaimsToBeAFault(StepFailed):
    """A fault of the runtime in a step of the process, as a program claims."""

    def __init__(self) -> None:
        process = running_process()
        self.ref = process.ref if process is not None else None  # type: ignore[assignment]


BARE: Final = (Ignore, LiveResult, ProcessDied, RemoveHandler, StartError, StrayCancelled, UnknownMethod)
EXACT: Final = (Exit, MailboxFull, NameTaken, NurseryLeft, ProcessDied, StartError, StepFailed, UnknownMethod)
PRETENDED: Final = (BaseExceptionGroup, Ignore, KeyboardInterrupt, ProcessDied, SystemExit, trio.Cancelled)

ERRORS_OF_THE_RUNTIME: Final[dict[str, Callable[[], Any]]] = {
    **{f"bare_{kind.__name__}": bare(kind) for kind in BARE},
    **{f"exact_{kind.__name__}": exact(kind) for kind in EXACT},
    **{f"pretends_{kind.__name__}": pretends(kind) for kind in PRETENDED},
    "exit_with_none": lambda: ExitWith(None),
    "exit_with_class": lambda: ExitWith(Custom),
    "exit_killed": lambda: Exit(KILLED),
    "group_of_exits": lambda: ExceptionGroup("exits", [Exit(NORMAL), Exit(KILLED), Ignore()]),
    "group_without_parts": lambda: GroupWithoutParts("group", [ValueError()]),
    "group_of_itself": lambda: GroupOfItself("group", [ValueError()]),
    "new_raises": NewRaises,
    "text_spawns": lambda: TextActs(spawns),
    "text_logs": lambda: TextActs(logs),
    "text_exits": lambda: TextActs(exits),
    "suppress_raises": SuppressRaises,
    "traceback_lies": TracebackLies,
    "attributes_grow": AttributesGrow,
    "cause_of_itself": cause_of_itself,
    "of_a_strange_file": of_a_strange_file,
    "syntax": lambda: SyntaxError("bad", (HostileText("file"), "line", object(), HostileText("text"))),
    "name": lambda: NameError("bad", name=HostileText("name")),
    "attribute": lambda: AttributeError("bad", name="name", obj=Undirected()),
    "claims_to_be_a_fault": ClaimsToBeAFault,
    "runtime_fault": lambda: RuntimeFault(object()),
    "asyncio": asyncio.InvalidStateError,
    "class": lambda: ValueError,
}
