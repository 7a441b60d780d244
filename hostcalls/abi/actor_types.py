"""The types of `enfilade::actor::*`: how guests speak to actors.

A guest holds actors as slots, like every other resource: a ref that it was not given it cannot name.
Messages carry bytes and resources; a resource that is sent leaves the sender's slots and enters the
receiver's.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from enfilade.hostcalls.abi.types import ProcessStart
from enfilade.hostcalls.codec.rkyv import U32, U64


class ReasonKind(enum.IntEnum):
    """The exit reasons that guests can tell apart."""

    NORMAL = 0
    SHUTDOWN = 1
    KILL = 2
    KILLED = 3
    NO_PROCESS = 4
    NO_CONNECTION = 5
    TIMEOUT = 6
    TRAPPED = 7
    CRASHED = 8
    OTHER = 9


@attrs.frozen
class ActorReason:
    """Why a process ended; `detail` is text for people, and what a guest gave as its own reason."""

    kind: ReasonKind
    detail: str = ""


@attrs.frozen
class ActorSend:
    """Send a message to the actor in slot `to`."""

    to: U32
    tag: U64
    data: bytes
    resources: tuple[U32, ...] = ()


class Kinds:
    """The bits of `ActorReceive.kinds`: bit n is the variant with tag n of `ActorMessage`."""

    PLAIN: Final = 1 << 0
    REQUEST: Final = 1 << 1
    EXITED: Final = 1 << 2
    DOWN: Final = 1 << 3
    UPGRADE: Final = 1 << 4

    USUAL: Final = PLAIN | REQUEST | EXITED | DOWN
    """The kinds that are taken where no bit is set."""


@attrs.frozen
class ActorReceive:
    """Wait for a message.

    Attributes:
        timeout_ms: how long; without it, for ever.
        kinds: which kinds of message to take, bits of `Kinds`; 0 takes `Kinds.USUAL`.
        tag: of plain messages, take only those with this tag.
        data_limit: bytes of data that the guest has room for. A longer message stays in the mailbox.
    """

    timeout_ms: U64 | None
    kinds: U32
    tag: U64 | None
    data_limit: U32


@attrs.frozen
class PlainMessage:
    """A message that was sent and expects no reply."""

    tag: U64
    data: bytes
    resources: tuple[U32, ...]


@attrs.frozen
class RequestMessage:
    """A call, whose caller waits for `reply` with the slot `request`."""

    request: U32
    data: bytes
    resources: tuple[U32, ...]


@attrs.frozen
class ExitedMessage:
    """A linked process has ended, and this one traps exits."""

    actor: U32
    reason: ActorReason


@attrs.frozen
class DownMessage:
    """A monitored process has ended."""

    monitor: U64
    actor: U32
    reason: ActorReason


@attrs.frozen
class UpgradeMessage:
    """Another module is to take this guest's place: export the state. Only who asks for the kind gets it."""


ActorMessage = PlainMessage | RequestMessage | ExitedMessage | DownMessage | UpgradeMessage
"""What `receive` gives; nothing when the time is over."""


@attrs.frozen
class ActorReceived:
    """The message, or nothing when the time is over."""

    message: ActorMessage | None


@attrs.frozen
class ActorCall:
    """Send a request to the actor in slot `to` and wait for its reply, of at most `data_limit` bytes."""

    to: U32
    timeout_ms: U64 | None
    data: bytes
    resources: tuple[U32, ...]
    data_limit: U32


@attrs.frozen
class ActorBody:
    """The content of a reply."""

    data: bytes
    resources: tuple[U32, ...] = ()


@attrs.frozen
class ActorReply:
    """Answer the request in slot `request`, which is free afterwards."""

    request: U32
    data: bytes
    resources: tuple[U32, ...] = ()


@attrs.frozen
class ActorSpawn:
    """Start a guest, linked to or monitored by the caller from its first moment."""

    start: ProcessStart
    link: bool
    monitor: bool


@attrs.frozen
class ActorSpawned:
    """The new process: its slot, its process id, and the monitor's number (0 without one)."""

    actor: U32
    process_id: U64
    monitor: U64


@attrs.frozen
class ActorDemonitor:
    """Stop monitoring; with `flush`, also take a notice that has already come out of the mailbox."""

    monitor: U64
    flush: bool


@attrs.frozen
class ActorExit:
    """Send an exit signal to the actor in slot `to`, or end the caller itself without one."""

    to: U32 | None
    reason: ActorReason


@attrs.frozen
class ActorRegister:
    """Register the actor in slot `actor` under a name."""

    name: str
    actor: U32


@attrs.frozen
class ActorExport:
    """Hand the guest's state over to the module that takes its place.

    The answer comes only if the upgrade has failed; then the guest goes on.
    """

    state: bytes


@attrs.frozen
class ActorImport:
    """The state that the guest before has exported, or nothing in a guest that replaces none."""

    state: bytes | None
