"""The guests of one runtime, living and ended: who descends from whom, and what is kept of the dead."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from enfilade.hostcalls.abi.errors import HostcallError, PermissionDenied
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.policy import Policy
from enfilade.hostcalls.resources.channel import Channel
from enfilade.hostcalls.resources.clock import Clock
from enfilade.hostcalls.resources.logs import Forwarder
from enfilade.hostcalls.resources.registry import Kind, Registry, Resource


class Family:
    """The book of a runtime's guests.

    Args:
        registry: where their entries are.
        clock: the time of their logs.
        policy: the rules between them.
    """

    def __init__(self, registry: Registry, clock: Clock, policy: Policy) -> None:
        self.policy = policy
        self._registry = registry
        self._clock = clock
        self._tombstones: OrderedDict[int, Resource] = OrderedDict()

    def close(self) -> None:
        """Forget everybody; no guest is left."""
        for entry in self._registry.of_kind(Kind.PROCESS):
            if entry.payload is not None and entry.payload.log is not None:
                entry.payload.log.close()
        self._tombstones.clear()
        self._registry = Registry()

    def ended(self, caller: Caller) -> None:
        """A guest has ended: keep its entry for a while. Called once for each guest, by its execution."""
        caller.place.leave()
        caller.end()
        process = caller.process
        if process.alive:
            tombstones = self._tombstones
            tombstones[process.id] = process
            while len(tombstones) > self.policy.tombstones:
                _, oldest = tombstones.popitem(last=False)
                self._registry.remove(oldest)

    def forward_log(self, caller: Caller, channel: Channel, before: int | None) -> None:
        """A guest has registered its log channel: emit what it writes there as log records.

        `before` is the process whose log channel it was; what that has written is not emitted twice.
        """
        previous = self._living(before)
        if previous is caller:
            return
        if caller.log is not None:
            caller.log.close()
        if previous is not None and previous.log is not None:
            caller.log, previous.log = previous.log, None
            caller.log.guest = caller.label
        elif self.policy.forward_logs:
            caller.log = Forwarder(
                channel,
                caller.label,
                self._clock,
                rate=caller.budget.log_records,
                traceparent=partial(_traceparent, caller),
            )

    def restore_log(self, caller: Caller, channel: Resource | None) -> None:
        """Make `channel` the log channel of a guest again, if it has registered another one since."""
        if channel is None or not channel.alive:
            return
        if self._registry.log_channel(caller.id) is not channel:
            before = self._registry.register_log_channel(caller.process, channel)
            self.forward_log(caller, channel.payload, before)

    def forget(self, process: Resource) -> None:
        """Remove a process's entry: it can be neither stopped nor asked for its log channel any more."""
        self._tombstones.pop(process.id, None)
        self._registry.remove(process)

    def check_authority(self, caller: Caller, target: Caller, operation: str) -> None:
        """Raise `PermissionDenied` unless the target is the caller itself or one of its descendants.

        `operation` names what the caller wants to do to it. By upstream's rules it may be any process.
        """
        if self.policy.upstream or target is caller:
            return
        ancestor = target.parent
        while ancestor is not None and ancestor != caller.id:
            above = self._living(ancestor)
            ancestor = above.parent if above is not None else None
        if ancestor is None:
            raise PermissionDenied(
                why=f"a guest may {operation} only its own descendants; "
                "upstream's rules permit any guest: Policy(upstream=True), --upstream-grants"
            )

    def _living(self, process: int | None) -> Caller | None:
        if process is None:
            return None
        try:
            caller: Caller | None = self._registry.get(process, Kind.PROCESS).payload
        except HostcallError:
            return None
        return caller


def _traceparent(caller: Caller) -> str:
    """The trace that the message which a guest has at hand belongs to."""
    actors = caller.host.actors
    return "" if actors is None else actors.traceparent
