"""The frames of a node link, and the batches that carry them.

A batch is what one call of a node link's door carries. It opens with a four-byte prefix, so that the C
server procedure at the other end can turn away what is not a batch without running Python; the rest is one
MessagePack array of three: the batch's sequence number, the count of bytes that the sender of this batch has
consumed from its peer (its grant of credit), and the array of frames.

A frame is a tagged array. Decoding has two layers. The first, here, checks the envelope against the types
below and leaves every payload as undecoded bytes; a batch that fails it is nonsense, and the node link
closes. The second, in `payload`, decodes one payload for one receiver; one that fails harms nobody else.

A frame is encoded when it is sent, not when its batch leaves: what the sender does to its objects afterwards
is not seen by the receiver, and what cannot be encoded fails where it was sent. A batch is a join of encoded
frames.

`docs/wire.md` gives the bytes.
"""

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, Union, get_args

import msgspec
from msgspec import Meta

__all__ = [
    "BATCH_LIMIT",
    "FRAME_LIMIT",
    "HANDLES_LIMIT",
    "NIL",
    "OVERHEAD",
    "PREFIX",
    "RESUMING",
    "SEALED_VERSION",
    "UNCOUNTED",
    "VERSION",
    "Abandon",
    "Batch",
    "Bye",
    "Call",
    "Cancel",
    "Cast",
    "Challenge",
    "Chunk",
    "Demonitor",
    "Down",
    "Exit",
    "Frame",
    "Hello",
    "Keyed",
    "Link",
    "MalformedBatch",
    "Members",
    "Monitor",
    "Moved",
    "Payload",
    "Present",
    "Prove",
    "Ready",
    "Refused",
    "Reply",
    "Returned",
    "Seek",
    "Send",
    "Spawn",
    "Spawned",
    "Target",
    "Unlink",
    "UnlinkAck",
    "Welcome",
    "Whereis",
    "WhereisReply",
    "decode_batch",
    "encode_batch",
    "encode_frame",
    "files_of",
]

PREFIX: Final = b"ENF\x01"
"""The first bytes of every batch: three letters and the version of the batch format."""

VERSION: Final = 1
"""The version that nodes without a secret speak."""

SEALED_VERSION: Final = 2
"""The version that nodes with a secret speak: as the first, and every batch ends with a tag (`seal`)."""

RESUMING: Final = 2
"""Added to the version by nodes that meet over a carrier that may lose batches (`resuming_link`)."""

UNCOUNTED: Final = 2**64 - 1
"""The sequence number of a batch that is not counted."""

FRAME_LIMIT: Final = 224 * 1024
"""Bytes of one encoded frame; a longer payload travels as a sealed memory file."""

BATCH_LIMIT: Final = 64 * 1024
"""Bytes of frames in one batch, unless it is a single frame: a batch is taken in whole, and while that lasts
nobody else has a turn."""

HANDLES_LIMIT: Final = 200
"""Handles in one batch; below what one call can carry on every carrier."""

Number: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A serial number, or the id of something that is open."""

Count: TypeAlias = Annotated[int, Meta(ge=0, le=HANDLES_LIMIT)]
"""How many of a batch's handles belong to a frame."""

Bits: TypeAlias = Annotated[int, Meta(ge=0)]
"""64 bits, or a count that has as many."""


