"""Sending to peers that may take nothing."""

from __future__ import annotations

import trio

_PIECE = 16 * 1024
"""Bytes of which a peer must take all within the time limit."""


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
