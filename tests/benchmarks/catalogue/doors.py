"""Doors from Python: call and reply between two OS processes, by size and by number of callers."""

from tests.benchmarks.benchmark import Benchmark, Entry

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


DOORS: tuple[Benchmark, ...] = (
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
