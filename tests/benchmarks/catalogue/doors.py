"""Doors: call and reply between two OS processes, from C and from Python, by size and number of callers."""

from tests.benchmarks.benchmark import Benchmark, Entry
from tests.benchmarks.goals import DOOR_CALL, DOOR_CROWD, DOOR_LARGE, Goal

_FLOORS = (
    Entry("stream/pipe"),
    Entry("stream/socket"),
    Entry("multiprocessing"),
    Entry("zmq"),
    Entry("grpc"),
)


def _calls(name: str, operation: str, calls: int, size: int, clients: int = 1, cpus: int = 2) -> Benchmark:
    entries = (
        Entry("enfilade/door"),
        *_FLOORS[:-1],
        Entry("grpc", {"calls": max(1, calls // 4)}),
    )
    return Benchmark(
        name=name,
        group="doors",
        operation=operation,
        parameters={"calls": calls, "size": size, "clients": clients},
        quick={"calls": 3, "size": size, "clients": clients},
        entries=entries,
        cpus=cpus,
        kernel="door-call",
    )


def _calls_in_c(
    name: str,
    operation: str,
    calls: int,
    size: int = 64,
    clients: int = 1,
    cpus: int = 2,
    goals: tuple[Goal, ...] = (),
) -> Benchmark:
    return Benchmark(
        name=name,
        group="doors",
        operation=f"C to C: {operation}",
        parameters={"calls": calls, "size": size, "clients": clients},
        quick={"calls": 3, "size": size, "clients": clients},
        entries=(Entry("enfilade/door in C"), Entry("C")),
        goals=goals,
        cpus=cpus,
        kernel="door-in-c",
    )


_AS_FAST_AS_A_SOCKET = Goal(DOOR_CALL, "enfilade/door in C", 1.3, against="C/seqpacket")
_AS_FAST_AS_ANYTHING = Goal(DOOR_LARGE, "enfilade/door in C", 1.0, against="C")
_AS_FAST_AS_PIPES = Goal(DOOR_CROWD, "enfilade/door in C", 1.0, against="C/pipe")

DOORS: tuple[Benchmark, ...] = (
    _calls_in_c(
        "door-in-c",
        "call with 64 bytes each way, both on one CPU",
        20_000,
        cpus=1,
        goals=(_AS_FAST_AS_A_SOCKET,),
    ),
    _calls_in_c(
        "door-in-c-apart",
        "call with 64 bytes each way, on two CPUs",
        10_000,
        goals=(_AS_FAST_AS_A_SOCKET,),
    ),
    _calls_in_c("door-in-c-0", "call without data", 10_000, size=0),
    _calls_in_c("door-in-c-4k", "call with 4 KiB each way", 10_000, size=2**12),
    _calls_in_c("door-in-c-64k", "call with 64 KiB each way", 1_000, size=2**16),
    _calls_in_c("door-in-c-1m", "call with 1 MiB each way", 100, size=2**20, goals=(_AS_FAST_AS_ANYTHING,)),
    _calls_in_c("door-in-c-16m", "call with 16 MiB each way", 5, size=2**24, goals=(_AS_FAST_AS_ANYTHING,)),
    _calls_in_c(
        "door-in-c-4-clients",
        "call with 64 bytes, four processes calling",
        2_000,
        clients=4,
        goals=(_AS_FAST_AS_PIPES,),
    ),
    _calls_in_c(
        "door-in-c-16-clients",
        "call with 64 bytes, sixteen processes calling",
        500,
        clients=16,
        goals=(_AS_FAST_AS_PIPES,),
    ),
    _calls("door-call-0", "call without data", 4_000, 0),
    _calls("door-call-64", "call with 64 bytes each way", 4_000, 64),
    _calls(
        "door-call-64-one-cpu", "call with 64 bytes each way, both processes on one CPU", 4_000, 64, cpus=1
    ),
    _calls("door-call-1k", "call with 1 KiB each way", 4_000, 2**10),
    _calls("door-call-64k", "call with 64 KiB each way", 1_000, 2**16),
    _calls("door-call-1m", "call with 1 MiB each way", 100, 2**20),
    _calls("door-call-16m", "call with 16 MiB each way", 10, 2**24),
    _calls("door-call-4-clients", "call with 64 bytes, four processes calling", 1_000, 64, clients=4),
    _calls("door-call-16-clients", "call with 64 bytes, sixteen processes calling", 250, 64, clients=16),
)
