"""Global names: which process of this node holds one, and who holds one elsewhere.

A claim in the registry names a node and a process of it. This node counts as the holder while its lease is
good, and no longer (`enfilade.transport.mesh.claims`). Who is found is remembered, until that process turns
out not to be there, or its node leaves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import trio

from enfilade.actors.messages.errors import (
    AlreadyStarted,
    CallError,
    Ignore,
    NameTaken,
    NoProcess,
    NoQuorum,
)
from enfilade.actors.messages.global_name import Global
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.reasons import NO_PROCESS, LeaseLost
from enfilade.actors.messages.ref import NodeRef, Ref
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.signals import UNANSWERED, Call, Down, Monitor, Signal
from enfilade.actors.peers.events import NameLost
from enfilade.actors.peers.ledger import undeliverable
from enfilade.actors.peers.mesh.global_ref import GlobalRef, HolderSeeker
from enfilade.actors.peers.remote_refs import HeldRef
from enfilade.actors.peers.waiting import Line, Room
from enfilade.actors.processes.links import monitor_found
from enfilade.actors.processes.local_ref import process_of
from enfilade.transport.mesh.claims import Claims, Fence, Taken, name_key
from enfilade.transport.mesh.registry import NoAnswer

if TYPE_CHECKING:
    from enfilade.actors.peers.distribution import Distribution
    from enfilade.actors.processes.process import Process
    from enfilade.transport.mesh.lease import Claim

__all__ = ["GlobalNames"]

logger = logging.getLogger("enfilade.mesh")


class _Ends(NodeRef):
    """Is told of the ends of the processes that hold names, as the node itself."""

    __slots__ = ("_names",)

    def __init__(self, names: GlobalNames) -> None:
        super().__init__(names.node)
        self._names = names

    def deliver(self, signal: Signal) -> None:
        if isinstance(signal, Down):
            self._names.ended(signal.tag)


@attrs.define
class _Asking:
    """A question to the registry, and what waits for its answer."""

    waiting: Line[tuple[GlobalRef, Signal]]
    over: trio.Event = attrs.field(factory=trio.Event)


class GlobalNames:
    """The global names, as one node sees them.

    Args:
        distribution: the part of the node in the net.
        claims: of the node.
    """

    def __init__(self, distribution: Distribution, claims: Claims) -> None:
        self.node = distribution.node
        self._distribution = distribution
        self._claims = claims
        self._holders: dict[str, tuple[Process, bool]] = {}
        self._ends = _Ends(self)
        self._seeker = HolderSeeker(self)
        self._known: dict[str, Ref[Any]] = {}
        self._asking: dict[str, _Asking] = {}
        self._room = Room()

    # What users ask for.

    async def register(self, name: str, ref: Ref[Any]) -> None:
        """See `MeshView.register`."""
        process = process_of(ref)
        if process is None or process.node is not self.node:
            raise TypeError(f"a global name is for a process of this node, got {safe_repr(ref)}")
        await self.hold(Global(name), process)

    async def unregister(self, name: str) -> None:
        """See `MeshView.unregister`."""
        if self._holders.pop(Global(name).name, None) is None:
            raise NoProcess(name, problem=f"no process of this node holds the global name {safe_repr(name)}")
        await self._claims.give_back(name_key(name))

    async def whereis(self, name: str) -> Ref[Any] | None:
        """See `MeshView.whereis`."""
        try:
            claim = await self._claims.find(name_key(Global(name).name))
        except NoAnswer as error:
            raise NoQuorum(name, str(error)) from None
        if claim is None:
            self.forget(name)
            return None
        ref = self._known[name] = self._ref(claim)
        return ref

    def named(self, name: str) -> GlobalRef:
        """See `MeshView.named`."""
        return GlobalRef(self.node, self._seeker, Global(name).name)

    def holds(self, process: Process, name: str) -> bool:
        """Tell whether a process holds a name at this moment."""
        held = self._holders.get(name)
        return held is not None and held[0] is process and self._claims.held(name_key(name)) is not None

    def held_by(self, process: Process) -> list[str]:
        """Return the names that a process holds at this moment."""
        return [name for name in self._holders if self.holds(process, name)]

    def fence(self, process: Process) -> Fence | None:
        """Return the fence of the first name that a process holds at this moment; None without one."""
        for name, (holder, _) in self._holders.items():
            held = self._claims.held(name_key(name)) if holder is process else None
            if held is not None:
                return held.fence
        return None

    # For starts.

    async def hold(self, name: Global, process: Process) -> None:
        """Have a process hold a name.

        Raises:
            NameTaken: another process has it.
            NoQuorum: the registry does not answer.
            NoProcess: the process has ended meanwhile.
        """
        if not _has_ended(process):
            await self._claim(name.name, process.serial, lambda: name.taken == "wait")
            if _has_ended(process):
                await self._claims.give_back(name_key(name.name))
        if _has_ended(process):
            raise NoProcess(process.ref)
        self.bind(name.name, process)

    async def reserve(self, name: Global, waits: Callable[[], bool]) -> int:
        """Hold a name for a process that is made afterwards, and return the number that it must have.

        Args:
            name: what to hold.
            waits: tells whether to wait, as long as another process has it, or the registry does not answer.

        Raises:
            NameTaken: another process has it.
            NoQuorum: the registry does not answer.
        """
        serial = self.node.new_number()
        await self._claim(name.name, serial, waits)
        return serial

    def cancel(self, name: str) -> None:
        """Give back a name that was reserved."""
        self._claims.release(name_key(name))

    def bind(self, name: str, process: Process, *, must_hold: bool = False) -> None:
        """Have a name end with the process that holds it.

        Args:
            name: a name that was claimed for the number of the process.
            process: which has perhaps not begun yet.
            must_hold: whether it is to end with `LeaseLost` when its node holds the name no longer.
        """
        self._holders[name] = process, must_hold
        process.deliver(Monitor(self._ends, self.node.new_number()))
        if must_hold:
            process.guard_by(lambda: None if self.holds(process, name) else LeaseLost(name))

    async def _claim(self, name: str, serial: int, waits: Callable[[], bool]) -> None:
        token = self._distribution.handouts.token_of(serial)
        try:
            await self._claims.claim(name_key(name), serial, token, waits=waits)
        except Taken as taken:
            raise NameTaken(name, self._ref(taken.claim)) from None
        except NoAnswer as error:
            raise NoQuorum(name, str(error)) from None

    async def hold_for_start(self, name: Global, process: Process) -> None:
        """Have a process hold a name before it begins.

        Raises:
            AlreadyStarted: another process has it, and `taken` is "fail".
            Ignore: another process has it, and `taken` is "ignore".
            NoQuorum: the registry does not answer.
        """
        try:
            await self.hold(name, process)
        except NameTaken as taken:
            if name.taken == "ignore":
                raise Ignore from None
            raise AlreadyStarted(name.name, taken.holder) from None

    def ended(self, _number: int) -> None:
        """Take note that a holder has ended: its names are free."""
        for name, (process, _) in list(self._holders.items()):
            if process.ended is not None:
                del self._holders[name]
                self.forget(name)
                self._claims.release(name_key(name))

    def lost(self, keys: Sequence[str]) -> None:
        """Take note of what the node holds no longer."""
        lost = set(keys)
        for name, (process, must_hold) in list(self._holders.items()):
            if name_key(name) in lost:
                del self._holders[name]
                self.forget(name)
                if must_hold:
                    process.interrupt(LeaseLost(name))
                else:
                    process.put(NameLost(name))

    # Who holds names elsewhere.

    def here(self, name: str) -> Ref[Any] | None:
        """Return the process of this node that holds a name at this moment; None when there is none."""
        held = self._holders.get(name)
        is_held = held is not None and self._claims.held(name_key(name)) is not None
        return held[0].ref if held is not None and is_held else None

    def known(self, name: str) -> Ref[Any] | None:
        """Return who holds a name, as far as it is known without asking."""
        return self.here(name) or self._known.get(name)

    def known_now(self, name: str) -> Ref[Any] | None:
        """Return who holds a name as `known` does; None while signals wait for the registry to say so."""
        return None if name in self._asking else self.known(name)

    def forget(self, name: str) -> None:
        """Ask the registry when the name is used next."""
        self._known.pop(name, None)

    def node_left(self, node: str) -> None:
        """Take note that a node has left."""
        self._known = {name: ref for name, ref in self._known.items() if ref.node_name != node}

    async def find(self, name: str) -> Ref[Any] | None:
        """Find who holds a name, behind what was sent to it before.

        Raises:
            NoQuorum: the registry does not answer.
        """
        while name in self._asking:
            await self._asking[name].over.wait()
        return self.known(name) or await self.whereis(name)

    def deliver(self, ref: GlobalRef, signal: Signal) -> None:
        """Deliver a signal to whoever holds the name of a ref, in the order of all signals to that name."""
        asking = self._asking.get(ref.name)
        known = self.here(ref.name) if isinstance(signal, UNANSWERED) else self.known(ref.name)
        if asking is not None:
            self._wait(asking, ref, signal)
        elif known is not None:
            known.deliver(signal)
        elif not self._distribution.is_running:
            self._fail(ref, signal, NoQuorum(ref.name, "this node has stopped"))
        else:
            asking = self._asking[ref.name] = _Asking(Line(self._room))
            self._distribution.start_soon(self._deliver_later, ref.name, asking)
            self._wait(asking, ref, signal)

    def _wait(self, asking: _Asking, ref: GlobalRef, signal: Signal) -> None:
        was_full = asking.waiting.is_full
        refusal = asking.waiting.add((ref, signal), signal)
        if refusal:
            problem = f"{refusal} for the registry to say who holds global names"
            if not was_full:
                log(logging.WARNING, "messages for %s are lost: %s", ref, problem, logger=logger)
            self._fail(ref, signal, NoProcess(ref, problem=problem))

    async def _deliver_later(self, name: str, asking: _Asking) -> None:
        """Ask the registry, then deliver what waits for that."""
        holder: Ref[Any] | None = None
        error: CallError | None = NoQuorum(name, "this node has stopped meanwhile")
        try:
            holder = await self.whereis(name)
            error = None
        except CallError as raised:
            error = raised
        finally:
            del self._asking[name]
            asking.over.set()
            for ref, signal in asking.waiting.take():
                if holder is None:
                    self._fail(ref, signal, error)
                elif isinstance(signal, Monitor):
                    monitor_found(signal, holder)
                else:
                    holder.deliver(signal)

    def _fail(self, ref: GlobalRef, signal: Signal, error: CallError | None) -> None:
        if isinstance(signal, Call) and error is not None:
            signal.fail(error)
        else:
            undeliverable(self.node, ref, signal, NO_PROCESS)

    def _ref(self, claim: Claim) -> Ref[Any]:
        """Return the ref of a holder."""
        if (claim.node, claim.incarnation) == (self.node.full_name, self.node.incarnation):
            return self._distribution.local(claim.serial, claim.token)
        remote = self._distribution.remote_node(claim.node, claim.incarnation, claim.node)
        return HeldRef(self.node, remote, claim.serial, claim.token)


def _has_ended(process: Process) -> bool:
    return process.ended is not None
