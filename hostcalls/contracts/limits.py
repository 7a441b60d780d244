"""Limits of one guest: the engine's, and those of the host's tables."""

from __future__ import annotations

import attrs

from enfilade.hostcalls import engine

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE


@attrs.frozen(kw_only=True, cache_hash=True)
class Limits(engine.Limits):
    """The bounds of one guest process; a child never has more than its parent.

    The attributes of `enfilade.hostcalls.engine.Limits` (memory, table_elements, futures, queued_bytes,
    cpu_time, start_time), and:

    Attributes:
        resources: slots that the guest may use at one time: channels, readers, writers, refs; so many
            resources may it own as well, with or without a slot, and so many monitors may it have.
        channel_bytes: capacity of all channels that live and were created by the guest, together; each
            counts for 4 KiB at least.
        children: child processes that the guest may have at one time.
        argument_bytes: bytes of all buffers among the arguments of its entrypoint, together.
        mailbox: messages that may wait in its mailbox.
        message_bytes: bytes that a message or reply of the guest may have, where a resource counts for
            1 KiB; more goes through channels.
        listeners: handles of network listeners that it may have.
        connections: network connections that it may have; an HTTP request is one.
        net_bytes: bytes of requests, responses and streams that the host holds for it; beyond it, its sockets
            are not read, and its writes wait.
        tls_bytes: bytes of its TLS settings, together.
        http_body: bytes that the body of an HTTP request or response may have.
    """

    resources: int = 1024
    channel_bytes: int = 64 * MEBIBYTE
    children: int = 64
    argument_bytes: int = 256 * KIBIBYTE
    mailbox: int = 4096
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
