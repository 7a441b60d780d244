"""Process groups, after OTP's `pg`: many processes under one group name, in scopes that know nothing of one
another.

A process may join a group several times; it is then listed as often and has to leave as often. Its end
takes it out of all its groups. Members on other nodes are put in by the node link
(`GroupScope.replace_remote`): each node is the authority over its own processes, so views agree again once
two nodes have exchanged theirs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from enfilade.actors.messages.errors import MailboxFull, NoProcess, NotJoined
from enfilade.actors.messages.guarded import guarded
from enfilade.actors.messages.hooks import Hooks, call
from enfilade.actors.messages.ref import Ref, checked_ref
from enfilade.actors.messages.safe_text import safe_record, safe_repr
from enfilade.actors.messages.signals import Notice, undroppable
from enfilade.actors.processes.links import canonical, stands_for
from enfilade.actors.processes.local_ref import LocalRef, process_of, the_process_of

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["GroupMonitor", "GroupScope", "Groups", "Joined", "Left", "hand_out"]

Publisher: TypeAlias = Callable[[str, Hashable, Any], bool]


@undroppable
@attrs.frozen
class Joined:
    """A notice: `refs` have joined `group` of `scope`."""

    scope: str
    group: Hashable
    refs: tuple[Ref[Any], ...]

    __repr__ = safe_record


@undroppable
@attrs.frozen
class Left:
    """A notice: `refs` have left `group` of `scope`, or ended."""

    scope: str
    group: Hashable
    refs: tuple[Ref[Any], ...]

    __repr__ = safe_record


@attrs.define(eq=False)
class GroupMonitor:
    """A subscription to changes of one group, or, with `group` None, of a whole scope. Ends with its
    `watcher`.
    """

    watcher: Ref[Any]
    group: Hashable | None


class GroupScope:
    """The groups of one scope. Made by `Node.scope`.

    Attributes:
        name: the scope's name.
        listener: told of each local change `(event)`: the node link's way to pass it on.
        publisher: tells all nodes of a mesh a message `(scope, group, message)`; returns False where the
            scope is not published.
    """

    def __init__(self, name: str, hooks: Hooks) -> None:
        self.name = name
        self._hooks = hooks
        self.listener: Callable[[Joined | Left], None] | None = None
        self.publisher: Publisher | None = None
        self._local: dict[Hashable, list[Ref[Any]]] = {}
        self._remote: dict[str, dict[Hashable, list[Ref[Any]]]] = {}
        self._monitors: dict[GroupMonitor, None] = {}

    def join(self, group: Hashable, *refs: Ref[Any]) -> None:
        """Let local processes join `group`; one that is named twice, or joins twice, is a member twice.

        What is known by another handle, a name or an alias, joins as the process that it stands for now. Not
        a checkpoint. Source: `pg:join/3`.

        Raises:
            NoProcess: one of them has ended, or is a name that no process holds; then none has joined.
            TypeError: one of them lives on another node.
        """
        joining = []
        refs = tuple(map(_member, refs))
        for ref in refs:
            process = the_process_of(ref, "only processes of this node can join a group")
            if process.ended is not None:
                raise NoProcess(ref)
            joining.append(process)
        if not joining:
            return
        for process in joining:
            joined = process.extras().groups
            joined[self.name, group] = joined.get((self.name, group), 0) + 1
        self._local.setdefault(group, []).extend(refs)
        self._tell(Joined(self.name, group, refs), local=True)

    def leave(self, group: Hashable, *refs: Ref[Any]) -> None:
        """Undo one `join` of `group` by each of the processes. Not a checkpoint. Source: `pg:leave/3`.

        Raises:
            NotJoined: one of them is not a member; then none has left.
        """
        members = self._local.get(group, [])
        refs = tuple(map(_member, refs))
        for ref in refs:
            if members.count(ref) < refs.count(ref):
                place = f"the group {safe_repr(group)} of the scope {safe_repr(self.name)}"
                raise NotJoined(f"{ref} is not a member of {place}")
        if not refs:
            return
        for ref in refs:
            members.remove(ref)
            member = process_of(ref)
            assert member is not None  # `join` lets no other in
            joined = member.extras().groups
            joined[self.name, group] -= 1
            if not joined[self.name, group]:
                del joined[self.name, group]
        if not members:
            self._local.pop(group, None)
        self._tell(Left(self.name, group, refs), local=True)

    def publish(self, group: Hashable, message: Any) -> None:
        """Send a message to all members of a group, on whichever node they are. Not a checkpoint.

        Each gets it once for each time that it has joined, or not at all: there is no order with what is sent
        in other ways, and a member whose mailbox is full and refuses messages goes without. In a scope that
        is published to a mesh (`Mesh.groups`) the message leaves once, for all nodes, and reaches the members
        that they have then. Every node of the mesh can hear it; those whose policy does not share the scope
        with this node pass it over. It has 48 KiB at most there, and nobody may end a process without a name
        because its ref is in it.

        Raises:
            TypeError: `group` is not hashable.
            PayloadError: the message cannot travel to other nodes; then no member has got it.
        """
        members = self.local_members(group)
        if self.publisher is None or not self.publisher(self.name, group, message):
            for groups in list(self._remote.values()):
                for ref in groups.get(group, ()):
                    ref.send(message)
        hand_out(members, message)

    def drop(self, group: Hashable, process: Process) -> None:
        """End all memberships of `process`, which has ended, in `group`."""
        if group not in self._local:  # its hash has changed: nobody finds it any more
            self._local = {name: refs for name, refs in self._local.items() if name is not group}
        members = self._local.get(group, [])
        left = tuple(ref for ref in members if ref == process.ref)
        rest = [ref for ref in members if ref != process.ref]
        if rest:
            self._local[group] = rest
        else:
            self._local.pop(group, None)
        if left:
            self._tell(Left(self.name, group, left), local=True)

    def members(self, group: Hashable) -> list[Ref[Any]]:
        """Return all members of `group`, those of this node first. Not a checkpoint.

        Source: `pg:get_members/2`.
        """
        found = list(self._local.get(group, ()))
        for groups in self._remote.values():
            found.extend(groups.get(group, ()))
        return found

    def local_members(self, group: Hashable) -> list[Ref[Any]]:
        """Return the members of `group` on this node, in the order in which they joined. Not a checkpoint."""
        return list(self._local.get(group, ()))

    def which_groups(self) -> list[Hashable]:
        """Return all groups that have a member. Not a checkpoint. Source: `pg:which_groups/1`."""
        found: dict[Hashable, None] = dict.fromkeys(self._local)
        for groups in self._remote.values():
            found.update(dict.fromkeys(groups))
        return list(found)

    def local(self) -> Mapping[Hashable, tuple[Ref[Any], ...]]:
        """The memberships on this node: what the node link tells another node."""
        return {group: tuple(members) for group, members in self._local.items()}

    def replace_remote(self, node_name: str, groups: Mapping[Hashable, Iterable[Ref[Any]]]) -> None:
        """Replace the memberships on the node `node_name` by `groups`, none when it was lost. Monitors are
        sent the differences.
        """
        for group in dict.fromkeys([*self._remote.get(node_name, ()), *groups]):
            self.replace_remote_group(node_name, group, groups.get(group, ()))

    def replace_remote_group(self, node_name: str, group: Hashable, members: Iterable[Ref[Any]]) -> None:
        """Replace the `members` of `group` on the node `node_name`; the rest as `replace_remote`."""
        told = self._remote.setdefault(node_name, {})
        before, after = told.pop(group, []), list(members)
        if after:
            told[group] = after
        elif not told:
            del self._remote[node_name]
        gone, came = Counter(before), Counter(after)
        left, joined = tuple((gone - came).elements()), tuple((came - gone).elements())
        if left:
            self._tell(Left(self.name, group, left), local=False)
        if joined:
            self._tell(Joined(self.name, group, joined), local=False)

    def remote_groups(self, node_name: str) -> Collection[Hashable]:
        """Return the groups that have members on the node `node_name`."""
        return self._remote.get(node_name, {}).keys()

    def monitor(self, watcher: Ref[Any], group: Hashable) -> tuple[GroupMonitor, list[Ref[Any]]]:
        """Have `watcher` sent `Joined` and `Left` of one group; return its present members, too.

        Not a checkpoint. Source: `pg:monitor/2`.

        Raises:
            TypeError: `watcher` is not a ref.
        """
        made = GroupMonitor(checked_ref(watcher, "watcher"), group)
        self._monitors[made] = None
        return made, self.members(group)

    def monitor_scope(self, watcher: Ref[Any]) -> tuple[GroupMonitor, dict[Hashable, list[Ref[Any]]]]:
        """Have `watcher` sent `Joined` and `Left` of every group; return the present members of each, too.

        Not a checkpoint. Source: `pg:monitor_scope/1`.

        Raises:
            TypeError: `watcher` is not a ref.
        """
        made = GroupMonitor(checked_ref(watcher, "watcher"), None)
        self._monitors[made] = None
        return made, {group: self.members(group) for group in self.which_groups()}

    def demonitor(self, monitor: GroupMonitor) -> bool:
        """End a subscription; return false when it had ended already. Not a checkpoint. Source:
        `pg:demonitor/2`.

        Raises:
            TypeError: `monitor` is not a `GroupMonitor`.
        """
        if type(monitor) is not GroupMonitor:
            raise TypeError(f"expected a GroupMonitor, got {safe_repr(monitor)}")
        return self._monitors.pop(monitor, self) is None

    def forget(self, watcher: Ref[Any]) -> None:
        """End the subscriptions of `watcher`, which has ended."""
        for monitor in [found for found in self._monitors if stands_for(found.watcher, watcher)]:
            del self._monitors[monitor]

    def forget_all(self) -> None:
        """End every subscription: names that watch, and processes of other nodes, outlive the node."""
        self._monitors.clear()

    @property
    def monitored(self) -> bool:
        """True while there is a subscription."""
        return bool(self._monitors)

    def __len__(self) -> int:
        return sum(map(len, self._local.values())) + len(self._monitors)

    def _tell(self, event: Joined | Left, *, local: bool) -> None:
        for monitor in list(self._monitors):
            if monitor.group is None or monitor.group == event.group:
                _tell(monitor.watcher, event)
        if not local:
            return
        if self.listener is not None:
            self.listener(event)
        told = self._hooks.group_joined if type(event) is Joined else self._hooks.group_left
        if told:
            for ref in event.refs:
                call(told, self.name, event.group, ref)


def hand_out(members: Iterable[Ref[Any]], message: Any) -> None:
    """Send a message to members of this node. Who refuses it goes without."""
    for ref in members:
        with suppress(MailboxFull):
            ref.send(message)


def _member(ref: Ref[Any]) -> Ref[Any]:
    """The ref under which a member is known."""
    return ref if type(ref) is LocalRef else canonical(ref)


def _tell(watcher: Ref[Any], event: Joined | Left) -> None:
    """Send `event` past the bound of the mailbox: it is a message of the runtime."""
    if type(watcher) is LocalRef:
        watcher._process.put(event)
    else:
        guarded(watcher.deliver, Notice(event))


class Groups:
    """All group scopes of a node, made on first use.

    Attributes:
        by_name: the scopes that have been used, by name.
    """

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self.by_name: dict[str, GroupScope] = {}
        self._listener: Callable[[Joined | Left], None] | None = None
        self._publisher: Publisher | None = None

    def publish_by(self, publisher: Publisher | None) -> None:
        """Have `publisher` tell other nodes what is published in any scope, also in those to come; None to
        stop.
        """
        self._publisher = publisher
        for scope in self.by_name.values():
            scope.publisher = publisher

    def listen(self, listener: Callable[[Joined | Left], None] | None) -> None:
        """Have `listener` told of the local changes of every scope, also of those to come; None to stop."""
        self._listener = listener
        for scope in self.by_name.values():
            scope.listener = listener

    def scopes(self) -> list[GroupScope]:
        """The scopes that have been used."""
        return list(self.by_name.values())

    def scope(self, name: str = "default") -> GroupScope:
        """The scope of that name.

        Raises:
            TypeError: `name` is not a string.
        """
        if not isinstance(name, str):
            raise TypeError(f"the name of a scope must be a string, got {safe_repr(name)}")
        found = self.by_name.get(name)
        if found is None:
            found = self.by_name[name] = GroupScope(name, self._hooks)
            found.listener, found.publisher = self._listener, self._publisher
        return found

    def __len__(self) -> int:
        return sum(map(len, self.by_name.values()))

    def close(self) -> None:
        """End every subscription, of every scope: the node has closed."""
        for scope in self.by_name.values():
            scope.forget_all()

    def leave_all(self, process: Process) -> None:
        """End all memberships of `process`, which has ended."""
        assert process.extras_or_none is not None
        memberships, process.extras_or_none.groups = process.extras_or_none.groups, {}
        for scope, group in memberships:
            self.by_name[scope].drop(group, process)

    def forget_watcher(self, ref: Ref[Any]) -> None:
        """End the subscriptions of `ref`, which has ended, in every scope."""
        for scope in self.by_name.values():
            if scope.monitored:
                scope.forget(ref)
