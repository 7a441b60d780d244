"""The numbers of a node that can be told at any moment, without having listened before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.observing.measurements.vitals import program_shown

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = ["SUMMED", "add_to_sums", "node_numbers"]

SUMMED: Final = ("queued", "links", "monitors", "watchers", "aliases")
"""The numbers that are sums over all processes."""


def node_numbers(node: Node) -> dict[str, Any]:
    """The name of a node, what it runs in, and how many it has of each thing. Not a checkpoint."""
    observation = node.observation
    return {
        "full_name": node.full_name,
        "zone": node.zone,
        "incarnation": f"{node.incarnation:016x}",
        "pid": os.getpid(),
        "started_at": observation.started_at,
        "uptime": round(node.timers.now() - observation.started, 3),
        **program_shown(),
        "processes": len(node.processes),
        "names": len(node.registry),
        "timers": len(node.timers),
        "group_members": len(node.groups),
        "runnable": len(node.dispatcher.queue),
        "starting": len(node.starting),
        "dead_letters": node.dead_letters.count,
        "dropped": node.dropped,
        "unkillable": node.unkillable,
        "crashes": observation.crash_count,
        "stopping": node.stopping,
    }


def add_to_sums(sums: dict[str, int], process: Process) -> None:
    """Add what one process has to the numbers of `SUMMED`."""
    sums["queued"] += len(process.queue)
    sums["links"] += len(process.links or ())
    sums["monitors"] += len(process.monitors or ())
    sums["watchers"] += len(process.watchers or ())
    extras = process.extras_or_none
    sums["aliases"] += 0 if extras is None else len(extras.aliases)
