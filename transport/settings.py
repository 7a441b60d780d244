"""The times and sizes of a node's node links."""

import attrs

__all__ = ["Settings"]


@attrs.frozen(kw_only=True)
class Settings:
    """Times and sizes of a node's node links; times are in seconds.

    Attributes:
        period: silence after which a peer is dead. Of two nodes' periods the shorter holds for both.
        window: bytes of frames that may be under way from one peer to this node and not yet taken in.
        handshake: longest time for a handshake.
        peers: node links at a time; further nodes are refused.
        goodbye: longest time for an orderly goodbye.
        first_retry: the first pause between attempts to reconnect.
        last_retry: the longest such pause; each is twice the one before, less up to a half at random.
    """

    period: float = 15.0
    window: int = 1024 * 1024
    handshake: float = 5.0
    peers: int = 1024
    goodbye: float = 1.0
    first_retry: float = 0.1
    last_retry: float = 10.0
