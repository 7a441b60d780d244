"""Guests: spawning them, their hostcalls, messages to them, their memory, and computing beside the loop."""

from tests.benchmarks.benchmark import Benchmark, Entry, Goal

_PACKAGE, _RAW = "wasmtime/package", "wasmtime/C API"

GUESTS: tuple[Benchmark, ...] = (
    Benchmark(
        name="guest-spawn",
        group="guests",
        operation="guest from a cached module: instance, 16 MiB of memory, call begun, all of it gone again",
        parameters={"guests": 2_000},
        quick={"guests": 4},
        entries=(Entry("enfilade/engine"), Entry("enfilade/guest"), Entry(_RAW), Entry(_PACKAGE)),
        goals=(
            Goal("enfilade/engine", 3.0, against=_RAW),
            Goal("enfilade/guest", 3.0, against=_RAW),
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
            Goal("enfilade/engine", 5e-6),
            Goal("enfilade/engine", 0.1, against=_PACKAGE),
            Goal("enfilade/guest", 5e-6),
            Goal("enfilade/guest", 0.1, against=_PACKAGE),
        ),
    ),
    Benchmark(
        name="guest-call",
        group="guests",
        operation="request to a guest and its answer, 64 bytes each",
        parameters={"calls": 5_000, "size": 64},
        quick={"calls": 5, "size": 64},
        entries=(Entry("enfilade/guest"), Entry(_PACKAGE)),
    ),
    Benchmark(
        name="guest-memory",
        group="guests",
        operation="resident memory of one of 10,000 idle guests",
        parameters={"guests": 10_000},
        quick={"guests": 50},
        entries=(Entry("enfilade/guest"),),
        goals=(Goal("enfilade/guest", 25_000),),
        unit="bytes",
        cold=True,
    ),
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
