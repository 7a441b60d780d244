"""Tokens: the proofs that refs carry to other nodes.

A token is a keyed hash of a serial number and of what the ref is good for. Only the home node can make it or
check it, so nobody can make up a ref by counting, and nothing has to be stored for the refs that are out.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.plain import LARGEST
from enfilade.actors.messages.ref import Ref
from enfilade.actors.processes.links import Alias

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["Giving", "Handouts"]


TOKEN_BYTES: Final = 16

SWEEP: Final = 256
"""Number of aliases between two removals of the dead ones."""


class Giving(enum.IntEnum):
    """The authority that goes with a ref to another node."""

    NOTHING = 0
    """None: an error or an exit reason names a process, and lets nobody reach it."""
    ADDRESS = 1
    """To send, call and watch, as with a name that is exported: a look-up, the members of a group."""
    WHOLE = 2
    """Also to end a process that has no name: somebody sent the ref, in a message or a reply."""


class Handouts:
    """The tokens of one start of a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._secret = node.runtime.entropy(32)
        self._aliases: dict[int, Alias[Any]] = {}

    def token(self, ref: Ref[Any], giving: Giving = Giving.WHOLE) -> bytes:
        """Make the proof that a ref of this node was handed out."""
        if isinstance(ref, Alias):
            # A process is found by its number; an alias has to be remembered.
            if len(self._aliases) % SWEEP == SWEEP - 1:
                self._aliases = {number: known for number, known in self._aliases.items() if known.active}
            self._aliases[ref.serial] = ref
        return self._token(ref.serial, giving)

    def token_of(self, serial: int) -> bytes:
        """Make the proof that the process of a number may be addressed."""
        return self._token(serial, Giving.ADDRESS)

    def giving(self, serial: int, token: bytes) -> Giving:
        """Tell what the token of a serial number is good for; nothing, when it is forged."""
        if 0 <= serial <= LARGEST:
            for giving in (Giving.WHOLE, Giving.ADDRESS):
                if hmac.compare_digest(self._token(serial, giving), token):
                    return giving
        return Giving.NOTHING

    def living(self, serial: int) -> Ref[Any] | None:
        """Find the process or alias of this number, if it lives."""
        process = self._node.processes.get(serial)
        return process.ref if process is not None else self._aliases.get(serial)

    def _token(self, serial: int, giving: Giving) -> bytes:
        data = serial.to_bytes(8, "big") + bytes([giving])
        return hashlib.blake2b(data, key=self._secret, digest_size=TOKEN_BYTES).digest()
