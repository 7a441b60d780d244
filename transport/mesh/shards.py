"""Shards: the parts into which the keys of a kind fall, and the node that each should be on.

A shard belongs to the node that draws the highest number for it. So when a node comes or goes, no shard moves
but to the one that comes, or from the one that goes. All nodes draw the same numbers.

Nothing here does input or output, or looks at a clock.
"""

from functools import lru_cache
from hashlib import blake2b

__all__ = ["Successors", "shard_of", "weight"]


@lru_cache(maxsize=1 << 12)
def shard_of(kind: str, key: str, shards: int) -> int:
    """Return the shard of a key, of so many that its kind has."""
    digest = blake2b(key.encode(), digest_size=8, key=kind.encode()[:64])
    return int.from_bytes(digest.digest(), "big") % shards


def weight(node: str, kind: str, shard: int) -> int:
    """Return the number that a node draws for a shard."""
    return int.from_bytes(blake2b(f"{node}\0{kind}\0{shard}".encode(), digest_size=8).digest(), "big")


class Successors:
    """The node that each shard of a kind should be on, kept while nodes come and go.

    A node that comes is compared with the best of each shard, and one that goes is replaced where it was the
    best. So a change costs as many draws as the kind has shards, however many nodes there are.

    Args:
        kind: its name.
        shards: how many it has.
    """

    def __init__(self, kind: str, shards: int) -> None:
        self._kind = kind
        self._nodes: tuple[str, ...] = ()
        self._best: list[tuple[int, str] | None] = [None] * shards

    def among(self, nodes: tuple[str, ...]) -> None:
        """Take note of the nodes that there are now."""
        if nodes == self._nodes:
            return
        before, after = frozenset(self._nodes), frozenset(nodes)
        self._nodes = nodes
        came, gone = sorted(after - before), before - after
        for shard, best in enumerate(self._best):
            if best is not None and best[1] in gone:
                candidates, best = sorted(after), None
            else:
                candidates = came
            for node in candidates:
                drawn = weight(node, self._kind, shard), node
                if best is None or drawn > best:
                    best = drawn
            self._best[shard] = best

    def of(self, shard: int) -> str | None:
        """Return the node that a shard should be on; None without any."""
        best = self._best[shard]
        return None if best is None else best[1]
