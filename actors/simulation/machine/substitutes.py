"""Substitutes for what the machine gives to Python code: time, chance, threads.

While a world runs, some functions of the standard library and of trio are replaced. Code that belongs to a
life gets the world's time and chance from them; all other code gets the machine's, as before. What a world
cannot give (a thread, a process, a socket) is refused at the place where it is asked for.
"""

from __future__ import annotations

import _thread
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Protocol

import trio

from enfilade.actors.simulation.machine.clock import SimulationClock
from enfilade.actors.simulation.machine.custody import LIFE, Life
from enfilade.actors.simulation.machine.entropy import Entropy
from enfilade.actors.simulation.machine.library import Machine, by_life, clocks_replaced, functions
from enfilade.actors.simulation.machine.scheduler import ordered
from enfilade.actors.simulation.machine.trespassing import trespassers_refused
from enfilade.transport import closing
from enfilade.transport.mesh import witness
from enfilade.transport.mesh.lease import Place

__all__ = ["Nondeterministic", "Source", "check_alone", "put_back", "replaced"]


class Nondeterministic(RuntimeError):
    """Code of a simulated host asks for something real, whose outcome no seed determines."""


class Source(Machine, Protocol):
    """The world, as the substitutes see it."""

    entropy: Entropy
    clock: SimulationClock

    def started(self, process: int) -> int | None:
        """Return when a process has started; None if there is none."""
        ...

    async def run_blocking(self, life: Life, function: Callable[..., Any], *args: Any, **how: Any) -> Any:
        """Run a function of a life that blocks, in place of a thread."""
        ...

    def refused(self, error: Nondeterministic) -> None:
        """Take note that a life has asked for something real."""
        ...


REFUSED: Final = {
    "subprocess.Popen": "starts a process",
    "os.fork": "forks",
    "os.forkpty": "forks",
    "os.exec": "starts a process",
    "os.spawn": "starts a process",
    "os.posix_spawn": "starts a process",
    "os.system": "starts a process",
    "os.kill": "sends a signal",
    "os.killpg": "sends a signal",
    "signal.pthread_kill": "sends a signal",
    "socket.__new__": "opens a socket",
    "socket.connect": "connects a socket",
    "socket.bind": "binds a socket",
    "socket.getaddrinfo": "looks up a name",
    "socket.gethostbyname": "looks up a name",
    "socket.gethostbyaddr": "looks up a name",
    "socket.getnameinfo": "looks up a name",
    "time.sleep": "sleeps in real time: call `time.sleep` as an attribute of its module",
}
"""Audit events that code in custody must not cause, and what each is."""

THREADS: Final = ("_start_new_thread", "_start_joinable_thread")
"""What `threading` starts threads with, by the version of Python; not every version has an audit event."""

_source: Source | None = None
"""The world that runs now: there is one in a process at a time."""

_open: Final[list[ExitStack]] = []
"""What undoes the replacements of that world."""

_is_audited = False


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _source is not None and event in REFUSED and LIFE.get() is not None:
        _refuse(REFUSED[event])


def _refuse(what: str) -> None:
    life, source = LIFE.get(), _source
    if life is not None and source is not None:
        error = Nondeterministic(f"code of host {life.name!r} {what}, which a simulated host cannot do")
        source.refused(error)
        raise error


def check_alone() -> None:
    """Check that a world can begin.

    Raises:
        RuntimeError: another world runs in this process.
    """
    if _source is not None:
        raise RuntimeError("another world runs in this process: end it first")


@contextmanager
def replaced(source: Source) -> Iterator[None]:
    """Replace what has to be for the length of a block, for the lives of one world.

    Raises:
        RuntimeError: another world runs in this process.
    """
    global _source, _is_audited
    check_alone()
    if not _is_audited:
        sys.addaudithook(_audit)  # which cannot be taken out again
        _is_audited = True
    with ExitStack() as stack:
        _source = source
        _open.append(stack)
        stack.callback(_release)
        stack.enter_context(ordered(source.entropy.seed))
        stack.enter_context(_generators_known())
        stack.enter_context(_lines_of_the_living())
        stack.enter_context(trespassers_refused())
        stack.enter_context(clocks_replaced(source))
        for owner, name, substitute in _substitutes(source):
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, substitute)
        yield


