"""What a benchmark is: a name, the meaning of one operation, its parameters, who takes part, its goals."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import attrs

from tests.benchmarks.goals import Goal

Unit = Literal["seconds", "bytes"]
Group = Literal[
    "messages", "applications", "servers", "processes", "supervision", "doors", "guests", "nodes", "mesh"
]


def _read_only(mapping: Mapping[str, int]) -> Mapping[str, int]:
    return MappingProxyType(dict(mapping))


@attrs.frozen
class Entry:
    """One who takes part: a family of runners, or one variant of it (`"enfilade/sync"`).

    `parameters` replaces some of the benchmark's, for a peer on which the full size would take minutes. The
    cost is per operation, so it stays comparable; the table of the peer's parameters is in the JSON.
    """

    who: str
    parameters: Mapping[str, int] = attrs.field(factory=dict, converter=_read_only)

    @property
    def family(self) -> str:
        return self.who.partition("/")[0]

    @property
    def variant(self) -> str:
        return self.who.partition("/")[2]


@attrs.frozen
class Benchmark:
    """One kind of work, done by every entry in its own way and measured as the cost of one operation.

    `quick` are parameters for a run that only shows that the benchmark works. `cpus` says on how many
    CPUs every entry runs; without it, the runner says. A `cold` one is measured in a new process each
    time, without warming up: memory that a process has used before tells nothing. `kernel` names the work
    where several benchmarks do the same with other parameters.
    """

    name: str
    group: Group
    operation: str
    parameters: Mapping[str, int] = attrs.field(converter=_read_only)
    quick: Mapping[str, int] = attrs.field(converter=_read_only)
    entries: tuple[Entry, ...]
    goals: tuple[Goal, ...] = ()
    unit: Unit = "seconds"
    cpus: int | None = None
    cold: bool = False
    kernel: str = attrs.field(default=attrs.Factory(lambda self: self.name, takes_self=True))

    def __attrs_post_init__(self) -> None:
        if set(self.quick) != set(self.parameters):
            raise ValueError(
                f"benchmark {self.name!r}: quick must give the parameters {sorted(self.parameters)}"
            )

    def parameters_for(self, entry: Entry, *, quick: bool) -> dict[str, int]:
        """The parameters with which `entry` runs."""
        return dict(self.quick) if quick else {**self.parameters, **entry.parameters}
