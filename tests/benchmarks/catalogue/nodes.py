"""Nodes on one machine: calls, one-way messages, payloads, many peers, spawns, loss and reconnection."""

from tests.benchmarks.benchmark import Benchmark, Entry
from tests.benchmarks.goals import (
    ANCHOR_NODE_CALL,
    MESH_CALL,
    MESH_CROWD,
    MESH_LARGE,
    MESH_SEND,
    NODE_CALL,
    NODE_SEND,
    Goal,
)

LONGEST_REQUEST = 2**16
"""Bytes that one message to a NATS server may surely have."""

SECONDS_EACH = 2**24
"""Bytes at which one call takes thespian and tractor seconds."""


def _calls(name: str, operation: str, calls: int, size: int, goals: tuple[Goal, ...] = ()) -> Benchmark:
    slow = (
        Entry("thespian/processes", {"calls": max(3, calls // 10)}),
        Entry("tractor", {"calls": max(3, calls // 10)}),
    )
    nats = (Entry("nats"),) if size <= LONGEST_REQUEST else ()
    return Benchmark(
        name=name,
        group="nodes",
        operation=operation,
        parameters={"calls": calls, "size": size},
        quick={"calls": 3, "size": size},
        entries=(
            Entry("enfilade/node"),
            Entry("enfilade/mesh"),
            *nats,
            Entry("stream/socket"),
            Entry("trio"),
            Entry("multiprocessing"),
            Entry("zmq"),
            Entry("erlang/2 cpus"),
            Entry("xoscar/processes", {"calls": max(3, calls // 4)}),
            *(slow if size < SECONDS_EACH else ()),
        ),
        goals=goals,
        kernel="node-call",
        cpus=2,
    )


def _sends(name: str, operation: str, messages: int, size: int, goals: tuple[Goal, ...] = ()) -> Benchmark:
    return Benchmark(
        name=name,
        group="nodes",
        operation=operation,
        parameters={"messages": messages, "size": size},
        quick={"messages": 128, "size": size},
        entries=(
            Entry("enfilade/node"),
            Entry("enfilade/mesh"),
            Entry("nats"),
            Entry("stream/socket"),
            Entry("multiprocessing"),
            Entry("zmq"),
            Entry("erlang/2 cpus"),
            Entry("xoscar/processes", {"messages": messages // 10}),
            Entry("thespian/processes", {"messages": messages // 50}),
            Entry("tractor", {"messages": messages // 20}),
        ),
        goals=goals,
        kernel="node-send",
        cpus=2,
    )


def _threshold(kibibytes: int) -> Benchmark:
    """A size near to where a payload changes its way: into a memory file, or out of a batch."""
    size = kibibytes * 2**10
    return Benchmark(
        name=f"node-call-{kibibytes}k",
        group="nodes",
        operation=f"call and reply with {kibibytes} KiB",
        parameters={"calls": 400, "size": size},
        quick={"calls": 3, "size": size},
        entries=(Entry("enfilade/node"), Entry("stream/socket")),
        kernel="node-call",
        cpus=2,
    )


def _crowd(clients: int, calls: int) -> Benchmark:
    return Benchmark(
        name=f"node-call-{clients}-peers",
        group="nodes",
        operation=f"call and reply with 64 bytes, {clients} nodes calling one",
        parameters={"calls": calls, "size": 64, "clients": clients},
        quick={"calls": 3, "size": 64, "clients": 2},
        entries=(
            Entry("enfilade/node"),
            Entry("stream/socket"),
            Entry("multiprocessing"),
            Entry("zmq"),
            Entry("erlang/2 cpus"),
        ),
        kernel="node-crowd",
        goals=(Goal(NODE_CALL, "enfilade/node", 4.0, against="stream/socket"),),
        cpus=2,
    )


LARGE = (Goal(MESH_LARGE, "enfilade/mesh", 2.5, against="erlang"),)

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
            Goal(MESH_CALL, "enfilade/mesh", 1.6, against="nats"),
            Goal(MESH_CALL, "enfilade/mesh", 1.6, against="enfilade/node"),
            Goal(MESH_CALL, "enfilade/mesh", 0.4, against="xoscar"),
            Goal(MESH_CALL, "enfilade/mesh", 10.0, against="erlang"),
        ),
    ),
    _calls("node-call-1k", "call and reply with 1 KiB", 2_000, 2**10),
    _threshold(48),
    _calls(
        "node-call-64k",
        "call and reply with 64 KiB",
        400,
        2**16,
        (Goal(NODE_CALL, "enfilade/node", 3.0, against="stream/socket"),),
    ),
    _threshold(96),
    _threshold(160),
    _threshold(161),
    _calls("node-call-1m", "call and reply with 1 MiB", 50, 2**20, LARGE),
    _calls("node-call-16m", "call and reply with 16 MiB", 5, 2**24, LARGE),
    _crowd(2, 500),
    _crowd(4, 250),
    _crowd(8, 125),
    _sends(
        "node-send",
        "one-way message with 64 bytes",
        20_000,
        64,
        (
            Goal(NODE_SEND, "enfilade/node", 1 / 300_000),
            Goal(NODE_SEND, "enfilade/node", 0.6, against="erlang"),
            Goal(MESH_SEND, "enfilade/mesh", 1.25, against="nats"),
            Goal(MESH_SEND, "enfilade/mesh", 1.11, against="erlang"),
        ),
    ),
    _sends(
        "node-send-4k",
        "one-way message with 4 KiB",
        10_000,
        2**12,
        (Goal(MESH_SEND, "enfilade/mesh", 1.25, against="nats"),),
    ),
    _sends(
        "node-send-64k",
        "one-way message with 64 KiB",
        1_000,
        2**16,
        (Goal(NODE_SEND, "enfilade/node", 2.0, against="erlang"),),
    ),
    Benchmark(
        name="node-callers",
        group="nodes",
        operation="call and reply with 64 bytes, 64 callers of one node at a time",
        parameters={"calls": 100, "size": 64, "callers": 64},
        quick={"calls": 2, "size": 64, "callers": 4},
        entries=(Entry("enfilade/node"), Entry("enfilade/mesh")),
        goals=(Goal(MESH_CROWD, "enfilade/mesh", 1.0, against="enfilade/node"),),
        cpus=2,
    ),
    Benchmark(
        name="node-spawn",
        group="nodes",
        operation="process started on another node, and its first answer (thespian, tractor: an OS process)",
        parameters={"processes": 500},
        quick={"processes": 2},
        entries=(
            Entry("enfilade/node"),
            Entry("enfilade/mesh"),
            Entry("erlang/2 cpus"),
            Entry("xoscar/processes", {"processes": 200}),
            Entry("thespian/processes", {"processes": 20}),
            Entry("tractor", {"processes": 3}),
        ),
        cpus=2,
    ),
    Benchmark(
        name="node-down",
        group="nodes",
        operation="SIGKILL of a node until its monitor's message (socket: end of stream, xoscar: of a call)",
        parameters={"count": 3},
        quick={"count": 1},
        entries=(
            Entry("enfilade/node"),
            Entry("enfilade/mesh"),
            Entry("stream/socket"),
            Entry("erlang/2 cpus"),
            Entry("xoscar/processes"),
        ),
        cpus=2,
    ),
    Benchmark(
        name="node-reconnect",
        group="nodes",
        operation="node link cut, until a call has made a new one and is answered",
        parameters={"count": 30},
        quick={"count": 2},
        entries=(
            Entry("enfilade/node"),
            Entry("enfilade/mesh"),
            Entry("stream/socket"),
            Entry("erlang/2 cpus"),
        ),
        cpus=2,
    ),
)
