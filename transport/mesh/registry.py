"""The registry of a mesh: one small value a key, read, and written by compare-and-set.

It is a key-value bucket of the servers' JetStream. A write names the revision that it replaces, and goes
through the majority of the servers: it is the only thing that proves anything. A read may come from a server
that has been replaced and does not know it.

Nodes do not make the bucket. Whoever runs the servers does, by `make_bucket`, and writes into it the epoch:
when the data of this registry begin, and how long leases are.
"""

import base64
from contextlib import suppress
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
import trio

from enfilade.transport.mesh.connection import Connection, NoResponders
from enfilade.transport.mesh.lease import VERSION
from enfilade.transport.mesh.protocol import Message, decoded
from enfilade.transport.mesh.subjects import to_token
from enfilade.transport.printable import printable

__all__ = ["Entry", "Epoch", "MeshRegistry", "NoAnswer", "Survey", "WrongRevision", "make_bucket"]

T = TypeVar("T")

ANSWER_SECONDS: Final = 2.0
"""Time for the registry to answer."""

LONGEST_LEASE: Final = 86400.0
"""Seconds of a lease that make sense."""

FREED_SECONDS: Final = 3600
"""Time after which the servers forget a key that is free: nobody works on it with an older read by then."""

EPOCH: Final = "epoch"
SETTLED: Final = "settled"
"""The keys of the epoch, and of the last one that is settled."""

EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"

ALREADY_THERE: Final = 10058
WRONG_REVISION: Final = (10071, 10164)
NO_MESSAGE: Final = 10037
NO_MAJORITY: Final = 10008
"""The codes of errors: a stream of that name with other settings, another revision, no value of that key, a
server that does not reach most of those that keep the registry."""


class NoAnswer(Exception):
    """The registry does not answer, or has no majority; whether a write was carried out is not known."""


class WrongRevision(Exception):
    """A write was refused, because the key has another revision than expected."""


class Entry(NamedTuple):
    """A key's value and revision.

    Attributes:
        value: empty when the key is free.
        revision: what a write must name that replaces it; 0 when nothing was ever written.
    """

    value: bytes
    revision: int

    def read_as(self, kind: type[T]) -> T | None:
        """Return the value; None when the key is free.

        Raises:
            NoAnswer: it is none that this node understands.
        """
        if not self.value:
            return None
        try:
            return decoded(self.value, kind)
        except ValueError as error:
            raise NoAnswer(f"the registry holds a value that cannot be read: {error}") from error


class Epoch(msgspec.Struct, array_like=True, frozen=True):
    """The first value of a registry.

    Attributes:
        version: of this value.
        began: when it was made, in milliseconds since 1970; later than any epoch before.
        lease: the seconds of all leases.
    """

    version: int
    began: int
    lease: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_LEASE)]


