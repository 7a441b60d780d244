"""The session of a node's connection at one server, until that server is lost."""

import math
from collections import deque

import attrs
import trio

from enfilade.transport.mesh.protocol import Parser
from enfilade.transport.mesh.settings import Server
from enfilade.transport.mesh.stream import Stream

__all__ = ["Session"]


@attrs.define(eq=False)
class Session:
    """One connection to one server.

    Attributes:
        server: at the other end.
        stream: the bytes to it and from it.
        parser: of what it sends.
        where: the server as logs show it.
        scope: cancelled when the session is over.
        unsent: what the socket has yet to take; `unsent_bytes` of it.
        has_unsent: set while there is something to send, or TLS has something pending.
        has_spoken: whether the server has said something since it was last looked at.
        is_pong_due: whether it has asked for a sign of life.
        complaints: of it that were not passed on since `complained_at`.
        pings: the signs of life that it was asked for, and when.
        due: when this node looks at the server next.
        held: how late that was once, and when.
        complaint: the last one.
        cut_after: seconds for which the loop was held before the server ended the session; 0 if it did not.
        end: why the session is over; empty before.
    """

    server: Server
    stream: Stream
    parser: Parser
    where: str = ""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    unsent: deque[memoryview] = attrs.field(factory=deque)
    unsent_bytes: int = 0
    has_unsent: trio.Event = attrs.field(factory=trio.Event)
    has_spoken: bool = True
    is_pong_due: bool = False
    complaints: int = 0
    complained_at: float = -math.inf
    pings: deque[tuple[trio.Event, float]] = attrs.field(factory=deque)
    due: float = math.inf
    held: tuple[float, float] = (0.0, 0.0)
    complaint: str = ""
    cut_after: float = 0.0
    end: str = ""
