"""Tokens: the proofs that refs carry to other nodes.

A token is a keyed hash of a serial number. Only the home node can make it or check it, so nobody can make up
a ref by counting, and nothing has to be stored for the refs that are out.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.ref import Ref
from enfilade.actors.processes.links import Alias

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["Handouts"]


TOKEN_BYTES: Final = 16

SWEEP: Final = 256
"""Number of aliases between two removals of the dead ones."""


class Handouts:
    """The tokens of one start of a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._secret = secrets.token_bytes(32)
        self._aliases: dict[int, Alias[Any]] = {}

    def token(self, ref: Ref[Any]) -> bytes:
        """Make the proof that a ref of this node was handed out."""
        if isinstance(ref, Alias):
            # A process is found by its number; an alias has to be remembered.
            if len(self._aliases) % SWEEP == SWEEP - 1:
                self._aliases = {number: known for number, known in self._aliases.items() if known.active}
            self._aliases[ref.serial] = ref
        return self._token(ref.serial)

    def is_token(self, serial: int, token: bytes) -> bool:
        """Tell whether a token is the one of this serial number."""
        return 0 <= serial < 2**63 and hmac.compare_digest(self._token(serial), token)

    def living(self, serial: int) -> Ref[Any] | None:
        """Find the process or alias of this number, if it lives."""
        process = self._node.processes.get(serial)
        return process.ref if process is not None else self._aliases.get(serial)

    def _token(self, serial: int) -> bytes:
        data = serial.to_bytes(8, "big")
        return hashlib.blake2b(data, key=self._secret, digest_size=TOKEN_BYTES).digest()
