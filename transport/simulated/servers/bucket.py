"""The key-value bucket of simulated servers: what a committed write does, and the answers that clients get.

The answers are those of the real servers' JetStream, as far as a client of `transport.mesh.registry` sees
them.
"""

import base64
from typing import Any, Final

import attrs
import msgspec

__all__ = ["Bucket", "Write", "failure"]

NO_MESSAGE: Final = (404, 10037, "no message found")
NO_STREAM: Final = (404, 10059, "stream not found")
WRONG_REVISION: Final = (400, 10071, "wrong last sequence: {}")
FULL: Final = (503, 10077, "maximum bytes exceeded")


class Write(msgspec.Struct, array_like=True):
    """An entry of the log: a write, as the server saw it that was asked.

    Attributes:
        asked: the server that has been asked.
        number: of the request, of those of one life of that server.
        at: seconds by that server's clock.
        subject: of the key.
        value: to be stored.
        expected: the revision that is replaced; None for any.
        lasts: seconds after which the key is forgotten; 0: never.
    """

    asked: str
    number: int
    at: float
    subject: str
    value: bytes
    expected: int | None = None
    lasts: float = 0.0


@attrs.frozen
class _Stored:
    value: bytes
    revision: int
    until: float


def failure(code: int, number: int, text: str, **fields: Any) -> bytes:
    """Encode the answer to what cannot be done."""
    error = {"code": code, "err_code": number, "description": text}
    return msgspec.json.encode({"error": error, **fields})


class Bucket:
    """The keys of one server, as far as it has applied the log.

    Args:
        name: of the stream.

    Attributes:
        is_full: whether the store takes nothing more.
    """

    def __init__(self, name: str) -> None:
        self.is_full = False
        self._name = name
        self._keys: dict[str, _Stored] = {}
        self._revision = 0

    @property
    def is_empty(self) -> bool:
        """True before the first write."""
        return self._revision == 0

    def apply(self, write: Write) -> bytes:
        """Carry out a write, the same at each server, and return the answer."""
        stored = self._keys.get(write.subject)
        if stored is not None and stored.until <= write.at:
            stored = None
        revision = 0 if stored is None else stored.revision
        if write.expected is not None and write.expected != revision:
            code, number, text = WRONG_REVISION
            return failure(code, number, text.format(revision), stream=self._name, seq=0)
        self._revision += 1
        until = write.at + write.lasts if write.lasts else float("inf")
        self._keys[write.subject] = _Stored(write.value, self._revision, until)
        return msgspec.json.encode({"stream": self._name, "seq": self._revision})

    def read(self, subject: str, now: float) -> bytes:
        """Return the answer to the question what was written last under a subject."""
        stored = self._keys.get(subject)
        if stored is None or stored.until <= now:
            return failure(*NO_MESSAGE)
        message: dict[str, Any] = {"subject": subject, "seq": stored.revision}
        if stored.value:
            message["data"] = base64.b64encode(stored.value).decode()
        return msgspec.json.encode({"message": message})