def _release() -> None:
    global _source
    _source = None
    _open.clear()


def put_back() -> None:
    """Put back what is still replaced after a run that has ended without having left its world's block."""
    for stack in _open:
        stack.close()


@contextmanager
def _generators_known() -> Iterator[None]:
    """Keep the asynchronous generators of lives off trio's list: it would run the cleanup of dead ones."""
    before = sys.get_asyncgen_hooks()

    def begun(generator: Any) -> None:
        life = LIFE.get()
        if life is not None:
            life.generators.add(generator)
        elif before.firstiter is not None:
            before.firstiter(generator)

    sys.set_asyncgen_hooks(begun, before.finalizer)
    try:
        yield
    finally:
        sys.set_asyncgen_hooks(*before)


class _Living(logging.Filter):
    """Says of each record which life it is of; drops those of lives that are over."""

    def filter(self, record: logging.LogRecord) -> bool:
        life, source = LIFE.get(), _source
        if life is None or source is None:
            return True
        record.node, record.life, record.virtual_time = life.name, life.number, source.monotonic(life)
        return not life.is_over


@contextmanager
def _lines_of_the_living() -> Iterator[None]:
    living = _Living()
    loggers = [
        known
        for name, known in logging.root.manager.loggerDict.items()
        if f"{name}.".startswith("enfilade.") and isinstance(known, logging.Logger)
    ]
    for logger in loggers:
        logger.addFilter(living)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(living)


def _handling(living: logging.Filter) -> Callable[[logging.Logger, logging.LogRecord], None]:
    """What the loggers of users do with a record: as those of enfilade, which have a filter for it."""
    handle = logging.Logger.callHandlers

    def handling(self: logging.Logger, record: logging.LogRecord) -> None:
        if living.filter(record):
            handle(self, record)

    return handling


def _in_place(real: Callable[..., Any], source: Source) -> Callable[..., Any]:
    """What runs a function where threads would: at once, for code of a life and for the world's test. The
    clock of the world cannot wait for a thread.
    """

    async def run_sync(function: Callable[..., Any], *args: Any, **how: Any) -> Any:
        life = LIFE.get()
        if life is not None:
            return await source.run_blocking(life, function, *args, **how)
        if trio.lowlevel.current_clock() is not source.clock:
            return await real(function, *args, **how)
        await trio.lowlevel.checkpoint()
        return function(*args)

    return run_sync


def _substitutes(source: Source) -> Iterator[tuple[Any, str, Any]]:
    """The functions that are replaced: where each is, its name, and what takes its place."""

    def refuse(what: str) -> Callable[..., Any]:
        return lambda life, *args, **kwargs: _refuse(what)

    def place(life: Life) -> Place:
        return Place(f"{life.name}/{life.name}/1", source.process_of(life), life.number)

    yield from functions(source)
    yield witness, "own_place", by_life(witness.own_place, place)
    yield witness, "started", by_life(witness.started, lambda life, process: source.started(process))
    yield closing, "close", by_life(closing.close, lambda life, descriptor: os.close(descriptor))
    threads, waits = trio.to_thread, trio.lowlevel
    yield logging.Logger, "callHandlers", _handling(_Living())
    yield threads, "run_sync", _in_place(threads.run_sync, source)
    yield threading.Condition, "wait", by_life(threading.Condition.wait, refuse("waits for a thread"))
    for name in ("select", "poll", "epoll"):
        if hasattr(select, name):
            yield select, name, by_life(getattr(select, name), refuse("waits for real descriptors"))
    for name in ("alarm", "setitimer"):
        yield signal, name, by_life(getattr(signal, name), refuse("sets a timer of the machine"))
    refused = refuse("waits in a thread for the loop")
    yield trio.from_thread, "run", by_life(trio.from_thread.run, refused)
    yield trio.from_thread, "run_sync", by_life(trio.from_thread.run_sync, refused)
    for module, name in ((_thread, "start_new_thread"), *((threading, name) for name in THREADS)):
        if hasattr(module, name):
            yield module, name, by_life(getattr(module, name), refuse("starts a thread"))
    for name in ("wait_readable", "wait_writable"):
        yield waits, name, by_life(getattr(waits, name), refuse("waits for a real descriptor"))
