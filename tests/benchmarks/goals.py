"""The goals that the benchmarks are held against, and how far a measurement came with one."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import attrs

from tests.benchmarks.measurement import Measurement

ARCHITECTURE = (
    PING_PONG := "sync actor: ping-pong round trip",
    CALL := "sync actor: call and reply",
    ONE_WAY := "sync actor: one-way message",
    ASYNC_CALL := "async actor: call and reply",
    RESTART := "supervised restart",
    IDLE := "100,000 idle sync actors; 100,000 guests",
    GUEST_SPAWN := "spawn a guest from a cached module",
    HOSTCALL := "hostcall round trip with a Python driver",
    GUEST_MESSAGES := "message, request, call and channel frame of a guest",
    DOOR_CALL := "door_call, 64 bytes, C to C on Linux",
    DOOR_LARGE := "door_call, 1 MiB and 16 MiB, C to C on Linux",
    DOOR_CROWD := "door_call, 64 bytes, four and sixteen callers, C to C on Linux",
    NODE_CALL := "call and reply between two nodes",
    NODE_SEND := "one-way between two nodes, batched",
    MESH_CALL := "call and reply between two nodes of a mesh",
    MESH_CROWD := "64 callers of a node of a mesh",
    MESH_SEND := "one-way between two nodes of a mesh",
    MESH_LARGE := "call with 1 MiB and 16 MiB between two nodes of a mesh",
    MESH_NAMES := "calls by a key and by a global name",
    MESH_TLS := "call between two nodes with certificates",
    MESH_ACTIVATION := "actor of a key, started by its first call",
    MESH_DOWN := "death of a node of a mesh",
    MESH_FAILOVER := "longest call while a server is lost",
    MESH_OPEN := "opening a node in a mesh",
)
"""The goals of docs/benchmarks.md, "What must be reached"."""

ANCHORS = (
    ANCHOR_CALL := "in-process call, callback tier",
    ANCHOR_RESTART := "supervised restart, callback tier",
    ANCHOR_TASK_RESTART := "supervised restart, task tier",
    ANCHOR_NODE_CALL := "cross-process call",
    ANCHOR_GUEST_SPAWN := "spawn of a guest from a cached module",
    ANCHOR_GUEST_SEND := "message to a guest, in batches",
)
"""The targets of docs/benchmarks.md, "What was set for another machine": absolute figures, for a machine on
which a trio checkpoint takes 2.75 us."""


@attrs.frozen
class Goal:
    """What one of our cells must reach: a limit in units, or a ratio to the best cell of a peer.

    `row` is the row of `ARCHITECTURE` or `ANCHORS` that it comes from.
    """

    row: str
    who: str
    limit: float
    against: str | None = None


class State(enum.Enum):
    """What became of a goal."""

    MET = "met"
    MISSED = "missed"
    UNKNOWN = "no figure"


@attrs.frozen
class Verdict:
    """A goal, and the figure that was reached: a ratio, or a cost when the goal is not against anyone.

    `reached` is made from the medians, and decides; `least` is the same from the least costs.
    """

    goal: Goal
    reached: float | None
    least: float | None

    @property
    def state(self) -> State:
        """Whether the goal is met, by the medians."""
        return self._state(self.reached)

    @property
    def is_close(self) -> bool:
        """Whether the medians and the least costs say different things."""
        return self._state(self.least) is not self.state

    def _state(self, figure: float | None) -> State:
        if figure is None:
            return State.UNKNOWN
        return State.MET if figure <= self.goal.limit else State.MISSED


def verdict(goal: Goal, measurements: Sequence[Measurement]) -> Verdict:
    """How far one of our cells came with its goal; a peer counts with its best variant."""
    ours = [m for m in measurements if m.who == goal.who and m.median is not None]
    if not ours:
        return Verdict(goal, None, None)
    median, least = ours[0].median, ours[0].least
    assert median is not None
    assert least is not None
    if goal.against is None:
        return Verdict(goal, median, least)
    peers = [m for m in measurements if goal.against in (m.family, m.who)]
    medians = [m.median for m in peers if m.median is not None]
    leasts = [m.least for m in peers if m.least is not None]
    if not medians:
        return Verdict(goal, None, None)
    return Verdict(goal, median / min(medians), least / min(leasts))