class _Failure(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Stored(msgspec.Struct):
    subject: str
    seq: int
    data: str = ""


class _Replica(msgspec.Struct):
    name: str = ""
    current: bool = False
    offline: bool = False


class _Cluster(msgspec.Struct):
    leader: str = ""
    replicas: list[_Replica] = []


class _Answer(msgspec.Struct):
    """The answer to a question about the bucket: the fields of all of them."""

    error: _Failure | None = None
    seq: int = 0
    message: _Stored | None = None
    cluster: _Cluster = msgspec.field(default_factory=_Cluster)


class Survey(NamedTuple):
    """The servers that keep the registry.

    Attributes:
        leader: the name of the one that decides.
        replicas: how many servers keep it.
        current: how many of them have all of it.
    """

    leader: str
    replicas: int
    current: int


class MeshRegistry:
    """A node's way to the registry of its mesh.

    Args:
        connection: to a server.
        mesh: the name of the mesh.
    """

    def __init__(self, connection: Connection, mesh: str) -> None:
        self.connection = connection
        self._bucket = f"enf-{to_token(mesh)}"

    async def read(self, key: str) -> Entry:
        """Read a key; what is returned may be old. A checkpoint.

        Raises:
            NoAnswer: nobody answers.
        """
        question = msgspec.json.encode({"last_by_subj": self._subject(key)})
        answer = await self._ask(f"$JS.API.STREAM.MSG.GET.KV_{self._bucket}", question)
        if answer.message is not None:
            return Entry(_value(answer.message), answer.message.seq)
        if answer.error is not None and answer.error.err_code == NO_MESSAGE:
            return Entry(b"", 0)
        raise NoAnswer(_description(answer))

    async def write(self, key: str, value: bytes, revision: int) -> int:
        """Write a key if it has that revision, and return the new one. A checkpoint.

        Args:
            key: made of `name_key` and its like.
            value: empty to free the key.
            revision: of what is replaced; 0 for nothing.

        Raises:
            WrongRevision: it has another one; nothing was written.
            NoAnswer: nobody answers: the value may have been written, or may still be.
        """
        headers = {EXPECTED: str(revision)}
        if not value:
            headers["Nats-TTL"] = f"{FREED_SECONDS}s"
        answer = await self._ask(self._subject(key), value, headers)
        if answer.error is None and answer.seq:
            return answer.seq
        if answer.error is not None and answer.error.err_code in WRONG_REVISION:
            raise WrongRevision(key)
        raise NoAnswer(_description(answer))

    async def epoch(self) -> tuple[Epoch | None, int]:
        """Read the epoch, and the beginning of the last one that is settled. A checkpoint.

        Raises:
            NoAnswer: nobody answers.
        """
        found, settled = await self.read(EPOCH), await self.read(SETTLED)
        epoch = _read(found.value, Epoch) if found.value else None
        return epoch, _read(settled.value, int) if settled.value else 0

    async def survey(self) -> Survey:
        """Ask which servers keep the registry, which operators may. A checkpoint.

        Raises:
            NoAnswer: nobody answers, as without a majority, or this client may not ask.
        """
        answer = await self._ask(f"$JS.API.STREAM.INFO.KV_{self._bucket}", b"")
        if answer.error is not None or not answer.cluster.leader:
            raise NoAnswer(_description(answer) if answer.error else "it has no leader")
        behind = sum(each.offline or not each.current for each in answer.cluster.replicas)
        replicas = 1 + len(answer.cluster.replicas)
        return Survey(answer.cluster.leader, replicas, replicas - behind)

    async def entries(self, prefix: str) -> list[tuple[str, Entry]]:
        """Read the keys that begin with a word and have a value; what is returned may be old. A checkpoint.

        Raises:
            NoAnswer: nobody answers.
        """
        found: list[tuple[str, Entry]] = []
        revision = 0
        while True:
            question = {"seq": revision + 1, "next_by_subj": self._subject(f"{prefix}.>")}
            get = f"$JS.API.STREAM.MSG.GET.KV_{self._bucket}"
            answer = await self._ask(get, msgspec.json.encode(question))
            if answer.message is None:
                if answer.error is not None and answer.error.err_code == NO_MESSAGE:
                    return found
                raise NoAnswer(_description(answer))
            if answer.message.seq <= revision:
                raise NoAnswer(f"expected an entry after {revision}, got {answer.message.seq}")
            revision = answer.message.seq
            if value := _value(answer.message):
                key = answer.message.subject.removeprefix(self._subject(""))
                found.append((key, Entry(value, revision)))

    async def settle(self, began: int) -> None:
        """Tell others that an epoch is settled: see `lease.Era`. A checkpoint.

        Raises:
            NoAnswer: nobody answers.
        """
        found = await self.read(SETTLED)
        with suppress(WrongRevision):
            await self.write(SETTLED, msgspec.msgpack.encode(began), found.revision)

    def _subject(self, key: str) -> str:
        return f"$KV.{self._bucket}.{key}"

    async def _ask(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> _Answer:
        return await _asked(self.connection, subject, payload, headers)


async def _asked(
    connection: Connection, subject: str, payload: bytes, headers: dict[str, str] | None = None
) -> _Answer:
    answer: Message | None = None
    with trio.move_on_after(ANSWER_SECONDS):
        try:
            answer = await connection.request(subject, payload, headers)
        except NoResponders:
            raise NoAnswer("no server of the mesh has a registry") from None
    if answer is None:
        raise NoAnswer(f"no answer for {ANSWER_SECONDS:g} s")
    try:
        return decoded(answer.payload, _Answer, msgspec.json.decode)
    except ValueError as error:
        raise NoAnswer(f"expected an answer of the registry, got {answer.payload[:40]!r}") from error


def _read(value: bytes, kind: type[T]) -> T:
    """Read an epoch, or a part of it.

    Raises:
        NoAnswer: it is none.
    """
    try:
        return decoded(value, kind)
    except ValueError as error:
        raise NoAnswer(f"the registry's epoch cannot be read: {error}") from error


def _value(stored: _Stored) -> bytes:
    """Read the value of a key.

    Raises:
        NoAnswer: it is none.
    """
    try:
        return base64.b64decode(stored.data, validate=True)
    except ValueError as error:
        raise NoAnswer(f"expected a value of the registry, got {stored.data[:40]!r}") from error


def _description(answer: _Answer) -> str:
    if answer.error is None:
        return "an empty answer"
    if answer.error.err_code == NO_MAJORITY:
        return "the servers that answer are no majority of those that keep it, or have no leader yet"
    return printable(answer.error.description, 200)


async def make_bucket(
    connection: Connection,
    mesh: str,
    *,
    began: int,
    lease: float,
    replicas: int = 1,
    is_first: bool = False,
) -> Epoch:
    """Make the registry of a mesh, if it is not there. A checkpoint.

    Args:
        connection: of a client that may administer streams.
        mesh: its name.
        began: the epoch of a registry that is made anew, in milliseconds since 1970; it must be later than
            any that the servers have had.
        lease: the seconds of leases, for a registry that is made anew.
        replicas: on how many servers each value lies.
        is_first: whether it is certain that there never was a registry of this mesh before: then nobody can
            hold anything, and claims need not wait.

    Returns:
        The epoch that the registry has now.

    Raises:
        NoAnswer: the servers do not answer, or refuse; harmless when repeated.
    """
    registry = MeshRegistry(connection, mesh)
    bucket = registry._bucket
    settings: dict[str, Any] = {
        "name": f"KV_{bucket}",
        "subjects": [f"$KV.{bucket}.>"],
        "storage": "file",
        "num_replicas": replicas,
        "max_msgs_per_subject": 1,
        "max_msg_size": 4096,
        "discard": "new",
        "deny_delete": True,
        "allow_msg_ttl": True,
    }
    answer = await _asked(connection, f"$JS.API.STREAM.CREATE.KV_{bucket}", msgspec.json.encode(settings))
    if answer.error is not None and answer.error.err_code != ALREADY_THERE:
        raise NoAnswer(_description(answer))
    while True:
        found = await registry.read(EPOCH)
        if found.value:
            return _read(found.value, Epoch)
        epoch = Epoch(VERSION, began, lease)
        try:
            await registry.write(EPOCH, msgspec.msgpack.encode(epoch), found.revision)
        except WrongRevision:
            continue
        if is_first:
            await registry.settle(epoch.began)
        return epoch
