"""Links, monitors and aliases: how a process learns of another's end.

Both sides of a link and of a monitor keep an entry, and every change is a signal to the other side, whether
that lives on this node or on another. Between two processes of this node the signals of monitors, of which
one process may have thousands, take effect where they would be sent: no signal is made.

An unlink carries a number and is acknowledged: until the acknowledgement has come the link is neither up nor
gone, exits over it are dropped, and a link request of the other side that was under way is ignored; so
crossing link and unlink leave both sides agreed (erts, "Distribution Protocol", link protocol).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import attrs
import msgspec

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import CallingSelf, NoProcess, NotOwner
from enfilade.actors.messages.guarded import guarded
from enfilade.actors.messages.handle import Handle
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.methods import method_name
from enfilade.actors.messages.reasons import NO_PROCESS, NORMAL, SHUTDOWN, Reason
from enfilade.actors.messages.ref import NameRef, Ref, RemoteRef, checked_ref
from enfilade.actors.messages.safe_text import safe_record, safe_repr
from enfilade.actors.processes.local_ref import LocalRef, process_of
from enfilade.actors.processes.mailbox import wait_for_room

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process
    from enfilade.actors.processes.record import Record

__all__ = [
    "UP",
    "Alias",
    "AliasMode",
    "Down",
    "Exited",
    "IdleTimeout",
    "Monitor",
    "Watcher",
    "canonical",
    "is_linked",
    "link_ended",
    "monitor_fired",
    "monitor_found",
    "notify_end",
    "tell_watcher",
    "tell_watchers",
    "telling_failed",
    "watcher_failed",
]

A = TypeVar("A", covariant=True)


AliasMode = Literal["explicit", "demonitor", "reply", "reply_demonitor"]

UP = 0  # the state of a link; any other number is the id of an unlink that has not been acknowledged


@signals.undroppable
class Exited(msgspec.Struct, frozen=True):
    """A trapped exit signal: `ref` ended with `reason`, or sent it on purpose."""

    ref: Ref[Any]
    reason: Reason


@attrs.define(eq=False)
class Monitor(Handle):
    """A monitor that a process has set up.

    Attributes:
        owner: the process that gets the `Down`.
        number: which monitor of its node it is.
        ref: the monitored process; None when no process held the name.
        name: the name it was set up by, if it was.
        tag: what its owner gave `Process.monitor`.
        alias: the alias that was made with it.
        active: whether a `Down` is still to come.
    """

    owner: Ref[Any]
    number: int
    ref: Ref[Any] | None
    name: str | None = None
    tag: Any = None
    alias: Alias[Any] | None = None
    active: bool = True

    __repr__ = safe_record


Watcher = Monitor | tuple[Ref[Any], int]
"""The other end of a monitor, as the watched process has it: if it is set up by a process of this node, the
monitor itself; otherwise the ref of its node, or of the process, and its number there.
"""


@signals.undroppable
class Down(msgspec.Struct, frozen=True):
    """The process behind `monitor` ended with `reason`, or was not there to begin with.

    `ref` is the monitored process; when it was monitored by a name that no process held, a ref to that name.
    """

    monitor: Monitor
    ref: Ref[Any]
    reason: Reason


@signals.undroppable
@attrs.frozen
class IdleTimeout:
    """No message was handled for `seconds`, as `Process.timeout_after` asked to be told."""

    seconds: float


class Alias(LocalRef[A]):
    """Another handle for a process, which stops working when it is taken back: what is then sent to it
    vanishes. Made by `Process.alias` and `Process.monitor`.

    Attributes:
        mode: "explicit": until `Process.unalias`. "demonitor": or until the monitor that it came with is
            taken down or has fired. "reply": until the first message. "reply_demonitor": whichever comes
            first, and the first message takes the monitor down.
        active: whether it still works.
        monitor: the monitor that it came with, while it works.
    """

    __slots__ = ("active", "mode", "monitor", "number")

    def __init__(self, process: Process, mode: AliasMode) -> None:
        super().__init__(process)
        self.mode = mode
        self.active = True
        self.monitor: Monitor | None = None
        self.number = process.node.new_number()

    @property
    def serial(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return hash(self.number)

    def _used(self) -> None:
        """A message has got through: it may have been the last."""
        if self.mode in ("reply", "reply_demonitor") and self.active:
            monitor = self.monitor
            self._process.forget_alias(self)
            if self.mode == "reply_demonitor" and monitor is not None:
                demonitor(self._process, monitor, flush=False)

    def deliver(self, signal: signals.Signal) -> None:
        if self.active:
            was_settled = isinstance(signal, signals.Call) and signal.settled
            self._process.ref.deliver(signal)
            if was_settled or not (isinstance(signal, signals.Call) and signal.settled):
                self._used()  # otherwise the mailbox is full, and has refused it
        elif isinstance(signal, signals.Call):
            signal.abandon(NO_PROCESS)

    def send(self, message: Any) -> None:
        if self.active:
            self._process.ref.send(message)
            self._used()

    def cast(self, method: Any, /, *args: Any, **kwargs: Any) -> None:
        if self.active:
            self._process.ref.cast(method, *args, **kwargs)
            self._used()
        else:
            method_name(method)  # no alias makes up for a method that nobody may call

    async def send_wait(self, message: Any) -> None:
        if self.active:
            await wait_for_room(self._process)
        self.send(message)

    async def call(self, method: Any, /, *args: Any, **kwargs: Any) -> Any:
        self._check_caller()
        limit = await self._room_for_call() if self.active else self.limit
        return await self._request(method, args, kwargs).receive(limit)

    async def stop(
        self, reason: Reason = NORMAL, timeout: float | None = None, *, drain: bool = False
    ) -> None:
        self._check_caller()
        await super().stop(reason, timeout, drain=drain)

    def _check_caller(self) -> None:
        if self._process.node.current is self._process:
            raise CallingSelf(self)

    def within(self, seconds: float) -> Ref[A]:
        raise TypeError("an alias has no time limit; give it to the `wait` or `receive` of the request")


def link_ended(process: Record, sender: Ref[Any], reason: Reason) -> None:
    """Notify `process` of the end of `sender`, unless the link between them is down already."""
    linked = process.links
    if process.ended is None and linked is not None and linked.get(sender) == UP:
        del linked[sender]
        process.body.linked_ended(sender, reason)
        if process.trap_exits and not process.suspended:  # what `exit_arrived` does then
            process.put(Exited(sender, reason))
        else:
            process.exit_arrived(sender, reason, linked=True)


def canonical(ref: Ref[Any]) -> Ref[Any]:
    """The ref under which the process that `ref` stands for now is known.

    Raises:
        NoProcess: it is a name that is not registered.
        TypeError: it is a global name that no process of this node holds, or not a ref.
    """
    if is_a(ref, NameRef):
        return ref.resolve_here()
    process = process_of(ref)
    if process is not None:
        return process.ref
    return checked_ref(ref)


def is_linked(ref: Ref[Any], other: Ref[Any]) -> bool:
    """Tell whether the process of `ref` holds a link with `other`: not one that it is taking down."""
    process = process_of(ref)
    return process is not None and process.links is not None and process.links.get(other) == UP


def stands_for(handle: Ref[Any], ref: Ref[Any]) -> bool:
    """Tell whether two handles are of one process, as a ref and an alias of it are. A name is of none."""
    process = process_of(ref)
    return handle == ref or (process is not None and process_of(handle) is process)


def link(process: Process, ref: Ref[Any]) -> None:
    """Link `process` and `ref`."""
    ref = canonical(ref)
    if is_a(ref, RemoteRef) and not ref.serial:
        raise TypeError(f"{ref} is a name on another node; link to the process that `whereis_on` finds")
    if ref == process.ref:
        return
    if process.links is None:
        process.links = {}
    elif process.links.get(ref) == UP:
        return
    other = process_of(ref)
    if other is not None and other.ended is not None and not process.trap_exits:
        raise NoProcess(ref)
    process.links[ref] = UP
    try:
        ref.deliver(signals.Link(process.ref))
    except Exception:  # the other node may hold no further ref of this one
        del process.links[ref]
        raise


def link_newborn(parent: Process, child: Process) -> None:
    """Link `parent` and the process that it has just made. Nothing can cross this link: no signal is sent."""
    if parent.links is None:
        parent.links = {}
    parent.links[child.ref] = UP
    child.links = {parent.ref: UP}


def link_remote_parent(process: Process, parent: Ref[Any]) -> None:
    """Make `process`, which has not started yet, the child of a process of another node, linked to it."""
    process.callers = (parent,)
    process.links = {parent: UP}


def unlink(process: Process, ref: Ref[Any]) -> None:
    """Take the link between `process` and `ref` down."""
    ref = canonical(ref)
    if process.links is None or process.links.get(ref) != UP:
        return
    number = process.links[ref] = process.node.new_number()
    ref.deliver(signals.Unlink(process.ref, number))


def unlink_parent(process: Process) -> None:
    """Unlink `process`, whose start failed, from its parent: that learns of it otherwise than by an exit."""
    parent = process_of(process.parent)
    if parent is not None and process.links and process.parent in process.links:
        unlink(parent, process.ref)


def monitor(process: Process, target: Ref[Any] | str, mode: AliasMode | None, tag: Any) -> Monitor:
    """Set a monitor up."""
    node = process.node
    name: str | None = None
    ref: Ref[Any] | None
    if type(target) is not LocalRef:
        if isinstance(target, str):
            target = node.named(target)
        if is_a(target, NameRef):
            name, ref = target.name, target.present()
        else:
            ref = canonical(target)
    else:
        ref = target._process.ref
    made = Monitor(process.ref, node.new_number(), ref, name, tag)
    if mode is not None:
        made.alias = alias(process, mode)
        made.alias.monitor = made
    if process.monitors is None:
        process.monitors = {}
    process.monitors[made.number] = made
    _watch(process, made)
    return made


def monitor_found(signal: signals.Monitor, found: Ref[Any]) -> None:
    """Have a monitor that was set up by a name watch the process that was found to hold it."""
    process = process_of(signal.watcher)
    made = None if process is None or process.monitors is None else process.monitors.get(signal.tag)
    if process is not None and made is not None:  # it was not taken down meanwhile
        made.ref = found
        _watch(process, made)


def _watch(process: Process, made: Monitor) -> None:
    """Have the process that a monitor of `process` is for tell of its end."""
    ref = made.ref
    watched = ref._process if type(ref) is LocalRef else process_of(ref)
    if watched is process:
        made.active = False
        if process.monitors is not None:
            process.monitors.pop(made.number, None)
    elif watched is not None and watched.ended is None:
        if watched.watchers is None:
            watched.watchers = {}
        watched.watchers[made] = None
    elif watched is not None or ref is None:
        monitor_fired(process, made.number, NO_PROCESS)
    else:
        ref.deliver(signals.Monitor(process.ref, made.number))


def demonitor(process: Process, target: Monitor, flush: bool) -> bool:
    """Take a monitor down."""
    if type(target) is not Monitor:
        raise TypeError(f"expected a Monitor, which `monitor` has returned, got {safe_repr(target)}")
    if target.owner != process.ref:
        raise NotOwner(
            f"the monitor of {target.ref or target.name} belongs to {target.owner}; "
            f"{process.ref} cannot take it down"
        )
    was_active, target.active = target.active, False
    if process.monitors is not None and process.monitors.pop(target.number, None) is not None:
        _watch_no_longer(target)
    _alias_over(process, target)
    if flush and not was_active:
        process.remove_message(lambda message: type(message) is Down and message.monitor is target)
    return was_active


def _watch_no_longer(target: Monitor) -> None:
    """Have the process that `target` watches forget it."""
    ref = target.ref
    assert ref is not None
    watched = process_of(ref)
    if watched is None:
        ref.deliver(signals.Demonitor(target.owner, target.number))
    elif watched.watchers is not None:
        watched.watchers.pop(target, None)


def monitor_fired(process: Record, number: int, reason: Reason) -> None:
    """Put the `Down` of the monitor `number` of `process` into its mailbox, if the monitor is still up."""
    watched = None if process.monitors is None else process.monitors.pop(number, None)
    if watched is None:
        return
    watched.active = False
    if watched.alias is not None:
        _alias_over(process, watched)
    ref = watched.ref if watched.ref is not None else process.node.named(watched.name or "")
    process.put(Down(watched, ref, reason))


def tell_watchers(watchers: Mapping[Watcher, None], reason: Reason) -> None:
    """Fire the monitors of a process that has ended with `reason`. None keeps the next from firing.

    It has a twin in C (`actors/core/watchers.c`): a process may have thousands of monitors.
    """
    for watcher in watchers:
        tell_watcher(watcher, reason)


def tell_watcher(watcher: Watcher, reason: Reason) -> None:
    """Fire one of them. Not a checkpoint, never raises."""
    if type(watcher) is tuple:
        guarded(watcher[0].deliver, signals.Down(watcher[1], reason))
        return
    assert isinstance(watcher, Monitor)
    owner = process_of(watcher.owner)
    try:
        monitor_fired(owner, watcher.number, reason)  # type: ignore[arg-type]
    except BaseException as error:
        watcher_failed(watcher, error)


def watcher_failed(watcher: Monitor, error: BaseException) -> None:
    """The process that set that monitor up could not be told."""
    owner = process_of(watcher.owner)
    assert owner is not None
    telling_failed(owner, error)


def _alias_over(process: Record, target: Monitor) -> None:
    if target.alias is not None and target.alias.mode in ("demonitor", "reply_demonitor"):
        process.forget_alias(target.alias)


def alias(process: Process, mode: AliasMode) -> Alias[Any]:
    """Make an alias."""
    if mode not in get_args(AliasMode):
        raise ValueError(
            f"an alias mode must be one of {', '.join(get_args(AliasMode))}, got {safe_repr(mode)}"
        )
    made: Alias[Any] = Alias(process, mode)
    process.extras().aliases[made] = None
    return made


def unalias(process: Process, target: Alias[Any]) -> bool:
    """Take an alias back."""
    owner = canonical(target)
    if owner != process.ref:
        raise NotOwner(f"{target} is an alias of {owner}; {process.ref} cannot take it back")
    was_active = target.active
    process.forget_alias(target)
    return was_active


def notify_end(process: Process, reason: Reason) -> None:
    """Notify the links and monitors of `process`, which has ended, and take its own monitors down.

    It has a twin in C (`actors/core/links.c`), as `link_ended` has.
    """
    if process.monitors:
        for target in process.monitors.values():
            target.active = False
            guarded(_watch_no_longer, target)
    linked, process.links = process.links, None
    watchers, process.watchers = process.watchers, None
    process.monitors = None
    if linked:
        for ref, state in linked.items():
            if state == UP:
                tell_linked(process, ref, reason)
    if watchers:
        tell_watchers(watchers, reason)


def tell_linked(process: Process, ref: Ref[Any], reason: Reason) -> None:
    """Notify one that `process`, which has ended, was linked to. Not a checkpoint, never raises."""
    other = process_of(ref)
    if other is None:
        guarded(ref.deliver, signals.Exit(process.ref, reason, linked=True))
        return
    try:
        link_ended(other, process.ref, reason)
    except BaseException as error:
        telling_failed(other, error)


def telling_failed(process: Record, error: BaseException) -> None:
    """The process could not be told of an end: end it, too. Not a checkpoint, never raises."""
    guarded(process.signal_failed, error)


def killed_over(process: Process, reason: Reason) -> None:
    """Tell the children of an arena whose owner was killed over their links; shut the others down."""
    if process.extras_or_none is None or process.extras_or_none.arena is None:
        return
    linked = process.links or {}
    for child in reversed(list(process.extras_or_none.arena)):
        if linked.get(child.ref) == UP:
            del linked[child.ref]
            child.deliver(signals.Exit(process.ref, reason, linked=True))
        else:
            child.deliver(signals.Exit(process.ref, SHUTDOWN, linked=False))
