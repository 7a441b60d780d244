"""Arrivals: what each kind of signal does to the process that it reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import MailboxFull, Restarting
from enfilade.actors.messages.reasons import NO_PROCESS
from enfilade.actors.processes.control_lane import ask_to_stop
from enfilade.actors.processes.links import UP, link_ended, monitor_fired
from enfilade.actors.processes.mailbox import mailbox_full, make_room

if TYPE_CHECKING:
    from enfilade.actors.processes.record import Record

__all__ = ["arrivals"]


def _send_arrived(process: Record, signal: signals.Send) -> None:
    _offer(process, signal.message)


def _offer(process: Record, message: Any) -> None:
    """Queue `message` if there is room; where that would be an error of the sender, it is dropped."""
    try:
        process.ref.send(message)
    except MailboxFull:
        process.node.dropped += 1


def _notice_arrived(process: Record, signal: signals.Notice) -> None:
    process.put(signal.message)


def _call_arrived(process: Record, signal: signals.Call) -> None:
    if process.ended is not None:
        signal.fail(Restarting(process.ref)) if process.restarting else signal.abandon(NO_PROCESS)
    elif signal.method == signals.STOP:
        ask_to_stop(process, signal, *signal.args)
    elif signal.method == signals.DRAIN:
        ask_to_stop(process, signal, *signal.args, drain=True)
    elif len(process.queue) < process.limit or make_room(process):
        process.put(signal)
    else:
        signal.fail(mailbox_full(process))


def _exit_arrived(process: Record, signal: signals.Exit) -> None:
    if signal.linked:
        link_ended(process, signal.sender, signal.reason)
    elif process.ended is None:
        process.exit_arrived(signal.sender, signal.reason, linked=False)


def _link_arrived(process: Record, signal: signals.Link) -> None:
    sender = signal.sender
    if process.ended is not None:
        sender.deliver(signals.Exit(process.ref, NO_PROCESS, linked=True))
        return
    if process.links is None:
        process.links = {}
    process.links.setdefault(sender, UP)


def _unlink_arrived(process: Record, signal: signals.Unlink) -> None:
    sender = signal.sender
    if process.links is not None and process.links.get(sender) == UP:
        del process.links[sender]
    sender.deliver(signals.UnlinkAck(process.ref, signal.id))


def _unlink_ack_arrived(process: Record, signal: signals.UnlinkAck) -> None:
    if process.links is not None and process.links.get(signal.sender) == signal.id:
        del process.links[signal.sender]


def _monitor_arrived(process: Record, signal: signals.Monitor) -> None:
    if process.ended is not None:
        signal.watcher.deliver(signals.Down(signal.tag, NO_PROCESS))
        return
    if process.watchers is None:
        process.watchers = {}
    process.watchers[signal.watcher, signal.tag] = None


def _demonitor_arrived(process: Record, signal: signals.Demonitor) -> None:
    if process.watchers is not None:
        process.watchers.pop((signal.watcher, signal.tag), None)


def _down_arrived(process: Record, signal: signals.Down) -> None:
    monitor_fired(process, signal.tag, signal.reason)


arrivals = signals.arrivals
"""The same table, filled: whoever makes processes takes it from here."""

arrivals.update(
    {
        signals.Send: _send_arrived,
        signals.Notice: _notice_arrived,
        signals.Cast: _offer,
        signals.Call: _call_arrived,
        signals.Exit: _exit_arrived,
        signals.Link: _link_arrived,
        signals.Unlink: _unlink_arrived,
        signals.UnlinkAck: _unlink_ack_arrived,
        signals.Monitor: _monitor_arrived,
        signals.Demonitor: _demonitor_arrived,
        signals.Down: _down_arrived,
    }
)
