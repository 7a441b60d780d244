"""The statistics of a node: what it holds at one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["NodeStatistics", "statistics_of"]


@attrs.frozen
class NodeStatistics:
    """The contents of a node at one moment. After the node has closed, all but the counters are zero.

    Attributes:
        processes: how many live.
        names: how many are registered.
        links: ends of links; an established link between two processes of the node counts twice.
        monitors: monitors that local processes have set up and that have not fired.
        watchers: entries of monitors at the processes that are watched.
        aliases: aliases that are good.
        timers: timers that are set, time limits of waiting calls included.
        group_members: memberships of process groups, and subscriptions to them.
        queued: messages in all mailboxes.
        runnable: processes on the dispatcher's run queue.
        starting: spawns that wait for their acknowledgement.
        dead_letters: number of messages that have reached no process so far.
        dropped: how many messages full mailboxes have dropped so far.
        unkillable: how many killed processes did not end in time so far.
    """

    processes: int
    names: int
    links: int
    monitors: int
    watchers: int
    aliases: int
    timers: int
    group_members: int
    queued: int
    runnable: int
    starting: int
    dead_letters: int
    dropped: int
    unkillable: int


def statistics_of(node: Node) -> NodeStatistics:
    """Count what `node` holds at this moment, over all processes. Not a checkpoint."""
    processes = list(node.processes.values())
    return NodeStatistics(
        processes=len(processes),
        names=len(node.registry),
        links=sum(len(process.links) for process in processes if process.links),
        monitors=sum(len(process.monitors) for process in processes if process.monitors),
        watchers=sum(len(process.watchers) for process in processes if process.watchers),
        aliases=sum(len(extras.aliases) for process in processes if (extras := process.extras_or_none)),
        timers=len(node.timers),
        group_members=len(node.groups),
        queued=sum(len(process.queue) for process in processes),
        runnable=len(node.dispatcher.queue),
        starting=len(node.starting),
        dead_letters=node.dead_letters.count,
        dropped=node.dropped,
        unkillable=node.unkillable,
    )