class Keyed(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The actor of a key.

    `forwarded` says that a node which did not have it sent the frame on; that happens once.
    """

    kind: str
    key: str
    forwarded: bool = False

    def __str__(self) -> str:
        return f"{self.kind}/{self.key}"


Target: TypeAlias = Number | str | Keyed
"""Whom a frame is for: a process by its serial number, the holder of a name, or the actor of a key."""


NIL: Final = msgspec.Raw(b"\xc0")
"""The payload nil."""


class MalformedBatch(Exception):
    """A malformed batch of frames; the message says what is wrong with it."""


class _Frame(msgspec.Struct, array_like=True, gc=False):
    """The common form of all frames: an array that opens with the tag."""


class Hello(_Frame, tag=0):
    """The first frame to a rendezvous door. With it travels the door on which the sender wants its answer.

    `nonce` is empty when the sender has no secret to share.
    """

    oldest: int
    newest: int
    name: str
    zone: str
    incarnation: Bits
    window: int
    period: float
    nonce: bytes = b""


class Challenge(_Frame, tag=1):
    """The answer to a Hello by a node that has a secret: proof of knowing it, and a demand for the same."""

    nonce: bytes
    proof: bytes
    name: str = ""
    zone: str = ""
    incarnation: Bits = 0


class Prove(_Frame, tag=2):
    """The answer to a Challenge; with it travels the sender's door once more."""

    proof: bytes


class Welcome(_Frame, tag=3):
    """The peer is admitted. With it travels the door that is from now on the peer's own."""

    version: int
    name: str
    zone: str
    incarnation: Bits
    window: int
    period: float
    mixes: bool = False


class Refused(_Frame, tag=4):
    """The caller is not admitted, and the text says why; or it need not be, because the two are connected.

    `name` is the refusing node's.
    """

    name: str
    connected: bool
    text: str


class Ready(_Frame, tag=5):
    """The node that said Hello uses the node link. It `mixes` if frames to it may come between chunks."""

    mixes: bool = False


class Bye(_Frame, tag=6):
    """An orderly goodbye, the last frame of a node link."""

    text: str


class Seek(_Frame, tag=7):
    """The number of the batch that is due at its sender; what has that number or a later one is missing.

    `ask` asks the receiver to say the same of itself. Only node links that resume have it, in a batch of its
    own that is not counted.
    """

    expected: Bits
    ask: bool


class Send(_Frame, tag=16):
    """A plain message."""

    to: Target
    payload: msgspec.Raw
    files: Count = 0


class TracedSend(Send, tag=16):
    """A Send that belongs to a trace."""

    trace: msgspec.Raw = NIL


class Cast(_Frame, tag=17):
    """A request without a reply. The payload is the pair (positional, keyword) of arguments."""

    to: Target
    method: str
    payload: msgspec.Raw
    files: Count = 0


class TracedCast(Cast, tag=17):
    """A Cast that belongs to a trace."""

    trace: msgspec.Raw = NIL


class Call(_Frame, tag=18):
    """A request with a reply. `id` is the caller's own, unique among its calls on this node link.

    `caller` is the process that waits for the reply, or 0.
    """

    id: Number
    to: Target
    method: str
    payload: msgspec.Raw
    files: Count = 0
    caller: Number = 0


class TracedCall(Call, tag=18):
    """A Call that belongs to a trace."""

    trace: msgspec.Raw = NIL


class Reply(_Frame, tag=19):
    """The answer to a Call, or to a Spawn that failed. If it is an exit reason, `by` is as in `Exit`."""

    id: Number
    succeeded: bool
    payload: msgspec.Raw
    files: Count = 0
    by: msgspec.Raw = NIL


class Cancel(_Frame, tag=20):
    """The caller has stopped waiting for a Reply."""

    id: Number


class Returned(_Frame, tag=21):
    """A Send or a Cast that found no room, back to the node of its sender.

    `capacity` is that of the mailbox, `method` empty for a Send.
    """

    to: Target
    capacity: Number
    method: str
    payload: msgspec.Raw
    files: Count = 0


class Payload(_Frame, tag=22):
    """The payload of an earlier frame that said that it follows under this number."""

    id: Number
    payload: msgspec.Raw
    files: Count = 0


class Link(_Frame, tag=24):
    """Link the two processes."""

    sender: Number
    to: Number


class Unlink(_Frame, tag=25):
    """Remove the link; `id` comes back in the acknowledgement."""

    sender: Number
    to: Number
    id: Number


class UnlinkAck(_Frame, tag=26):
    """The Unlink with this id has been carried out."""

    sender: Number
    to: Number
    id: Number


class Exit(_Frame, tag=27):
    """An exit signal: carried by a link, or sent by a process on its own account, then perhaps to a name.

    `by` is a payload: a ref to the process that asked for the end that a link tells of, or nil.
    """

    sender: Number
    to: Target
    linked: bool
    reason: msgspec.Raw
    by: msgspec.Raw = NIL


class Monitor(_Frame, tag=28):
    """Watch a process. `id` is the watcher's own, unique among its monitors on this node link."""

    id: Number
    to: Target


class Demonitor(_Frame, tag=29):
    """Stop watching."""

    id: Number


class Down(_Frame, tag=30):
    """The watched process is gone. `by` as in `Exit`."""

    id: Number
    reason: msgspec.Raw
    by: msgspec.Raw = NIL


class Spawn(_Frame, tag=32):
    """Start a process from an exported entry; the payload is the pair of its arguments.

    `parent` is the sender's process whose child it is, linked to it from its birth, or 0 for none.
    """

    id: Number
    entry: str
    payload: msgspec.Raw
    files: Count = 0
    parent: Number = 0


class TracedSpawn(Spawn, tag=32):
    """A Spawn that belongs to a trace."""

    trace: msgspec.Raw = NIL


class Spawned(_Frame, tag=33):
    """The process that a Spawn started; the payload is its ref.

    `info` is what its start had to tell its parent, or nil.
    """

    id: Number
    payload: msgspec.Raw
    info: msgspec.Raw = msgspec.Raw(b"\xc0")


class Abandon(_Frame, tag=34):
    """Withdraw a Spawn: end what it started, answer nothing."""

    id: Number


class Whereis(_Frame, tag=36):
    """Ask for the process that holds a name."""

    id: Number
    name: str


class WhereisReply(_Frame, tag=37):
    """The payload is a ref or nil."""

    id: Number
    payload: msgspec.Raw


class Members(_Frame, tag=39):
    """All members of a group that live on the sender's node; the payload is the pair [group, refs]."""

    scope: str
    payload: msgspec.Raw


class Moved(_Frame, tag=42):
    """A shard of a kind is free, which the receiver is to have."""

    kind: str
    shard: Number


class Chunk(_Frame, tag=41):
    """A piece of a memory file of the next frame that has some, and the bytes of the file to come after it.

    Only carriers over which descriptors do not travel have it (`chunks`).
    """

    rest: Number
    data: memoryview


class Present(_Frame, tag=40):
    """Proof that this serial number was once handed out: the token that travelled with the ref."""

    serial: Number
    token: bytes


Frame = Union[  # noqa: UP007 - get_args() below reads it, and msgspec decodes by it
    Hello,
    Challenge,
    Prove,
    Welcome,
    Refused,
    Ready,
    Bye,
    Seek,
    Send,
    Cast,
    Call,
    Reply,
    Cancel,
    Returned,
    Payload,
    Link,
    Unlink,
    UnlinkAck,
    Exit,
    Monitor,
    Demonitor,
    Down,
    Spawn,
    Spawned,
    Abandon,
    Whereis,
    WhereisReply,
    Members,
    Present,
    Chunk,
    Moved,
]

FRAMES: Final[tuple[type[_Frame], ...]] = get_args(Frame)

TRACED: Final[dict[type[_Frame], type[_Frame]]] = {
    Send: TracedSend,
    Cast: TracedCast,
    Call: TracedCall,
    Spawn: TracedSpawn,
}
"""Frames that may carry the context of a trace, and the same with one, of the same tag. What arrives is read
as the latter; what leaves without a context is made as the former, which has no bytes for it."""

if TYPE_CHECKING:
    Received: TypeAlias = Frame
else:
    Received = Union[tuple(TRACED.get(kind, kind) for kind in FRAMES)]  # noqa: UP007


def files_of(frame: Frame) -> int:
    """Return how many handles of its batch belong to a frame."""
    count: int = getattr(frame, "files", 0)  # most kinds have no such field
    return count


class Batch(msgspec.Struct, array_like=True, gc=False):
    """A decoded batch.

    Attributes:
        sequence: its number on the node link, from 0.
        consumed: bytes of frames that its sender has taken out of batches from its peer, since the beginning.
        frames: in the order in which they were sent.
    """

    sequence: Bits
    consumed: Bits
    frames: list[Received]


_HEAD: Final = PREFIX + b"\x93\xcf"
"""The prefix, an array of three, and the mark of a 64-bit number."""

OVERHEAD: Final = len(_HEAD) + 8 + 9 + 5
"""The bytes of a batch that are not frames; those of the frames are what it costs in credit."""

_decode = msgspec.msgpack.Decoder(Batch).decode
_pack_head = struct.Struct(f">{len(_HEAD)}sQcQcI").pack


encode_frame: Final[Callable[[Frame], bytes]] = msgspec.msgpack.Encoder().encode
"""Encode one frame."""


def encode_batch(sequence: int, consumed: int, frames: Sequence[bytes]) -> bytes:
    """Join encoded frames into a batch.

    Args:
        sequence: the batch's number on its node link, from 0.
        consumed: bytes consumed from the peer so far.
        frames: frames from `encode_frame`.
    """
    head = _pack_head(_HEAD, sequence, b"\xcf", consumed, b"\xdd", len(frames))
    return b"".join((head, *frames))


def decode_batch(data: bytes) -> Batch:
    """Decode a batch's envelope; the payloads in it stay undecoded and refer to `data`.

    Raises:
        MalformedBatch: the bytes are not a batch that this version can read.
    """
    if not data.startswith(PREFIX):
        raise MalformedBatch(f"a batch must begin with {PREFIX!r}, got {bytes(data[:8])!r}")
    if len(data) < OVERHEAD:
        raise MalformedBatch(f"a batch must have at least {OVERHEAD} bytes, got {len(data)}")
    try:
        return _decode(memoryview(data)[len(PREFIX) :])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedBatch(
            f"expected a batch of frames, got bytes that cannot be decoded: {error}"
        ) from error
