"""The sizes of one engine.

All guests of an engine share one pooling allocator: address space for `max_guests` linear memories and
stacks is reserved at once and committed page by page as guests touch it. The kernel counts mappings, not
bytes: each running guest costs up to six of the process's `vm.max_map_count`, which is therefore what
bounds `max_guests`.

If the address space allows, each linear memory has 4 GiB of it: then the code that Wasmtime makes needs no
bounds checks, since whatever a 32-bit address reaches belongs to that guest or to nobody.
"""

from __future__ import annotations

from pathlib import Path

import attrs

from enfilade.fields import by_annotation, instance_of
from enfilade.hostcalls.engine.errors import InvalidConfig
from enfilade.hostcalls.engine.limits import KIBIBYTE, MEBIBYTE

MAPPINGS_PER_GUEST = 6
"""Memory mappings that one guest needs: a stack and its guard page, and a linear memory in four parts:
before, in and behind the module's initial data, and what is not yet grown."""

MAPPINGS_PER_PLACE = 2
"""Those of them that are there from the beginning: the stacks."""

SPARE_MAPPINGS = 4096
"""Mappings that are left for everything else in the process."""

MAX_TABLE_ELEMENTS = 20_000
"""Elements that a table of any guest can have."""

_FUEL = 1_000_000
"""Fuel after which a guest of a deterministic engine gives way."""

_ADDRESS_SPACE = 1 << 46
_ADDRESS_SPACE_SHARE = 1 << 45
_FULL_RESERVATION = 4096 * MEBIBYTE
_FULL_GUARD = 32 * MEBIBYTE
_SMALL_GUARD = 64 * KIBIBYTE
_MAX_MAP_COUNT = Path("/proc/sys/vm/max_map_count")
_MAPPINGS = Path("/proc/self/maps")
_NO_LIMIT = 1 << 62

_IS_DIRECTORY = instance_of((Path, type(None)), "a Path, or None to keep compiled modules in memory alone")


