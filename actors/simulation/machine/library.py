"""The parts of the standard library that give the machine: its time, its chance, its names.

Code of a life gets the world's; all other code gets the machine's, as before. Most of it is reached through
attributes of modules. The class `datetime` is not: who has imported it has it for good, and so its methods
are replaced themselves.
"""

from __future__ import annotations

import ctypes
import datetime
import gc
import hashlib
import os
import random
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from enfilade.actors.simulation.machine.custody import LIFE, Life

__all__ = ["Machine", "block", "by_life", "clocks_replaced", "functions"]

COUNTERS: Final = ("_last_timestamp", "_last_timestamp_v6", "_last_timestamp_v7")
"""What `uuid` keeps of its last numbers, by version of Python: they must not come from another world."""

NODE_BYTES: Final = 6
MULTICAST: Final = 1 << 40
"""The bit of a node's number in a UUID that says that it is no address of real hardware."""


class Machine(Protocol):
    """The machines of a world, as the library sees them."""

    def monotonic(self, life: Life) -> float:
        """Return the monotonic time of a life."""
        ...

    def unix_time(self, life: Life) -> float:
        """Return the wall-clock time of a life."""
        ...

    def chance_of(self, life: Life) -> Any:
        """Return the stream of draws that belongs to a life."""
        ...

    def processor_time(self, life: Life) -> float:
        """Return the seconds that a life has computed."""
        ...

    def process_of(self, life: Life) -> int:
        """Return the number of a life's process."""
        ...


def block(seconds: float) -> None:
    """Let the code of a host that runs now hold its loop for so many seconds, as a computation would. What
    `time.sleep` does there, too.

    Args:
        seconds: virtual seconds of that host's processor.

    Raises:
        RuntimeError: this is no code of a host.
        ValueError: less than 0 seconds.
    """
    life = LIFE.get()
    if life is None:
        raise RuntimeError("only code of a simulated host can hold its loop: see World.on")
    if not seconds >= 0:
        raise ValueError(f"expected at least 0 seconds, got {seconds!r}")
    life.spend(seconds)


def by_life(real: Callable[..., Any], simulated: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is `simulated`, with the life as its first argument, for code of a life, and
    `real` for all other code.
    """

    def either(*args: Any, **kwargs: Any) -> Any:
        life = LIFE.get()
        return real(*args, **kwargs) if life is None else simulated(life, *args, **kwargs)

    return either


def functions(machine: Machine) -> Iterator[tuple[Any, str, Any]]:
    """The attributes that are replaced: whose, their names, and what takes their place."""
    for owner, name, simulated in (*_times(machine), *_draws(machine), *_names(machine)):
        yield owner, name, by_life(getattr(owner, name), simulated)
    yield random.Random, "seed", _seeding(machine)
    yield random, "seed", lambda *args, **kwargs: random.Random.seed(_GLOBAL, *args, **kwargs)
    for name in COUNTERS:
        if hasattr(uuid, name):
            yield uuid, name, None


_GLOBAL: Final[random.Random] = random._inst
"""The generator of the functions of `random`."""


def _times(machine: Machine) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
    def nanoseconds(seconds: Callable[[Life], float]) -> Callable[[Life], int]:
        return lambda life: round(seconds(life) * 1e9)

    def clock(life: Life, number: int) -> float:
        return (machine.unix_time if number == time.CLOCK_REALTIME else machine.monotonic)(life)

    def clock_ns(life: Life, number: int) -> int:
        return round(clock(life, number) * 1e9)

    def parts(make: Callable[[float], Any]) -> Callable[..., Any]:
        return lambda life, seconds=None: make(machine.unix_time(life) if seconds is None else seconds)

    def text(life: Life, form: str, *moment: Any) -> str:
        return strftime(form, *(moment or (localtime(machine.unix_time(life)),)))

    def ascii_text(life: Life, *moment: Any) -> str:
        return asctime(*(moment or (localtime(machine.unix_time(life)),)))

    strftime, asctime, localtime = time.strftime, time.asctime, time.localtime
    for name, simulated in (("time", machine.unix_time), ("monotonic", machine.monotonic)):
        yield time, name, simulated
        yield time, f"{name}_ns", nanoseconds(simulated)
    yield time, "perf_counter", machine.monotonic
    yield time, "perf_counter_ns", nanoseconds(machine.monotonic)
    for name in ("process_time", "thread_time"):
        yield time, name, machine.processor_time
        yield time, f"{name}_ns", nanoseconds(machine.processor_time)
    yield time, "sleep", Life.spend
    yield time, "clock_gettime", clock
    yield time, "clock_gettime_ns", clock_ns
    for name in ("localtime", "gmtime", "ctime"):
        yield time, name, parts(getattr(time, name))
    yield time, "strftime", text
    yield time, "asctime", ascii_text


def _draws(machine: Machine) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
    def entropy(life: Life, count: int, *_flags: int) -> bytes:
        return machine.chance_of(life).bytes(count)  # type: ignore[no-any-return]

    yield os, "urandom", entropy
    yield random, "_urandom", entropy
    if hasattr(os, "getrandom"):
        yield os, "getrandom", entropy


def _seeding(machine: Machine) -> Callable[..., None]:
    """What seeds a generator: without a seed, one of a life is seeded by the life's chance."""
    seed = random.Random.seed

    def simulated(self: random.Random, a: Any = None, version: int = 2) -> None:
        life = LIFE.get()
        if a is None and life is not None:
            a = machine.chance_of(life).bytes(32)
        seed(self, a, version)

    return simulated


def _names(machine: Machine) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
    def card(life: Life) -> int:
        digest = hashlib.blake2b(life.name.encode(), digest_size=NODE_BYTES).digest()
        return int.from_bytes(digest, "big") | MULTICAST

    def numbered(life: Life, node: int | None = None, clock_seq: int | None = None) -> uuid.UUID:
        return uuid1(card(life) if node is None else node, clock_seq)  # which draws `clock_seq` by `random`

    uuid1 = uuid.uuid1
    yield os, "getpid", machine.process_of
    yield os, "uname", lambda life: os.uname_result(("Linux", life.name, "", "", ""))
    yield socket, "gethostname", lambda life: life.name
    yield uuid, "getnode", card
    yield uuid, "uuid1", numbered


@contextmanager
def clocks_replaced(machine: Machine) -> Iterator[None]:
    """Let `datetime.now` and `datetime.utcnow` tell code of a life its time, for the length of a block."""
    real = datetime.datetime
    methods = gc.get_referents(real.__dict__)[0]
    kept = {name: methods[name] for name in ("now", "utcnow")}

    def now(cls: Any, tz: datetime.tzinfo | None = None) -> datetime.datetime:
        life = LIFE.get()
        if life is None:
            return kept["now"].__get__(None, cls)(tz)  # type: ignore[no-any-return]
        return cls.fromtimestamp(machine.unix_time(life), tz)  # type: ignore[no-any-return]

    def utcnow(cls: Any) -> datetime.datetime:
        life = LIFE.get()
        if life is None:
            return kept["utcnow"].__get__(None, cls)()  # type: ignore[no-any-return]
        return cls.fromtimestamp(machine.unix_time(life), datetime.UTC).replace(tzinfo=None)  # type: ignore[no-any-return]

    try:
        _put(methods, now=classmethod(now), utcnow=classmethod(utcnow))
        yield
    finally:
        _put(methods, **kept)


def _put(methods: dict[str, Any], **changed: Any) -> None:
    """Put methods into a class of the interpreter, which forgets what it has remembered of them."""
    methods.update(changed)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime.datetime))
