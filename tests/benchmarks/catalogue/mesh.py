"""Nodes of a mesh, besides what they do at doors, too: names, keys, certificates, deaths, lost servers."""

from tests.benchmarks.benchmark import Benchmark, Entry
from tests.benchmarks.goals import (
    MESH_ACTIVATION,
    MESH_DOWN,
    MESH_FAILOVER,
    MESH_NAMES,
    MESH_OPEN,
    MESH_TLS,
    Goal,
)


def _one(name: str, operation: str, parameter: str, count: int, goal: Goal) -> Benchmark:
    return Benchmark(
        name=name,
        group="mesh",
        operation=operation,
        parameters={parameter: count},
        quick={parameter: 1},
        entries=(Entry("enfilade/mesh"),),
        goals=(goal,),
        cpus=2,
    )


MESH: tuple[Benchmark, ...] = (
    Benchmark(
        name="mesh-call",
        group="mesh",
        operation="call and reply with 64 bytes: by a ref, a key, a global name; with certificates",
        parameters={"calls": 1_000},
        quick={"calls": 2},
        entries=(
            Entry("enfilade/mesh"),
            Entry("enfilade/keyed"),
            Entry("enfilade/global"),
            Entry("enfilade/tls"),
        ),
        goals=(
            Goal(MESH_NAMES, "enfilade/keyed", 1.15, against="enfilade/mesh"),
            Goal(MESH_NAMES, "enfilade/global", 1.05, against="enfilade/mesh"),
            Goal(MESH_TLS, "enfilade/tls", 1.3, against="enfilade/mesh"),
        ),
        cpus=2,
    ),
    Benchmark(
        name="mesh-call-here",
        group="mesh",
        operation="call and reply with 64 bytes on one node: by a local name, by a key",
        parameters={"calls": 20_000},
        quick={"calls": 2},
        entries=(Entry("enfilade/sync"), Entry("enfilade/keyed")),
        goals=(Goal(MESH_NAMES, "enfilade/keyed", 1.5, against="enfilade/sync"),),
        cpus=2,
    ),
    Benchmark(
        name="mesh-cold-name",
        group="mesh",
        operation="first call by a global name; a read of the registry and a call by a ref",
        parameters={"calls": 300},
        quick={"calls": 2},
        entries=(Entry("enfilade/global"), Entry("enfilade/mesh")),
        goals=(Goal(MESH_NAMES, "enfilade/global", 1.5, against="enfilade/mesh"),),
        cpus=2,
    ),
    _one(
        "mesh-activation",
        "actor of a key started by its first call, 32 at a time",
        "keys",
        5_000,
        Goal(MESH_ACTIVATION, "enfilade/mesh", 1 / 2_000),
    ),
    _one(
        "mesh-down",
        "SIGKILL of a node until its monitor's message, at a server that tells who has left it",
        "count",
        5,
        Goal(MESH_DOWN, "enfilade/mesh", 0.35),
    ),
    _one(
        "mesh-failover",
        "longest call while the caller's server is killed and another is there",
        "count",
        5,
        Goal(MESH_FAILOVER, "enfilade/mesh", 0.05),
    ),
    _one(
        "mesh-open",
        "node opened in a mesh whose server runs, without what it costs at a door",
        "count",
        10,
        Goal(MESH_OPEN, "enfilade/mesh", 0.05),
    ),
)
