"""The carrier that is made of doors.

An inlet is a door whose server procedure is the C queue (`transport/queue/queue.h`). An outlet is C, too
(`transport/queue/sender.h`): a call is posted, and its answer is looked at before the next one, because the
next frames of the peer tell as much. What cannot be posted is called by a thread, which starts when it is
needed first. Nobody stands still for a peer that has been stopped. Python runs on neither side of a call: it
waits for a descriptor, and handles what has gathered meanwhile.

Holding a door is the right to use it, so inlets travel as descriptors. When nobody else holds the door of an
inlet any more, doors say so, and that is how the death of a peer is noticed.
"""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import trio

from enfilade.ownership import is_own
from enfilade.transport import closing, zones
from enfilade.transport.carrier import (
    Arrival,
    Carrier,
    CarrierError,
    Credentials,
    Handle,
    Inlet,
    Outlet,
    Status,
    Traits,
)
from enfilade.transport.doors import api
from enfilade.transport.doors._doors import ffi, lib
from enfilade.transport.doors.client import Client
from enfilade.transport.doors.errors import DoorError, DoorOpenError, FattachError, FdetachError
from enfilade.transport.porter import Porter
from enfilade.transport.wire import PREFIX

CData: TypeAlias = Any

__all__ = ["DoorCarrier"]

MOST_CALLS = 1024
"""Calls that an inlet holds, whatever their size."""

ZONES_HAVE_NAMES = os.uname().sysname == "SunOS"

O_PATH = getattr(os, "O_PATH", 0)
"""Opens a file for nothing but to know it again; only Linux has it."""

NOBODY = Credentials(pid=0, uid=-1, gid=-1)

UNKNOWN = 0xFFFFFFFF
"""A user or group that has no number in our user namespace, as C tells it: -1 without a sign."""

STATUSES = tuple(Status)
"""By number; `Status(number)` takes ten times as long."""

ANSWER_SECONDS = 5.0
"""How long an old name, which may be anybody's, is asked whether the door behind it lives."""

UNDER_WAY: Final[int] = lib.SENDER_UNDER_WAY

LOOK_SECONDS = 0.05
"""Seconds after which the answer to a batch is looked at that nobody has wanted to see."""

REPEAT_SECONDS = 0.01
"""Seconds between attempts to interrupt a thread in a call whose outlet is closed."""


def vouched_zone(zone: int) -> str | None:
    """The name of a caller's zone, where the kernel vouches for it.

    On illumos it does. On Linux it tells namespaces, which have no names that mean anything to whoever
    writes a policy: there the name that the caller claims is all there is, and rules should look at its
    user as well.
    """
    if not ZONES_HAVE_NAMES:
        return None
    try:
        return zones.by_id(zone).name
    except zones.ZoneError:
        return None


