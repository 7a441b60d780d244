"""Seals: what a shared secret does for a node link.

Two nodes that share a secret prove to each other that they know it, and derive keys from it that are good for
one node link and one direction. Proofs and keys depend on everything that the two said of themselves: nonces,
names, zones, incarnations, terms. So whoever stands between them and passes on what they say can change none
of it. Each batch then ends with a tag: a keyed hash of its bytes, of its number, which is among them, and of
what travels beside them. A batch that was changed, made up, replayed, put in another place, or sent back does
not fit its tag, and ends the node link.

Nothing is encrypted: a relay can read, and it can stop passing things on.
"""

import hashlib
import hmac
import struct
from collections.abc import Sequence
from typing import Final

import attrs

from enfilade.transport import memory_file
from enfilade.transport.carrier import Handle
from enfilade.transport.wire import Challenge, Hello, MalformedBatch

__all__ = ["ANSWERER", "CALLER", "HANDSHAKE", "LINK", "NONCE_BYTES", "TAG_BYTES", "Agreement", "Seal"]

NONCE_BYTES: Final = 32
"""Bytes of a value that no earlier handshake has used."""

TAG_BYTES: Final = 32

CALLER: Final = b"caller"
ANSWERER: Final = b"answerer"
"""The sides of a handshake."""

HANDSHAKE: Final = b"handshake"
LINK: Final = b"link"
"""What is sealed: the rest of the handshake, and the node link that comes of it."""


@attrs.frozen
class Agreement:
    """All that two nodes have said of themselves in one handshake, and the secret.

    Attributes:
        secret: what both know.
        hello: of the caller.
        challenge: of the answerer; its proof does not count.
    """

    secret: bytes = attrs.field(repr=False)
    hello: Hello
    challenge: Challenge

    def prove(self, role: bytes) -> bytes:
        """Make the proof of one side that it knows the secret; neither's can be sent back to it."""
        return self._hash(b"proof", role)

    def is_proof(self, role: bytes, given: bytes) -> bool:
        """Tell whether a proof is the right one, compared in constant time."""
        return hmac.compare_digest(given, self.prove(role))

    def seal(self, role: bytes, phase: bytes) -> "Seal":
        """Derive the seal of one side, for the rest of the handshake or for the node link."""
        other = ANSWERER if role == CALLER else CALLER
        return Seal(self._hash(b"key", phase, role), self._hash(b"key", phase, other))

    def _hash(self, *purpose: bytes) -> bytes:
        """HKDF-SHA-256 with one block: the nonces are the salt, all else is the context."""
        hello, challenge = self.hello, self.challenge
        fields = (
            *purpose,
            hello.name.encode(),
            hello.zone.encode(),
            challenge.name.encode(),
            challenge.zone.encode(),
            _pack(hello.oldest, hello.newest, hello.incarnation, hello.window, challenge.incarnation),
            struct.pack(">d", hello.period),
        )
        salt = _joined(hello.nonce, challenge.nonce)
        extracted = hmac.digest(salt, self.secret, hashlib.sha256)
        return hmac.digest(extracted, _joined(b"enfilade", *fields) + b"\x01", hashlib.sha256)


class Seal:
    """The tags of one side of a node link.

    Args:
        own: the key for what this side sends.
        other: the key for what the other sends.
    """

    def __init__(self, own: bytes, other: bytes) -> None:
        self._own = own
        self._other = other

    def close(self, batch: bytes, handles: Sequence[Handle]) -> bytes:
        """Put a tag to a batch."""
        return batch + _tag(self._own, batch, handles)

    def open(self, data: bytes, handles: Sequence[Handle]) -> bytes:
        """Check the tag of a batch, and return the batch without it.

        Raises:
            MalformedBatch: it does not fit.
        """
        batch, tag = data[:-TAG_BYTES], data[-TAG_BYTES:]
        try:
            fitting = _tag(self._other, batch, handles)
        except OSError as error:
            raise MalformedBatch(f"what came beside it cannot be looked at: {error.strerror}") from error
        if not hmac.compare_digest(tag, fitting):
            raise MalformedBatch("its tag does not fit: it was changed on the way, or does not belong here")
        return batch


def _tag(key: bytes, batch: bytes, handles: Sequence[Handle]) -> bytes:
    if handles:
        batch += b"".join(map(memory_file.fingerprint, handles))
    return hmac.digest(key, batch, hashlib.sha256)


def _joined(*parts: bytes) -> bytes:
    """Parts as one, so that none can lend bytes to the next."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _pack(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(16, "big", signed=True) for number in numbers)
