"""The price of being looked at: the same work while nobody looks, while somebody does, and while traced."""

from tests.benchmarks.benchmark import Benchmark, Entry

LOOKS = ("enfilade/off", "enfilade/counted", "enfilade/watched")

OBSERVATION: tuple[Benchmark, ...] = (
    Benchmark(
        name="observed-ping-pong",
        group="observation",
        operation="round trip between two sync actors; `traced`: one of them is",
        parameters={"rounds": 40_000},
        quick={"rounds": 20},
        # A trace ends by itself where there are more than 10,000 entries a second.
        entries=(*map(Entry, LOOKS), Entry("enfilade/traced", {"rounds": 4_000})),
    ),
    Benchmark(
        name="observed-call",
        group="observation",
        operation="call of a sync actor, which its caller runs; `traced`: the actor is",
        parameters={"calls": 40_000},
        quick={"calls": 20},
        entries=(*map(Entry, LOOKS), Entry("enfilade/traced", {"calls": 4_000})),
    ),
    Benchmark(
        name="observed-one-way",
        group="observation",
        operation="message to a sync actor; `traced`: the actor is",
        parameters={"messages": 200_000},
        quick={"messages": 40},
        entries=(*map(Entry, LOOKS), Entry("enfilade/traced", {"messages": 4_000})),
    ),
)
