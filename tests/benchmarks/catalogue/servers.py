"""Servers: calls, casts, deferred replies."""

from tests.benchmarks.benchmark import Benchmark, Entry
from tests.benchmarks.goals import ANCHOR_CALL, ASYNC_CALL, CALL, ONE_WAY, Goal

SERVERS: tuple[Benchmark, ...] = (
    Benchmark(
        name="call",
        group="servers",
        operation="call and reply",
        parameters={"calls": 40_000},
        quick={"calls": 20},
        entries=(
            Entry("enfilade/sync"),
            Entry("enfilade/async"),
            Entry("erlang"),
            Entry("pykka", {"calls": 4_000}),
            Entry("xoscar/pool", {"calls": 4_000}),
            Entry("thespian/simple", {"calls": 4_000}),
            Entry("trio"),
        ),
        goals=(
            Goal(CALL, "enfilade/sync", 1.5, against="erlang"),
            Goal(CALL, "enfilade/sync", 0.05, against="pykka"),
            Goal(ASYNC_CALL, "enfilade/async", 3.33, against="trio"),
            Goal(ASYNC_CALL, "enfilade/async", 0.2, against="pykka"),
            Goal(ANCHOR_CALL, "enfilade/sync", 1.5e-6),
        ),
    ),
    Benchmark(
        name="cast",
        group="servers",
        operation="cast to a server",
        parameters={"casts": 200_000},
        quick={"casts": 40},
        entries=(
            Entry("enfilade/sync"),
            Entry("enfilade/async"),
            Entry("erlang"),
            Entry("pykka", {"casts": 40_000}),
            Entry("xoscar/pool", {"casts": 4_000}),
            Entry("thespian/simple", {"casts": 10_000}),
        ),
        goals=(
            Goal(ONE_WAY, "enfilade/sync", 2.0, against="erlang"),
            Goal(ONE_WAY, "enfilade/sync", 0.1, against="pykka"),
        ),
    ),
    Benchmark(
        name="call-past-queue",
        group="servers",
        operation="call and reply, made by a process with 100,000 other messages queued",
        parameters={"queued": 100_000, "calls": 10_000},
        quick={"queued": 50, "calls": 5},
        entries=(Entry("enfilade/function"), Entry("erlang")),
    ),
    Benchmark(
        name="banking",
        group="servers",
        operation="transfer: a call that is answered when the payee has answered",
        parameters={"accounts": 1_000, "transfers": 20_000, "window": 1_000},
        quick={"accounts": 10, "transfers": 20, "window": 5},
        entries=(
            Entry("enfilade/sync"),
            Entry("enfilade/async"),
            Entry("erlang"),
            Entry("pykka", {"transfers": 3_000}),
            Entry("xoscar/pool", {"transfers": 3_000}),
            Entry("thespian/simple", {"transfers": 3_000, "window": 1}),
        ),
    ),
)
