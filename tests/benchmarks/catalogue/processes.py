"""Processes: making and ending them, links, monitors, timers, memory."""

from tests.benchmarks.benchmark import Benchmark, Entry
from tests.benchmarks.goals import IDLE, Goal

PROCESSES: tuple[Benchmark, ...] = (
    Benchmark(
        name="spawn",
        group="processes",
        operation="spawn, one message, exit, told by a monitor; one at a time",
        parameters={"processes": 5_000},
        quick={"processes": 10},
        entries=(
            Entry("enfilade/sync"),
            Entry("enfilade/async"),
            Entry("enfilade/function"),
            Entry("erlang"),
            Entry("pykka", {"processes": 1_000}),
            Entry("xoscar/pool", {"processes": 2_000}),
        ),
    ),
    Benchmark(
        name="fork-join-create",
        group="processes",
        operation="spawn, one message, exit; all at once",
        parameters={"processes": 10_000},
        quick={"processes": 10},
        entries=(
            Entry("enfilade/sync"),
            Entry("enfilade/async"),
            Entry("enfilade/function"),
            Entry("erlang"),
            Entry("pykka", {"processes": 1_000}),
            Entry("xoscar/pool", {"processes": 2_000}),
            Entry("thespian/simple", {"processes": 2_000}),
        ),
    ),
    Benchmark(
        name="link-chain",
        group="processes",
        operation="exit signal to the next of 10,000 processes linked in a chain",
        parameters={"processes": 10_000},
        quick={"processes": 10},
        entries=(Entry("enfilade/sync"), Entry("enfilade/function"), Entry("erlang")),
    ),
    Benchmark(
        name="monitor-storm",
        group="processes",
        operation="message of one of 10,000 monitors on a process that ends",
        parameters={"monitors": 10_000},
        quick={"monitors": 10},
        entries=(Entry("enfilade/sync"), Entry("enfilade/function"), Entry("erlang")),
    ),
    Benchmark(
        name="idle-memory",
        group="processes",
        operation="resident memory of one of 100,000 idle processes",
        parameters={"processes": 100_000},
        quick={"processes": 2_000},
        entries=(
            Entry("enfilade/sync"),
            Entry("enfilade/async", {"processes": 20_000}),
            Entry("enfilade/function", {"processes": 20_000}),
            Entry("erlang"),
        ),
        goals=(Goal(IDLE, "enfilade/sync", 1536),),
        unit="bytes",
        cold=True,
    ),
    Benchmark(
        name="idle-collection",
        group="processes",
        operation="pause of a full garbage collection with 100,000 idle processes",
        parameters={"processes": 100_000},
        quick={"processes": 100},
        entries=(Entry("enfilade/sync"),),
    ),
    Benchmark(
        name="timers",
        group="processes",
        operation="timer set and cancelled, 100,000 at a time",
        parameters={"timers": 100_000},
        quick={"timers": 20},
        entries=(Entry("enfilade/function"), Entry("erlang")),
    ),
    Benchmark(
        name="timers-fire",
        group="processes",
        operation="timer set, due at once, its message received, 100,000 at a time",
        parameters={"timers": 100_000},
        quick={"timers": 20},
        entries=(Entry("enfilade/function"), Entry("erlang")),
    ),
)
