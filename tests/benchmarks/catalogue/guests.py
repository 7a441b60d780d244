"""Guests: spawning them, their hostcalls, messages to them, their memory, and computing beside the loop."""

from tests.benchmarks.benchmark import Benchmark, Entry
from tests.benchmarks.goals import (
    ANCHOR_GUEST_SEND,
    ANCHOR_GUEST_SPAWN,
    GUEST_MESSAGES,
    GUEST_SPAWN,
    HOSTCALL,
    IDLE,
    Goal,
)

_PACKAGE, _RAW = "wasmtime/package", "wasmtime/C API"


def _memory(name: str, guests: int) -> Benchmark:
    return Benchmark(
        name=name,
        group="guests",
        operation=f"resident memory of one of {guests:,} idle guests",
        parameters={"guests": guests},
        quick={"guests": 50},
        entries=(Entry("enfilade/guest"),),
        goals=(Goal(IDLE, "enfilade/guest", 25_000),),
        unit="bytes",
        cold=True,
        kernel="guest-memory",
    )


GUESTS: tuple[Benchmark, ...] = (
    Benchmark(
        name="guest-spawn",
        group="guests",
        operation="guest from a cached module: instance, 16 MiB of memory, call begun, all of it gone again",
        parameters={"guests": 2_000},
        quick={"guests": 4},
        entries=(Entry("enfilade/engine"), Entry("enfilade/guest"), Entry(_RAW), Entry(_PACKAGE)),
        goals=(
            Goal(GUEST_SPAWN, "enfilade/engine", 3.0, against=_RAW),
            Goal(GUEST_SPAWN, "enfilade/guest", 3.0, against=_RAW),
            Goal(ANCHOR_GUEST_SPAWN, "enfilade/guest", 50e-6),
        ),
    ),
    Benchmark(
        name="hostcall",
        group="guests",
        operation="hostcall that Python answers: by the engine alone, and by a driver of a node",
        parameters={"calls": 50_000},
        quick={"calls": 5},
        entries=(Entry("enfilade/engine"), Entry("enfilade/guest"), Entry(_PACKAGE)),
        goals=(
            Goal(HOSTCALL, "enfilade/engine", 5e-6),
            Goal(HOSTCALL, "enfilade/engine", 0.1, against=_PACKAGE),
            Goal(HOSTCALL, "enfilade/guest", 5e-6),
            Goal(HOSTCALL, "enfilade/guest", 0.1, against=_PACKAGE),
        ),
    ),
    Benchmark(
        name="guest-clock",
        group="guests",
        operation="time::now, in a row",
        parameters={"calls": 20_000},
        quick={"calls": 5},
        entries=(Entry("enfilade/guest"),),
    ),
    Benchmark(
        name="channel-pair",
        group="guests",
        operation="write of 64 bytes to a channel of 64 KiB and read of the same, both by one guest",
        parameters={"pairs": 10_000},
        quick={"pairs": 20},
        entries=(Entry("enfilade/guest"),),
    ),
    Benchmark(
        name="guest-call",
        group="guests",
        operation="request to a guest and its answer, 64 bytes each",
        parameters={"calls": 5_000, "size": 64},
        quick={"calls": 5, "size": 64},
        entries=(Entry("enfilade/guest"), Entry(_PACKAGE)),
        goals=(Goal(GUEST_MESSAGES, "enfilade/guest", 20e-6),),
    ),
    Benchmark(
        name="guest-send",
        group="guests",
        operation="message of 64 bytes from Python to a guest",
        parameters={"messages": 10_000},
        quick={"messages": 20},
        entries=(Entry("enfilade/guest"), Entry(_PACKAGE)),
        goals=(
            Goal(GUEST_MESSAGES, "enfilade/guest", 3e-6),
            Goal(ANCHOR_GUEST_SEND, "enfilade/guest", 2e-6),
        ),
    ),
    Benchmark(
        name="guest-to-guest",
        group="guests",
        operation="call from a guest to another and its answer, 64 bytes each",
        parameters={"calls": 5_000},
        quick={"calls": 5},
        entries=(Entry("enfilade/guest"),),
        goals=(Goal(GUEST_MESSAGES, "enfilade/guest", 12e-6),),
    ),
    Benchmark(
        name="guest-kill",
        group="guests",
        operation="guest in an endless loop: spawn, 10 ms of CPU budget, end, told by a monitor",
        parameters={"guests": 10, "budget_ms": 10},
        quick={"guests": 1, "budget_ms": 5},
        entries=(Entry("enfilade/guest"), Entry(_PACKAGE)),
    ),
    Benchmark(
        name="channel",
        group="guests",
        operation="frame of 64 bytes through a channel of 64 KiB, from a guest or a task to a task",
        parameters={"frames": 10_000, "capacity": 2**16},
        quick={"frames": 20, "capacity": 2**10},
        entries=(Entry("enfilade/guest"), Entry("enfilade/function"), Entry("trio")),
        goals=(Goal(GUEST_MESSAGES, "enfilade/guest", 20e-6),),
    ),
    _memory("guest-memory", 10_000),
    _memory("guest-memory-100k", 100_000),
    Benchmark(
        name="guest-compute",
        group="guests",
        operation="two guests that count to 500 million each, on two CPUs",
        parameters={"loops": 500_000_000},
        quick={"loops": 100_000},
        entries=(Entry("enfilade/guest"), Entry(_PACKAGE)),
        cpus=2,
    ),
)
