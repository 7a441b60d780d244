"""Shards: the parts into which the keys of a kind fall, and the node that each should be on.

A shard belongs to the node that draws the highest number for it. So when a node comes or goes, no shard moves
but to the one that comes, or from the one that goes. All nodes draw the same numbers.

Nothing here does input or output, or looks at a clock.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

__all__ = ["highest", "shard_of", "weight"]


def shard_of(kind: str, key: str, shards: int) -> int:
    """Return the shard of a key, of so many that its kind has."""
    digest = blake2b(key.encode(), digest_size=8, key=kind.encode()[:64])
    return int.from_bytes(digest.digest(), "big") % shards


@lru_cache(maxsize=1 << 16)
def weight(node: str, kind: str, shard: int) -> int:
    """Return the number that a node draws for a shard."""
    return int.from_bytes(blake2b(f"{node}\0{kind}\0{shard}".encode(), digest_size=8).digest(), "big")


def highest(nodes: Iterable[str], kind: str, shard: int) -> str | None:
    """Return the node that a shard should be on; None without any."""
    return max(nodes, key=lambda node: (weight(node, kind, shard), node), default=None)
