"""Results of `door_info`, and the capabilities of the implementation."""

import enum
from typing import Self

import attrs

from enfilade.transport.doors import api
from enfilade.transport.doors._doors import ffi, lib


class Attributes(enum.IntFlag):
    """The attributes of a door, as in `<sys/door.h>`.

    Those that may be asked for when a door is created:

    * `UNREF`: the procedure is told once, when only one reference to the door remains.
    * `UNREF_MULTI`: it is told every time.
    * `PRIVATE`: only threads that `api.door_bind` binds to the door serve it: until there is one, calls wait.
      `Door(threads=...)` makes such threads itself.
    * `REFUSE_DESC`: calls that pass descriptors fail.
    * `NO_CANCEL`: the server thread is not cancelled when its client goes away.
    * `NO_DEPLETION_CB`: for `door_xcreate` alone: its thread creation function is not called again later.

    Those that are only reported: `LOCAL` (the door belongs to the asking process), `REVOKED`, `IS_UNREF`
    (exactly one reference exists), `PRIVCREATE` (made by `door_xcreate`), `DEPLETION_CB` (to a thread
    creation function: it is called because the pool is empty).

    Those of a received descriptor: `DESCRIPTOR`, always; and, of one that is passed, `RELEASE`.
    """

    NONE = 0
    UNREF = lib.DOOR_UNREF
    PRIVATE = lib.DOOR_PRIVATE
    LOCAL = lib.DOOR_LOCAL
    REVOKED = lib.DOOR_REVOKED
    UNREF_MULTI = lib.DOOR_UNREF_MULTI
    IS_UNREF = lib.DOOR_IS_UNREF
    REFUSE_DESC = lib.DOOR_REFUSE_DESC
    NO_CANCEL = lib.DOOR_NO_CANCEL
    NO_DEPLETION_CB = lib.DOOR_NO_DEPLETION_CB
    PRIVCREATE = lib.DOOR_PRIVCREATE
    DEPLETION_CB = lib.DOOR_DEPLETION_CB
    DESCRIPTOR = lib.DOOR_DESCRIPTOR
    RELEASE = lib.DOOR_RELEASE


@attrs.frozen
class DoorInfo:
    """A door as it was when it was asked about (`door_info(3C)`).

    Attributes:
        target: process id of the server, or -1 when it has exited.
        procedure: address of the server procedure in the server; for a Python procedure, that of the
            dispatcher.
        cookie: what the server gave the door at creation; for a Python procedure, a number without meaning to
            others.
        attributes: see `Attributes`.
        id: a number that no other door has had since the system was started.
    """

    target: int
    procedure: int
    cookie: int
    attributes: Attributes
    id: int

    @classmethod
    def of(cls, fd: int) -> Self:
        """That of the door `fd`. Raises `DoorInfoError`: EBADF."""
        info = ffi.new("door_info_t *")
        api.door_info(fd, info)
        return cls(
            target=info.di_target,
            procedure=info.di_proc,
            cookie=info.di_data,
            attributes=Attributes(info.di_attributes),
            id=info.di_uniquifier,
        )

    @property
    def is_alive(self) -> bool:
        """True if calls can still be served: the door is not revoked and its server has not exited."""
        return self.target != -1 and Attributes.REVOKED not in self.attributes


@attrs.frozen
class DoorCounters:
    """Counts of a door's calls by outcome, readable by every holder of the door (on Linux).

    Attributes:
        calls: how many a server thread has taken.
        failures: how many of them ended with an error for the client, or without it.
        active: invocations in progress.
        references: descriptors handed out, and names.
    """

    calls: int
    failures: int
    active: int
    references: int

    @classmethod
    def of(cls, fd: int) -> Self:
        """Those of the door `fd`. Raises `DoorCountersError`: EBADF, ENOTSUP."""
        counters = ffi.new("door_counters_t *")
        api.door_counters(fd, counters)
        return cls(counters.calls, counters.failures, counters.active, counters.references)


class Capabilities(enum.IntFlag):
    """Features in which the running implementation of doors behaves exactly as illumos.

    * `FSTAT`: `fstat` says that a descriptor is a door, and `poll` refuses it.
    * `OPEN`: `open(2)` opens names. Elsewhere `door_open` does.
    * `COUNTED_DUP`: `dup(2)` and `close(2)` count for unref. Elsewhere `door_dup` does.
    * `HANDOFF`: the kernel gives the caller's processor to the server thread.
    * `LIVE_CRED`: credentials are those of the moment of the question.
    * `FAULT`: bad pointers are reported with EFAULT.
    * `VFORK`: a child of `vfork` is refused by `door_create`.

    And two that illumos has not: `PEER_PIDFD`, the kernel names the peer by a pidfd; `COUNTERS`, calls are
    counted where every holder of the door can look.
    """

    FSTAT = lib.DOOR_CAPABILITY_FSTAT
    OPEN = lib.DOOR_CAPABILITY_OPEN
    COUNTED_DUP = lib.DOOR_CAPABILITY_COUNTED_DUP
    HANDOFF = lib.DOOR_CAPABILITY_HANDOFF
    LIVE_CRED = lib.DOOR_CAPABILITY_LIVE_CRED
    FAULT = lib.DOOR_CAPABILITY_FAULT
    PEER_PIDFD = lib.DOOR_CAPABILITY_PEER_PIDFD
    VFORK = lib.DOOR_CAPABILITY_VFORK
    COUNTERS = lib.DOOR_CAPABILITY_COUNTERS

    @classmethod
    def here(cls) -> Self:
        """Those of the implementation that is running."""
        return cls(lib.door_capabilities())