SCARCE = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Failures of a call that say nothing about the peer: there is nothing left to make it with, now."""


ELSEWHERE: Final = re.compile(r"/\w+:/|:\d+$")
"""What a path has that was made of a URL, or of a host and its port."""


def _meant_by(address: str) -> str:
    """Say what a path that leads to no door was probably meant for."""
    if "@" in os.path.basename(address):
        return "; a node that is opened with `mesh` calls the nodes of its mesh by their names"
    if ELSEWHERE.search(address):
        return "; an address is the path of a door: nodes on other machines meet in a `mesh`"
    return ""


def _number(id_: int) -> int:
    return -1 if id_ == UNKNOWN else id_


class DoorCarrier(Carrier):
    """Makes inlets and outlets of doors.

    Args:
        zone_name: maps the id of a zone to its name, or to None when the name is unknown.
        mode: the permissions of the names that inlets are attached to; whoever may read one may call, and
            the policy decides about the caller.
    """

    traits = Traits()

    def __init__(self, *, zone_name: Callable[[int], str | None] = vouched_zone, mode: int = 0o600) -> None:
        self._zone_name = zone_name
        self._mode = mode
        self._porter = Porter()

    def inlet(self, *, capacity: int, largest: int) -> Inlet:
        return _DoorInlet(self._zone_name, self._mode, capacity, largest, self._porter)

    async def attend(self) -> None:
        await self._porter.run()

    def outlet(self, handle: Handle) -> Outlet:
        known = lib.is_door(handle)
        if known != 1:
            error = ffi.errno
            closing.close(handle)
            if known < 0:
                raise CarrierError(error, f"failed to look at a door in the batch: {os.strerror(error)}")
            raise CarrierError(errno.EINVAL, "expected a door in the batch, got another descriptor")
        return _DoorOutlet(lib.sender_create(handle), "the peer's door")

    def leads_to(self, address: str) -> bool:
        return not address.startswith("mesh:")

    def resolve(self, address: str) -> str:
        return _complete(address.removeprefix("door:"))

    async def open(self, address: str) -> Outlet:
        await trio.lowlevel.checkpoint()
        if _is_plain(address):
            raise CarrierError(errno.ENXIO, f"no door is attached to {address!r}")
        what = f"the door at {address!r}"
        return _DoorOutlet(lib.sender_open(os.fsencode(address)), what, _meant_by(address))

    def discard(self, handle: Handle) -> None:
        closing.close(handle)


class _DoorInlet(Inlet):
    """A door with a queue behind it."""

    def __init__(
        self,
        zone_name: Callable[[int], str | None],
        mode: int,
        capacity: int,
        largest: int,
        porter: Porter,
    ) -> None:
        queue = lib.queue_create(PREFIX, len(PREFIX), largest, capacity, MOST_CALLS)
        if queue == ffi.NULL:
            raise CarrierError(ffi.errno, f"failed to make a door: {os.strerror(ffi.errno)}")
        self._queue = queue
        self._zone_name = zone_name
        self._mode = mode
        self._attached: list[_Attached] = []
        self.event: int = lib.queue_event(queue)
        self._porter = porter
        self._take_in: Callable[[bool], bool] | None = None
        self._caller = 0
        self._credentials = NOBODY

    @property
    def handle(self) -> Handle:
        return lib.queue_door(self._queue)  # type: ignore[no-any-return]

    async def receive(self) -> Sequence[Arrival]:
        while True:
            if self._queue is None:
                raise CarrierError(errno.EBADF, "the inlet is closed")
            try:
                if self._take_in is not None and self._porter.is_busy:
                    await self._porter.wait(self.event)
                else:
                    await trio.lowlevel.wait_readable(self.event)
            except trio.ClosedResourceError:
                continue
            arrivals = self.take()
            if arrivals:
                return arrivals

    def hand_over_by(self, take: Callable[[bool], bool]) -> None:
        if self._queue is not None:
            self._take_in = take
            self._porter.add(self)

    def tell(self, *, alone: bool) -> bool:
        """See `Visited`."""
        return self._take_in is not None and self._take_in(alone)

    def take(self) -> Sequence[Arrival]:
        if self._queue is None:
            raise CarrierError(errno.EBADF, "the inlet is closed")
        item = lib.queue_take(self._queue)
        return self._arrivals(item) if item else ()

    def linger(self, seconds: float) -> Sequence[Arrival]:
        if self._queue is None:
            raise CarrierError(errno.EBADF, "the inlet is closed")
        item = lib.queue_linger(self._queue, int(seconds * 1e6))
        return self._arrivals(item) if item else ()

    def _arrivals(self, item: CData) -> Sequence[Arrival]:
        arrivals: list[Arrival] = []
        while item:
            if item.is_unreferenced:
                arrivals.append(Arrival(None, (), NOBODY))
            else:
                if item.caller != self._caller:
                    self._caller, self._credentials = item.caller, self._credentials_of(item)
                handles: Sequence[Handle] = ()
                if item.n_descriptors:
                    handles = list(item.descriptors[0 : item.n_descriptors])
                    closing.charge(handles, self._credentials)
                arrivals.append(Arrival(ffi.buffer(item.data, item.size)[:], handles, self._credentials))
            item, done = item.next, item
            lib.queue_item_free(done)
        return arrivals

    def _credentials_of(self, item: CData) -> Credentials:
        return Credentials(
            pid=item.pid,
            process=item.process,
            uid=_number(item.uid),
            gid=_number(item.gid),
            groups=frozenset(item.groups[0 : item.n_groups] if item.n_groups else ()) - {UNKNOWN},
            zone=self._zone_name(item.zone),
        )

    def limit_handles(self, each: int, held: int) -> None:
        if self._queue is not None:
            lib.queue_limit_descriptors(self._queue, each, held)

    async def attach(self, address: str) -> None:
        address = _complete(address)
        handle = self.handle
        try:
            remove = await trio.to_thread.run_sync(_attach_to_new, handle, address, self._mode)
            if not remove:
                is_dead = await _is_dead_door(address)
                remove = await trio.to_thread.run_sync(_attach_to_old, handle, address, is_dead)
        except CarrierError:
            raise
        except FattachError.EBUSY as error:
            taken = f"a node, or another program, listens at {address!r} already"
            raise CarrierError(error.errno, f"{taken}: stop it, or choose another path") from error
        except OSError as error:
            why = error.advice if isinstance(error, DoorError) else error.strerror
            raise CarrierError(error.errno, f"failed to attach a door to {address!r}: {why}") from error
        self._attached.append(_Attached(address, remove))

    def close(self) -> None:
        queue, self._queue = self._queue, None
        if queue is None:
            return
        for attached in self._attached:
            attached.detach()
        self._porter.remove(self.event)
        trio.lowlevel.notify_closing(self.event)
        lib.queue_close(queue)


class _Attached:
    """A name of an inlet's door.

    The file is held open as long as the door is attached to it: no other file has its number then, so that
    another that has come to stand in its place meanwhile is told from it.

    Args:
        address: the absolute path.
        created: whether the file is to be removed in the end.
    """

    def __init__(self, address: str, created: bool) -> None:
        self._address = address
        self._created = created
        self._file = -1
        if O_PATH:
            with contextlib.suppress(OSError):  # no descriptor is left
                self._file = os.open(address, O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)

    def detach(self) -> None:
        """Take the door from its name, unless another file has the name now."""
        with contextlib.suppress(FdetachError, OSError):
            if self._is_there():
                api.fdetach(self._address)
                if self._created:
                    os.unlink(self._address)
        if self._file >= 0:
            os.close(self._file)

    def _is_there(self) -> bool:
        return self._file < 0 or os.path.samestat(os.lstat(self._address), os.fstat(self._file))


def _complete(address: str) -> str:
    """The absolute path: the program may change its directory before the end."""
    return os.path.abspath(address)


def _is_plain(address: str) -> bool:
    """Tell whether a file exists there that cannot be a door. On Linux a door is a socket."""
    try:
        mode = os.stat(address).st_mode
    except OSError:
        return False  # the call will say why
    return not stat.S_ISDOOR(mode) and not stat.S_ISSOCK(mode)


def _attach_to_new(handle: Handle, address: str, mode: int) -> bool:
    """Attach a door to a new file; return false if there is a file already.

    Raises:
        OSError: that is impossible, or there is a directory.
    """
    if os.path.isdir(address):
        raise CarrierError(errno.EISDIR, f"{address!r} is a directory: give the path of a file in it")
    try:
        os.close(os.open(address, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
    except FileExistsError:
        return False
    api.fattach(handle, address)
    return True


def _attach_to_old(handle: Handle, address: str, is_dead: bool) -> bool:
    """Attach a door to a file that is there, in the place of a dead one.

    Returns:
        Whether the file is all that is left of a node that could not tidy up, and is to be removed then.

    Raises:
        OSError: that is impossible.
    """
    is_left = False
    if is_dead:
        api.fdetach(address)
        left = os.stat(address)
        is_left = left.st_size == 0 and is_own(left)
    api.fattach(handle, address)
    return is_left


async def _is_dead_door(address: str) -> bool:
    """Tell whether there is a door without a server at an address.

    Anybody may have put anything there. To open it, and to ask what it is, may take as long as that pleases:
    so a thread does, and is not waited for any longer than an honest door needs.

    Raises:
        CarrierError: it does not say.
        FattachError.EBUSY: the door has a server.
    """
    with trio.move_on_after(ANSWER_SECONDS):
        return await trio.to_thread.run_sync(_ask_whether_dead, address, abandon_on_cancel=True)
    silent = f"whatever listens at {address!r} has not answered for {ANSWER_SECONDS:g} s"
    raise CarrierError(errno.ETIMEDOUT, f"{silent}: remove it, or choose another path")


def _ask_whether_dead(address: str) -> bool:
    try:
        with Client.open(address) as client:
            info = client.info()
    except (DoorOpenError, DoorError):
        return False  # Not a door; fattach says what is wrong with it, if anything is.
    if info.target != -1:
        raise FattachError.of(errno.EBUSY, address)
    return True


class _DoorOutlet(Outlet):
    """A door, and what calls it."""

    def __init__(self, sender: CData, what: str, meant: str = "") -> None:
        if sender == ffi.NULL:
            raise CarrierError(ffi.errno, f"failed to make a channel to a door: {os.strerror(ffi.errno)}")
        self._sender = sender
        self._what = what
        self._meant = meant  # by an address where there is nothing
        self._event: int = lib.sender_event(sender)
        self._look = trio.CancelScope()
        self._is_looked_for = False  # its deadline is set: to ask it for that takes longer

    def start(
        self, data: bytes, handles: Sequence[Handle] = (), *, repeatable: bool = False
    ) -> Status | None:
        if self._sender is None:
            raise CarrierError(errno.EBADF, "the outlet is closed")
        descriptors = list(handles) if handles else ffi.NULL
        result: int = lib.sender_call(self._sender, data, len(data), descriptors, len(handles), repeatable)
        if result != UNDER_WAY:
            return STATUSES[result] if result >= 0 else self._failed()
        if not self._is_looked_for:
            self._is_looked_for = True
            self._look.deadline = trio.current_time() + LOOK_SECONDS
        return None

    def answer(self) -> Status | None:
        if self._sender is None:
            raise CarrierError(errno.EBADF, "the outlet is closed")
        result: int = lib.sender_finish(self._sender)
        if result >= 0:
            return STATUSES[result]
        return None if result == UNDER_WAY else self._failed()

    def _failed(self) -> Status:
        """Tell why a call has failed: the peer had no room, in effect, or is gone."""
        if ffi.errno in SCARCE:
            return Status.FULL
        if ffi.errno == errno.EBADF:
            raise CarrierError(errno.EBADF, f"{self._what} no longer exists: its server has ended")
        meant = self._meant if ffi.errno == errno.ENOENT else ""
        raise CarrierError(ffi.errno, f"{self._what} cannot be called: {os.strerror(ffi.errno)}{meant}")

    async def wait(self) -> None:
        while self._sender is not None:
            with trio.CancelScope() as self._look:
                self._is_looked_for = False
                try:
                    await trio.lowlevel.wait_readable(self._event)
                except trio.ClosedResourceError:
                    break
                return
            self.want()
        raise CarrierError(errno.EBADF, "the outlet is closed")

    def want(self) -> None:
        if self._sender is not None:
            lib.sender_want(self._sender)

    def close(self) -> None:
        sender, self._sender = self._sender, None
        if sender is None:
            return
        trio.lowlevel.notify_closing(self._event)
        if not _close_sender(sender):
            trio.lowlevel.spawn_system_task(_keep_closing, sender)


def _close_sender(sender: CData) -> bool:
    """Close a sender, unless its thread is in a call; return whether it is closed."""
    door = ffi.new("int *")
    if not lib.sender_close(sender, door):
        return False
    if door[0] >= 0:
        closing.close(door[0])
    return True


async def _keep_closing(sender: CData) -> None:
    """Close a sender when its thread has ended; until then, interrupt the thread again and again."""
    event = lib.sender_event(sender)
    while True:
        with trio.move_on_after(REPEAT_SECONDS) as pause:
            pause.shield = True
            await trio.lowlevel.wait_readable(event)
        if _close_sender(sender):
            return
