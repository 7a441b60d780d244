"""Two nodes on one machine: call and reply, one-way messages, payloads, and how soon a death is known."""

from tests.benchmarks.benchmark import Benchmark, Entry
from tests.benchmarks.goals import ANCHOR_NODE_CALL, NODE_CALL, NODE_SEND, Goal


def _calls(name: str, operation: str, calls: int, size: int, goals: tuple[Goal, ...] = ()) -> Benchmark:
    return Benchmark(
        name=name,
        group="nodes",
        operation=operation,
        parameters={"calls": calls, "size": size},
        quick={"calls": 3, "size": size},
        entries=(
            Entry("enfilade/node"),
            Entry("stream/socket"),
            Entry("trio"),
            Entry("multiprocessing"),
            Entry("zmq"),
            Entry("erlang/2 cpus"),
            Entry("xoscar/processes", {"calls": max(3, calls // 4)}),
            Entry("thespian/processes", {"calls": max(3, calls // 10)}),
            Entry("tractor", {"calls": max(3, calls // 10)}),
        ),
        goals=goals,
        kernel="node-call",
        cpus=2,
    )


NODES: tuple[Benchmark, ...] = (
    _calls(
        "node-call",
        "call and reply with 64 bytes",
        2_000,
        64,
        (
            Goal(NODE_CALL, "enfilade/node", 2.5, against="stream/socket"),
            Goal(NODE_CALL, "enfilade/node", 1 / 3, against="tractor"),
            Goal(ANCHOR_NODE_CALL, "enfilade/node", 100e-6),
        ),
    ),
    _calls("node-call-1k", "call and reply with 1 KiB", 2_000, 2**10),
    _calls("node-call-64k", "call and reply with 64 KiB", 400, 2**16),
    _calls("node-call-1m", "call and reply with 1 MiB", 50, 2**20),
    _calls("node-call-16m", "call and reply with 16 MiB", 5, 2**24),
    Benchmark(
        name="node-send",
        group="nodes",
        operation="one-way message with 64 bytes",
        parameters={"messages": 50_000, "size": 64},
        quick={"messages": 128, "size": 64},
        entries=(
            Entry("enfilade/node"),
            Entry("stream/socket"),
            Entry("multiprocessing"),
            Entry("zmq"),
            Entry("erlang/2 cpus"),
            Entry("xoscar/processes", {"messages": 2_000}),
            Entry("thespian/processes", {"messages": 500}),
            Entry("tractor", {"messages": 2_000}),
        ),
        goals=(Goal(NODE_SEND, "enfilade/node", 1 / 300_000),),
        cpus=2,
    ),
    Benchmark(
        name="node-down",
        group="nodes",
        operation="SIGKILL of a node until its monitor's message, the end of the stream for a socket",
        parameters={"count": 5},
        quick={"count": 1},
        entries=(Entry("enfilade/node"), Entry("stream/socket"), Entry("erlang/2 cpus")),
        cpus=2,
    ),
)