@attrs.frozen(kw_only=True, field_transformer=by_annotation)
class EngineConfig:
    """Sizes and places of an engine, fixed while it lives.

    Attributes:
        max_guests: guests that can exist at one time.
        max_memory: bytes that the linear memory of any guest can reach; a multiple of 64 KiB, at most 4
            GiB.
        max_source: bytes of the longest module that is compiled.
        max_functions: functions of a module that is compiled.
        max_function: bytes of the longest function in it.
        compile_memory: bytes of memory that compiling a module may take, in a process of its own.
        compile_time: seconds of processor that it may take there; on the clock twice as many.
        stack: bytes of wasm stack of each guest; more is the trap `TrapKind.STACK_OVERFLOW`.
        cache_directory: where compiled modules are kept between runs, or None to keep them in memory alone.
            It is not used unless it belongs to this user and nobody else can write there: its files are
            machine code.
        tick: seconds between two looks at whether a running guest must give way.
        workers: threads on which computing guests run beside the caller; 0 forbids `Instance.offload`.
        deterministic: count what guests do, instead of the time that it takes: each gives way after
            1,000,000 units of fuel, about as many simple instructions, and its limits of time count one unit
            as a nanosecond. The same guest then runs in the same way every time, by about a tenth slower, and
            the bits of not-a-number are always the same. Without workers only.
    """

    max_guests: int = 4000
    max_memory: int = 256 * MEBIBYTE
    max_source: int = 32 * MEBIBYTE
    max_functions: int = 100_000
    max_function: int = MEBIBYTE
    compile_memory: int = 1024 * MEBIBYTE
    compile_time: float = 60.0
    stack: int = 512 * KIBIBYTE
    cache_directory: Path | None = attrs.field(default=None, validator=_IS_DIRECTORY)
    tick: float = 0.001
    workers: int = 2
    deterministic: bool = False

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.max_guests <= 1_000_000:
            raise InvalidConfig(f"max_guests must be from 1 to 1,000,000, got {self.max_guests}")
        if not 64 * KIBIBYTE <= self.max_memory <= 4096 * MEBIBYTE or self.max_memory % (64 * KIBIBYTE):
            raise InvalidConfig(
                f"max_memory must be a multiple of 64 KiB and at most 4 GiB, got {self.max_memory}"
            )
        for name in ("max_source", "max_functions", "max_function", "compile_memory", "compile_time"):
            if not getattr(self, name) > 0:
                raise InvalidConfig(f"{name} must be positive, got {getattr(self, name)}")
        if not 16 * KIBIBYTE <= self.stack <= 64 * MEBIBYTE:
            raise InvalidConfig(f"stack must be from 16 KiB to 64 MiB, got {self.stack}")
        if not 0.0001 <= self.tick <= 1.0:
            raise InvalidConfig(f"tick must be from 0.0001 to 1 seconds, got {self.tick}")
        if not 0 <= self.workers <= 64:
            raise InvalidConfig(f"workers must be from 0 to 64, got {self.workers}")
        if self.deterministic and self.workers:
            raise InvalidConfig(
                f"a deterministic engine must have no workers, and workers is {self.workers}: say workers=0"
            )
        if self.max_guests * self.max_memory > _ADDRESS_SPACE:
            raise InvalidConfig(
                f"{self.max_guests} guests of {self.max_memory} bytes need more address space than there is; "
                "lower max_guests or max_memory"
            )

    @property
    def reservation(self) -> tuple[int, int]:
        """The bytes of address space for each linear memory, and behind it."""
        if self.max_guests * (_FULL_RESERVATION + _FULL_GUARD) <= _ADDRESS_SPACE_SHARE:
            return _FULL_RESERVATION, _FULL_GUARD
        return self.max_memory, _SMALL_GUARD

    @property
    def sizes(self) -> dict[str, int]:
        """These sizes, as the shim has them."""
        return {
            "max_guests": self.max_guests,
            "max_memory": self.max_memory,
            "reservation": self.reservation[0],
            "guard": self.reservation[1],
            "max_elements": MAX_TABLE_ELEMENTS,
            "wasm_stack": self.stack,
            "tick": round(self.tick * 1e9),
            "workers": self.workers,
            "fuel": _FUEL if self.deterministic else 0,
        }

    def check_mappings(self) -> None:
        """Raise `InvalidConfig` if the kernel does not grant this process the mappings that the guests need.

        An engine that is alone must have enough for all its guests; one beside others, for its own stacks.
        """
        limit, present = granted_mappings(), _present_mappings()
        needed = self.max_guests * MAPPINGS_PER_GUEST + SPARE_MAPPINGS
        if needed > limit:
            raise InvalidConfig(
                f"{self.max_guests} guests need about {needed} memory mappings, the kernel grants {limit}, "
                f"enough for {most_guests()}; lower max_guests, or raise vm.max_map_count: "
                f"sysctl vm.max_map_count={needed}"
            )
        stacks = self.max_guests * MAPPINGS_PER_PLACE
        needed = present + stacks + SPARE_MAPPINGS
        if needed > limit:
            raise InvalidConfig(
                f"{self.max_guests} guests need {stacks} memory mappings at once; "
                f"the kernel grants {limit}, and {present} are in use; "
                f"lower max_guests, or raise vm.max_map_count: sysctl vm.max_map_count={needed}"
            )


def granted_mappings() -> int:
    """The memory mappings that the kernel grants a process (vm.max_map_count)."""
    try:
        return int(_MAX_MAP_COUNT.read_text())
    except OSError:
        return _NO_LIMIT


def _present_mappings() -> int:
    try:
        return _MAPPINGS.read_bytes().count(b"\n")
    except OSError:
        return 0


def most_guests() -> int:
    """Compute how many guests one process can hold with the mappings that the kernel grants."""
    return max(0, granted_mappings() - SPARE_MAPPINGS) // MAPPINGS_PER_GUEST
