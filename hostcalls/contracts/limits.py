"""Limits of one guest: the engine's, and those of the host's tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from enfilade.hostcalls import engine
from enfilade.hostcalls.abi.numbers import numbers, pair

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE


@attrs.frozen(kw_only=True, cache_hash=True)
class Limits(engine.Limits):
    """The bounds of one guest process; a child never has more than its parent.

    The attributes of `enfilade.hostcalls.engine.Limits` (memory, table_elements, futures, queued_bytes,
    cpu_time, cpu_renewal, start_time), and:

    Attributes:
        cpu_time: as above, of the guest and all its descendants together; and
        cpu_renewal: as above. With the defaults a tree that uses half a processor on average lives for
            ever, and one that computes without a pause ends after two hours. A job that shall have so much
            and no more has a renewal of 0.
        resources: slots that the guest may use at one time: channels, readers, writers, refs; so many
            resources may it own as well, with or without a slot, and so many monitors may it have.
        channel_bytes: capacity of all channels that live and were created by the guest or a descendant,
            together; each counts for 4 KiB at least.
        children: child processes that the guest may have at one time.
        tree_processes: guests that the guest and its descendants may be at one time.
        tree_memory: bytes of linear memory of the guest and its descendants together. A guest has 16 MiB at
            least.
        hostcalls: hostcalls that the guest and its descendants may make a second, together; faster ones are
            made to wait.
        messages: messages that they may send a second, calls included, likewise.
        log_records: log records of theirs that are emitted a second, together; of more the oldest are lost.
        readers: readers that the guest may have of one channel.
        argument_bytes: bytes of all buffers among the arguments of its entrypoint, together.
        mailbox: messages that may wait in its mailbox.
        backlog: messages that may wait in the unbounded mailbox of an actor to which the guest sends; beyond
            that sending fails. Messages of more than 16 KiB count for several.
        message_bytes: bytes that a message or reply of the guest may have, where a resource counts for
            1 KiB; more goes through channels.
        listeners: handles of network listeners that the guest and its descendants may have.
        connections: network connections that they may have; an HTTP request is one.
        net_bytes: bytes of requests, responses and streams that the host holds for them; beyond it, their
            sockets are not read, and their writes wait.
        tls_bytes: bytes of their TLS settings.
        http_body: bytes that the body of an HTTP request or response may have.
    """

    cpu_time: float = 3600.0
    cpu_renewal: float = 0.5
    resources: int = 1024
    channel_bytes: int = 64 * MEBIBYTE
    children: int = 64
    tree_processes: int = 64
    tree_memory: int = 1024 * MEBIBYTE
    hostcalls: float = 100_000.0
    messages: float = 50_000.0
    log_records: float = 1000.0
    readers: int = 64
    argument_bytes: int = 256 * KIBIBYTE
    mailbox: int = 4096
    backlog: int = 4096
    message_bytes: int = 64 * KIBIBYTE
    listeners: int = 16
    connections: int = 256
    net_bytes: int = 16 * MEBIBYTE
    tls_bytes: int = 4 * MEBIBYTE
    http_body: int = MEBIBYTE

    def within(self, outer: engine.Limits) -> Limits:
        """These limits, each lowered to that of `outer` where it is higher."""
        return attrs.evolve(
            self,
            **{
                field.name: min(getattr(self, field.name), getattr(outer, field.name))
                for field in attrs.fields(type(self))
                if hasattr(outer, field.name)
            },
        )


def limits_of(settings: Iterable[str] | dict[str, Any], outer: Limits | None = None) -> Limits:
    """The limits that settings such as `memory=64MiB`, `cpu_time=2.5` or `cpu_time=none` describe.

    Args:
        settings: texts NAME=VALUE; or values by name, as in a zone file. A value is a number, for bytes also
            with KiB, MiB or GiB behind it; `none` for no limit, where a fraction of a number is allowed.
        outer: the limits that are changed; the default ones.

    Raises:
        ValueError: a setting is not of this form, names no limit, or is out of range; the message says which.
    """
    values = settings if isinstance(settings, dict) else dict(pair(setting) for setting in settings)
    known = {field.name: field.default for field in attrs.fields(Limits)}
    changed: dict[str, Any] = numbers(values, known, "limit")
    return attrs.evolve(outer or Limits(), **changed)
