"""The engine of a node: what all its guests share.

It owns Wasmtime's engine with the pooling allocator, the tick thread that makes running guests give way,
the worker threads for guests that compute, and the compiled modules.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import threading
from collections.abc import Callable, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from enfilade.hostcalls.engine._engine import ffi, lib
from enfilade.hostcalls.engine.cache import CompileCache
from enfilade.hostcalls.engine.config import EngineConfig, granted_mappings, most_guests
from enfilade.hostcalls.engine.errors import (
    EngineUnavailable,
    Exhausted,
    InvalidConfig,
    InvalidModule,
    LinkError,
    NoMemory,
    StartError,
    StartTrapped,
)
from enfilade.hostcalls.engine.instance import Instance
from enfilade.hostcalls.engine.library import load_library, take_text
from enfilade.hostcalls.engine.limits import Limits
from enfilade.hostcalls.engine.linked import Import, Linked
from enfilade.hostcalls.engine.module import Module, compile_module, load_module, save_module
from enfilade.hostcalls.engine.outline import check_outline
from enfilade.hostcalls.engine.purse import Purse, nanoseconds
from enfilade.hostcalls.engine.recent import Recent
from enfilade.hostcalls.engine.traps import read_trap

_STOPPED_AT_ONCE = 64
_MODULES_KEPT = 64
_LINKS_KEPT = 128
_LIMITS_KEPT = 64
_OPEN_READY = lib.OPEN_READY
_guest_open = lib.guest_open
_OUT_OF_MEMORY = f"(os error {errno.ENOMEM})"


def _cached(loaded: Any, digest: str) -> Module:
    if loaded is None:
        raise LookupError(digest)
    return Module(loaded, digest)


class Engine:
    """Runs guests. One for each node; it must be closed, and is a context manager that does so.

    `compile` and `link` may be called from any thread, everything else from the thread that runs the loop.

    Args:
        config: its sizes.
        clock: seconds, by which turns are measured.
        charge: told how many seconds the guests of a deterministic engine have used the processor for, before
            each question to the clock: a simulated clock stands still while guests run.

    Raises:
        EngineUnavailable: Wasmtime's shared library is missing or has another major version.
        InvalidConfig: this machine cannot give what `config` asks for.
    """

    def __init__(
        self,
        *,
        config: EngineConfig | None = None,
        clock: Callable[[], float] = perf_counter,
        charge: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        self.config = config if config is not None else EngineConfig()
        self.config.check_mappings()
        version = load_library()
        self._engine = self._open()
        self._clock = self._counted(clock, charge) if self.config.deterministic else clock
        self._compiler = ffi.gc(lib.compiler_open(self._engine), lib.compiler_free)
        self._modules: Recent[str, Module] = Recent(_MODULES_KEPT)
        self._links: Recent[tuple[str, tuple[Import, ...]], Linked] = Recent(_LINKS_KEPT)
        self._using_modules = threading.Lock()
        self._instances: dict[int, Instance] = {}
        self._forget = self._instances.__delitem__
        self._keys = itertools.count(1)
        self._outcome = ffi.new("int *")
        self._error = ffi.new("char **")
        self._limits: dict[Limits, Any] = {}
        self._latest_limits: Limits | None = None  # most guests have those of the guest before
        self._latest: Any = None
        self._found = ffi.new("stopped_guest[]", _STOPPED_AT_ONCE)
        self._stage = ffi.buffer(lib.engine_stage(self._engine), lib.STAGE_SIZE)
        self._cache: CompileCache | None = None
        if self.config.cache_directory is not None:
            fingerprint = f"wasmtime {version} memory {self.config.reservation} stack {self.config.stack}"
            if self.config.deterministic:
                fingerprint += " fuel"
            self._cache = CompileCache(self.config.cache_directory, fingerprint)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def compile(self, source: bytes) -> Module:
        """Return the module compiled from the binary WebAssembly `source`.

        The same source gives the same object while that is in use or among the latest, and is not compiled
        again while it is in the cache directory. Compiling takes a long time (about a second for a
        megabyte), may be done from any thread, and releases the interpreter lock.

        Raises:
            InvalidModule: the source exceeds a size in `EngineConfig`, or Wasmtime refuses it; the message
                says why.
            EngineUnavailable: the engine is closed.
        """
        compiler = self._compiler_opened()
        check_outline(source, self.config)
        digest = hashlib.sha256(source).hexdigest()

        def make() -> Module:
            loaded = self._load(compiler, digest)
            return Module(loaded or self._compile(compiler, digest, bytes(source)), digest)

        return self._made(self._modules.find(digest, make))

    def find(self, source: bytes) -> Module | None:
        """Return the module of `source` if it need not be compiled: it is in use, among the latest, or in the
        cache directory. None otherwise. May be called from any thread.

        Raises: as `compile`, when the outline of the source is refused.
        """
        compiler = self._compiler_opened()
        check_outline(source, self.config)
        digest = hashlib.sha256(source).hexdigest()
        try:
            return self._made(
                self._modules.find(digest, lambda: _cached(self._load(compiler, digest), digest))
            )
        except LookupError:
            return None

    def load(self, source: bytes, artifact: bytes) -> Module:
        """Return the module of `source` from the machine code that a compiler of the same sizes made of it.

        The machine code is believed: it may come only from a process of this program. May be called from any
        thread. Raises `InvalidModule` if it was made for other sizes, `EngineUnavailable` if the engine is
        closed.
        """
        compiler = self._compiler_opened()
        digest = hashlib.sha256(source).hexdigest()

        def make() -> Module:
            module = Module(load_module(compiler, artifact), digest)
            if self._cache is not None:
                self._cache.write(digest, artifact)
            return module

        return self._made(self._modules.find(digest, make))

    def link(self, module: Module, hostcalls: Sequence[Import]) -> Linked:
        """Return `module` joined with those of `hostcalls` that it imports.

        Always there besides: `selium::async` / `yield_now`. The same module and hostcalls give the same
        object while that is in use or among the latest.

        Raises:
            LinkError: the module imports something else, or with another type.
            EngineUnavailable: the engine is closed.
        """
        wanted = {extern.module_name for extern in module.imports}
        granted = tuple(sorted({hostcall for hostcall in hostcalls if hostcall.module_name in wanted}))
        return self._links.find((module.digest, granted), lambda: self._link(module, granted))

    def instantiate(
        self, linked: Linked, limits: Limits, wake: Callable[[], None], purse: Purse | None = None
    ) -> Instance:
        """Return a new guest: instantiated, start function run, memory grown to 16 MiB, mailbox made.

        Args:
            linked: from `link`.
            limits: what the guest may use.
            wake: see `Instance.wake`.
            purse: what it may use together with others; None for no bound but its own.

        Raises:
            Exhausted: there is no place for another guest.
            NoMemory: the module exports no memory.
            StartTrapped: the start function trapped or exceeded `limits.start_time`.
            StartError: Wasmtime could not instantiate the module; for instance, its memory exceeds the
                limits. What comes for want of memory or mappings is `Exhausted`.
            EngineUnavailable: the engine is closed.
        """
        engine = self._engine
        if engine is None:
            raise EngineUnavailable("the engine is closed")
        key = next(self._keys)
        if limits is not self._latest_limits:
            self._latest = self._limits.get(limits) or self._shim_limits(limits)
            self._latest_limits = limits
        guest = _guest_open(
            engine,
            linked._linked,
            self._latest,
            ffi.NULL if purse is None else purse._purse,
            key,
            self._outcome,
            self._error,
        )
        outcome = self._outcome[0]
        if outcome == _OPEN_READY:
            instance = self._instances[key] = Instance(
                guest, key, linked, wake, self._clock, self._stage, self._forget
            )
            return instance
        if outcome == lib.OPEN_TRAPPED:
            trap = read_trap(guest)
            lib.guest_close(guest)
            raise StartTrapped(trap)
        if outcome == lib.OPEN_EXHAUSTED:
            raise Exhausted(
                f"all {self.config.max_guests} places for guests are taken (EngineConfig.max_guests); "
                f"this machine has mappings for {most_guests()} (vm.max_map_count)"
            )
        if outcome == lib.OPEN_NO_MEMORY:
            raise NoMemory("the module exports no memory named 'memory'")
        text = take_text(self._error)
        if _OUT_OF_MEMORY in text:
            raise Exhausted(
                f"the kernel has no memory or no mappings for another guest: {text}; "
                f"a process may have {granted_mappings()} mappings, or raise vm.max_map_count"
            )
        raise StartError(text)

    @property
    def guests(self) -> int:
        """Number of guests, including closed ones that still run on a worker."""
        return int(lib.engine_guests(self._opened()))

    def fileno(self) -> int:
        """Return a descriptor that is readable while `dispatch` has something to do."""
        return int(lib.engine_fileno(self._opened()))

    def dispatch(self) -> None:
        """Take back every guest whose run on a worker has come to a stop, and call its `wake`.

        Does not block. Raises `EngineUnavailable` if the engine is closed.
        """
        engine = self._opened()
        while count := lib.engine_stopped(engine, self._found, _STOPPED_AT_ONCE):
            stopped = [(entry.key, entry.word) for entry in self._found[0:count]]
            for key, word in stopped:
                instance = self._instances.get(key)
                if instance is not None:
                    instance._stopped(word)
            if count < _STOPPED_AT_ONCE:
                break

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        return self._engine is None

    def close(self) -> None:
        """Close every instance, stop the threads and release everything. May be called any number of times.

        Of modules that somebody still holds only the description is left. It waits for guests on workers to
        stop, about a tick.
        """
        if self._engine is not None:
            for instance in list(self._instances.values()):
                instance.close()
            engine = self._engine
            self._engine = self._compiler = None
            lib.engine_close(engine)
            self._release()

    def _release(self) -> None:
        """Release compiled code, and with the last of it what the pool has reserved."""
        with self._using_modules:
            for linked in self._links.clear():
                ffi.release(linked._linked)
            for module in self._modules.clear():
                ffi.release(module._module)

    def _open(self) -> Any:
        sizes = ffi.new("engine_sizes *", self.config.sizes)
        error = ffi.new("char **")
        engine = lib.engine_open(sizes, error)
        if engine == ffi.NULL:
            raise InvalidConfig(take_text(error))
        return engine

    def _counted(self, clock: Callable[[], float], charge: Callable[[float], object]) -> Callable[[], float]:
        """The clock of an engine whose guests are on fuel: what they have used is charged first."""

        def now() -> float:
            engine = self._engine
            if engine is None:  # closed: no guest runs any more
                return clock()
            charge(lib.engine_take_spent(engine) * 1e-9)
            moment = clock()
            lib.engine_set_clock(engine, round(moment * 1e9))
            return moment

        return now

    def _opened(self) -> Any:
        if self._engine is None:
            raise EngineUnavailable("the engine is closed")
        return self._engine

    def _compiler_opened(self) -> Any:
        # Read once: another thread may close the engine in between.
        compiler = self._compiler
        if compiler is None:
            raise EngineUnavailable("the engine is closed")
        return compiler

    def _load(self, compiler: Any, digest: str) -> Any:
        artifact = self._cache.read(digest) if self._cache is not None else None
        if artifact is None:
            return None
        try:
            return load_module(compiler, artifact)
        except InvalidModule:
            return None

    def _compile(self, compiler: Any, digest: str, source: bytes) -> Any:
        module = compile_module(compiler, source)
        if self._cache is not None:
            self._cache.write(digest, save_module(module))
        return module

    def _made(self, module: Module) -> Module:
        """Return what another thread has made, unless the engine was closed meanwhile."""
        if self.closed:
            self._release()
            self._compiler_opened()
        return module

    def _link(self, module: Module, granted: tuple[Import, ...]) -> Linked:
        names = [ffi.new("char[]", hostcall.module_name.encode()) for hostcall in granted]
        imports = ffi.new("hostcall_import[]", len(granted))
        for entry, hostcall, name in zip(imports, granted, names, strict=True):
            entry.module_name = name
            entry.index = hostcall.index
            entry.denied = hostcall.denied
            entry.clock = hostcall.clock
            entry.returns = hostcall.returns
        error = ffi.new("char **")
        with self._using_modules:
            linked = lib.linked_open(self._compiler_opened(), module._module, imports, len(granted), error)
        if linked == ffi.NULL:
            raise LinkError(take_text(error))
        return Linked(module, ffi.gc(linked, lib.linked_free))

    def _shim_limits(self, limits: Limits) -> Any:
        shim_limits = ffi.new(
            "guest_limits *",
            {
                "memory": min(limits.memory, self.config.max_memory),
                "table_elements": limits.table_elements,
                "futures": min(limits.futures, 0xFFFF_FFFE),
                "queued_bytes": limits.queued_bytes,
                "cpu_time": nanoseconds(limits.cpu_time),
                "cpu_renewal": limits.cpu_renewal,
                "start_time": nanoseconds(limits.start_time),
            },
        )
        if len(self._limits) >= _LIMITS_KEPT:
            self._limits.clear()
        self._limits[limits] = shim_limits
        return shim_limits
