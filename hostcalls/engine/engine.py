"""The engine of a node: what all its guests share.

It owns Wasmtime's engine with the pooling allocator, the tick thread that makes running guests give way, the worker
threads for guests that compute, and the compiled modules.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from hostcalls.engine._engine import ffi, lib
from hostcalls.engine.cache import CompileCache
from hostcalls.engine.config import EngineConfig
from hostcalls.engine.errors import EngineUnavailable, Exhausted, LinkError, NoMemory, StartError, StartTrapped
from hostcalls.engine.instance import Instance
from hostcalls.engine.library import load_library, take_text
from hostcalls.engine.limits import Limits
from hostcalls.engine.linked import Import, Linked
from hostcalls.engine.module import Module
from hostcalls.engine.traptable import read_trap


class Engine:
    """Runs guests. One for each node; it must be closed.

    Args:
        config: its sizes.

    Raises:
        EngineUnavailable: Wasmtime's shared library is missing or has another major version.
        InvalidConfig: this machine cannot give what `config` asks for.
    """

    def __init__(self, *, config: EngineConfig = EngineConfig()) -> None: ...

    def compile(self, source: bytes) -> Module:
        """Return the module compiled from the binary WebAssembly `source`.

        The same source gives the same object while that is in use, and is not compiled again while it is in the
        cache directory. Compiling takes a long time (about a second for a megabyte), may be done from any
        thread, and releases the interpreter lock.

        Raises:
            InvalidModule: Wasmtime refuses the source; the message says why.
            EngineUnavailable: the engine is closed.
        """

    def link(self, module: Module, hostcalls: Sequence[Import]) -> Linked:
        """Return `module` joined with those of `hostcalls` that it imports.

        Always there besides: `selium::async` / `yield_now`. The same module and hostcalls give the same object while
        that is in use.

        Raises:
            LinkError: the module imports something else, or with another type.
            EngineUnavailable: the engine is closed.
        """

    def instantiate(self, linked: Linked, limits: Limits, wake: Callable[[], None]) -> Instance:
        """Return a new guest: instantiated, start function run, memory grown to 16 MiB, mailbox made.

        Args:
            linked: from `link`.
            limits: what the guest may use.
            wake: see `Instance.wake`.

        Raises:
            Exhausted: there is no place for another guest.
            NoMemory: the module exports no memory.
            StartTrapped: the start function trapped or exceeded `limits.start_time`.
            StartError: Wasmtime could not instantiate the module; for instance, its memory exceeds the limits.
            EngineUnavailable: the engine is closed.
        """

    def fileno(self) -> int:
        """Return a descriptor that is readable while `dispatch` has something to do."""

    def dispatch(self) -> None:
        """Take back every guest whose run on a worker has come to a stop, and call its `wake`. Does not block."""

    def close(self) -> None:
        """Close every instance, stop the threads and release everything. May be called any number of times."""
