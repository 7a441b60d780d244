"""A hash of keys that is the same in every run of Python, and on every node.

The hash of a text or of bytes in Python depends on a random seed. What is routed by it would go to another
partition on each node of a system, and after each restart.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Hashable
from typing import Any, Final

__all__ = ["stable_hash"]

DIGEST_BYTES: Final = 8


def stable_hash(key: Hashable) -> int:
    """Hash a key, so that equal keys have equal hashes in every run of Python.

    Numbers have the hash that Python gives them. Texts, bytes, None, members of enumerations, tuples and
    frozen sets of all these have one that depends on their content alone. A key of another type has the hash
    that its class gives it, which is as stable as that class makes it.

    Raises: what hashing the key raises.
    """
    own = hash(key)  # a list in a tuple must be refused whatever comes of the rest
    digest = _digest(key)
    return own if digest is None else int.from_bytes(digest, "big")


def _digest(key: Any) -> bytes | None:
    """The digest of a key; None when its own hash does not depend on the run."""
    for kind, write in _WRITERS:
        if isinstance(key, kind):
            content = write(key)
            return hashlib.blake2b(content, digest_size=DIGEST_BYTES, person=kind.__name__.encode()).digest()
    return None


def _part(key: Any) -> bytes:
    """A key within another one, in a fixed number of bytes."""
    return _digest(key) or hashlib.blake2b(b"%d" % hash(key), digest_size=DIGEST_BYTES).digest()


# A member of an enumeration that is a text or a number at the same time is equal to that.
_WRITERS: Final[tuple[tuple[type, Callable[[Any], bytes]], ...]] = (
    (str, lambda text: text.encode("utf-8", "surrogatepass")),
    (bytes, bytes),
    (tuple, lambda items: b"".join(map(_part, items))),
    (frozenset, lambda items: b"".join(sorted(map(_part, items)))),
    (type(None), lambda _: b""),
    (enum.Enum, lambda member: f"{type(member).__qualname__}.{member.name}".encode()),
)
