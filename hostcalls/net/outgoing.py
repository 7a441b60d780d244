"""Sending to peers that may take nothing, and leaving them so that they can read what was sent last."""

from __future__ import annotations

import trio

_PIECE = 16 * 1024
"""Bytes of which a peer must take all within the time limit."""

_LINGER = 2.0
"""Seconds in which a peer that still sends may read the refusal that it has got."""


class Stalled(trio.BrokenResourceError):
    """The peer took nothing for so long that the connection was given up."""


async def send_all(stream: trio.abc.SendStream, data: bytes, timeout: float) -> None:
    """Send `data`. A checkpoint. A cancelled call has sent some part of it.

    Args:
        stream: to the peer.
        data: any number of bytes.
        timeout: seconds in which the peer must take 16 KiB, or the rest.

    Raises `Stalled` when it does not, and what the stream raises.
    """
    view = memoryview(data)
    for start in range(0, len(data), _PIECE):
        with trio.move_on_after(timeout) as scope:
            await stream.send_all(view[start : start + _PIECE])
        if scope.cancelled_caught:
            raise Stalled(f"the peer took nothing for {timeout} s")


async def leave(stream: trio.abc.Stream, timeout: float, *, linger: bool) -> None:
    """Close a connection. A checkpoint; cancelled, the connection is closed at once.

    Args:
        stream: to the peer.
        timeout: seconds that a goodbye, such as that of TLS, may take.
        linger: the peer may still be sending. A socket that is closed with unread input resets the
            connection, and what was sent last would be lost: read until the peer has closed, for 2 s at most.

    Raises `trio.BrokenResourceError` if the peer has reset the connection.
    """
    if linger:
        with trio.move_on_after(_LINGER):
            if isinstance(stream, trio.abc.HalfCloseableStream):
                await stream.send_eof()
            while await stream.receive_some(_PIECE):
                pass
    with trio.move_on_after(timeout):
        await stream.aclose()
