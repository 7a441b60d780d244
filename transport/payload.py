"""The second layer of the wire: what processes say to each other, as bytes, without pickle.

A payload is MessagePack. What MessagePack knows itself stands for itself; everything else is one of the
extensions below, each with MessagePack inside it. Nothing in a payload names code: a record is decoded by
the class that *this* program registered under the record's name, and by no other.

A record carries the name of its type and that type's shape, a checksum of its version and its field names.
So a receiver that has never heard of the type (UnknownType) is told apart from one that knows another
version of it (VersionMismatch). Field values are checked against their annotations on both sides
(FieldMismatch), at the sender first, which is where the mistake is.

Long bytes do not pass through the frames: each object travels as a memory file, into which the sender
copies it once, and out of which the receiver copies it once.

Values that belong to a node link, such as refs, are not known here. Their translation is given to the codec
as an External.
"""

import builtins
import enum
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from enfilade.transport import memory_file
from enfilade.transport.atoms import (
    ATOMS,
    INLINE_LIMIT,
    LONGEST_INLINE,
    SHORT,
    are_atoms,
    are_rows,
    is_atom,
    is_plain,
    types_of,
)
from enfilade.transport.attachment import Attachment, LongBytes, Unfilled, attach, read, reading
from enfilade.transport.budget import SMALL, Budget, distinct
from enfilade.transport.file_descriptor import FileDescriptor, close_all
from enfilade.transport.policy import Limits
from enfilade.transport.records import (
    PayloadError,
    Record,
    TypeRegistry,
    UnknownType,
    UnregisteredType,
    VersionMismatch,
    instead_of,
    registered,
    shown,
)
from enfilade.transport.remote_trace import places
from enfilade.transport.standard_types import BY_NAME, STANDARD

__all__ = ["Codec", "External", "RemoteError", "malformed"]

_TUPLE: Final = 1
_SET: Final = 2
_FROZENSET: Final = 3
_INTEGER: Final = 4
_RECORD: Final = 5
_ERROR: Final = 6
_DESCRIPTOR: Final = 7
_BYTEARRAY: Final = 8
_MEMORY: Final = 9
_DICT: Final = 10
_BYTES: Final = 11
_LATE: Final = 12

_NO_KEYWORDS: Final[dict[str, Any]] = {}
_NOTHING_FETCHED: Final[Mapping[int, bytes]] = {}

_LATE_MARK: Final = bytes([0xD7, _LATE])
_FIXED: Final = tuple(bytes([first]) for first in range(0xD4, 0xD9))
_EXTENSION: Final = b"\xc7"
"""What extensions begin with: of 1, 2, 4, 8 and 16 bytes; of up to 255."""

LATE_SIZE: Final = len(_LATE_MARK) + 8
"""Bytes of the payload that stands for one that follows."""

PAYLOAD_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of a payload, however it travels, all memory files taken together; a receiver may allow less."""

MEMORY_FILES: Final = memory_file.MOST_FILES - 1
"""Memory files for bytes in one payload; what is long beyond that stays in the payload, which then is one."""

DESCRIPTORS_LIMIT: Final = 128
"""File descriptors in one payload."""


def late(number: int) -> msgspec.Raw:
    """Make the payload that says: it follows, under this number."""
    return msgspec.Raw(_LATE_MARK + number.to_bytes(8, "big"))


def number_of_late(payload: msgspec.Raw) -> int | None:
    """Return the number under which a payload is to follow; None when it is a payload itself."""
    if len(payload) == LATE_SIZE:
        data = bytes(payload)
        if data.startswith(_LATE_MARK):
            return int.from_bytes(data[len(_LATE_MARK) :], "big")
    return None


def long_files(payload: msgspec.Raw, files: Sequence[Attachment]) -> Mapping[int, int]:
    """Tell which memory files of a payload that was received are long and hold bytes: index and size."""
    found = {at: memory_file.long_size(file) for at, file in enumerate(files) if isinstance(file, int)}
    head = bytes(memoryview(payload)[:3])
    code = head[1:2] if head[:1] in _FIXED else head[2:3] if head[:1] == _EXTENSION else b""
    if found and code == bytes([_MEMORY]):
        found.popitem()  # it holds all the rest of the payload, was added last, and is decoded in place
    return {index: size for index, size in found.items() if size}


def malformed(error: Exception) -> PayloadError:
    """Return what is said of a payload that failed to be decoded with an error."""
    if isinstance(error, RecursionError):
        return PayloadError("the payload is nested too deeply")
    return PayloadError(f"malformed payload: {error}")


class RemoteError(Exception):
    """An exception on another node whose type is not known here, or the origin of one whose type is.

    Attributes:
        type_name: the qualified name of the exception's type.
        text: what `str` said of it.
        origin: the node on which it was raised.
        trace: the calls in its traceback: files without their directories, lines, functions.
    """

    def __init__(self, type_name: str, text: str, origin: str, trace: str) -> None:
        super().__init__(type_name, text, origin, trace)
        self.type_name = type_name
        self.text = text
        self.origin = origin
        self.trace = trace

    def __str__(self) -> str:
        return f"{self.type_name}: {self.text} (raised on {self.origin})"


@attrs.frozen
class External:
    """The encoding of one type that another module defines.

    Attributes:
        type: the exact class.
        code: the extension code, 16 to 63, the same on all nodes.
        lower: turns a value into something made of builtins, or of types that travel. None means that this
            one travels as if it were not external.
        revive: turns that back into a value; it may raise any exception, which counts as a malformed payload.
    """

    type: type
    code: int
    lower: Callable[[Any], Any]
    revive: Callable[[Any], Any]


class Codec:
    """Encodes and decodes payloads for one node link.

    Args:
        registry: the types that may travel.
        externals: the translations of values that belong to the node link.
        origin: this node's name, told with every exception that leaves it.

    Attributes:
        limits: what a payload that comes may cost.
        decode_small: decodes a payload of at most `SMALL` bytes with nothing beside it; of what it raises,
            `malformed` makes what `decode` would.
        in_memory: bytes of the memory files of the payload that came last with handles.
        without_descriptors: why file descriptors do not travel; empty while they do.
    """

    def __init__(
        self, registry: TypeRegistry = registered, *, externals: Sequence[External] = (), origin: str = ""
    ) -> None:
        self.limits = Limits(payload=PAYLOAD_LIMIT)
        self.in_memory = 0
        self.without_descriptors = ""
        self._registry = registry
        self._origin = origin
        self._lowering: dict[type, Callable[[Any], Any]] = {
            int: self._lower_integer,
            bytes: self._lower_bytes,
            list: self._lower_list,
            dict: self._lower_dict,
            tuple: lambda value: self._extension(_TUPLE, list(value)),
            set: lambda value: self._lower_set(_SET, value),
            frozenset: lambda value: self._lower_set(_FROZENSET, value),
            bytearray: lambda value: msgspec.msgpack.Ext(_BYTEARRAY, bytes(value)),
            memoryview: self._lower_view,
            FileDescriptor: self._lower_descriptor,
            **{kind: self._native(name, lower) for kind, (name, lower, _) in STANDARD.items()},
        }
        self._reviving: dict[int, Callable[[Any], Any]] = {
            _TUPLE: tuple,
            _SET: lambda items: set(distinct(items)),
            _FROZENSET: lambda items: frozenset(distinct(items)),
            _RECORD: self._revive_record,
            _ERROR: self._revive_error,
            _DESCRIPTOR: self._revive_descriptor,
            _MEMORY: self._revive_memory,
            _BYTES: self._revive_bytes,
            _DICT: self._revive_dict,
        }
        for external in externals:
            self._lowering[external.type] = self._external(external)
            self._reviving[external.code] = external.revive
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(ext_hook=self._revive)
        self.decode_small: Callable[[Any], Any] = self._decoder.decode
        self._outgoing: list[Attachment] = []
        self._incoming: Sequence[FileDescriptor | LongBytes] = ()
        self._in_files = 0
        self._budget: Budget | None = None
        self._unwritten: list[Unfilled] | None = None
        self._fetched: Mapping[int, bytes] = _NOTHING_FETCHED
        self._named: set[int] = set()

    def encode(
        self, value: Any, unwritten: list[Unfilled] | None = None
    ) -> tuple[msgspec.Raw, Sequence[Attachment]]:
        """Encode a value.

        Args:
            value: to be encoded.
            unwritten: gets the memory files that are long and have yet to be filled; by default all are
                filled at once.

        Returns:
            The payload, and what must travel beside it, in order. Descriptors are duplicates, the caller's to
            close.

        Raises:
            UnregisteredType: a part of the value may not travel.
            FieldMismatch: a record's field holds a value that its class does not allow.
            PayloadError: the value contains itself, is nested too deeply, or holds a string that is not
                Unicode.
            OSError: a file descriptor in it is not open, or no more can be opened.
        """
        data = b""
        if is_atom(value):
            try:
                data = self._encoder.encode(value)
            except (OverflowError, UnicodeEncodeError):
                data = b""
            if 0 < len(data) <= INLINE_LIMIT:
                return msgspec.Raw(data), ()
        return self._encode(value, data, unwritten)

    def _encode(
        self, value: Any, data: bytes, unwritten: list[Unfilled] | None
    ) -> tuple[msgspec.Raw, Sequence[Attachment]]:
        """Encode as `encode` does; `data`, if there is some, is what is too long to travel inline."""
        if self._outgoing:
            self._outgoing = []
        self._in_files = 0
        self._unwritten = unwritten
        try:
            data = data or self._pack(value)
            size = len(data) + self._in_files
            if size > PAYLOAD_LIMIT:
                raise PayloadError(f"a payload may have {PAYLOAD_LIMIT} bytes, this one has {size}")
            if len(self._outgoing) > DESCRIPTORS_LIMIT:
                raise PayloadError(
                    f"a payload may carry {DESCRIPTORS_LIMIT} descriptors, this one has {len(self._outgoing)}"
                )
            if len(data) > INLINE_LIMIT:
                data = self._encoder.encode(self._in_memory(_MEMORY, data))
        except BaseException as error:
            self._drop_outgoing(0)
            if isinstance(error, RecursionError):
                raise PayloadError("the value contains itself, or is nested too deeply to travel") from error
            if isinstance(error, UnicodeEncodeError):
                raise PayloadError(f"a string that is not valid Unicode cannot travel: {error}") from error
            raise
        return msgspec.Raw(data), self._outgoing

    def encode_arguments(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        unwritten: list[Unfilled] | None = None,
    ) -> tuple[msgspec.Raw, Sequence[Attachment]]:
        """Encode the arguments of a call, as the pair `[args, kwargs]`. Otherwise as `encode`."""
        data = b""
        if not kwargs and are_atoms(args, types_of(args)):
            try:
                data = self._encoder.encode((args, _NO_KEYWORDS))
            except (OverflowError, UnicodeEncodeError):
                data = b""
            if 0 < len(data) <= INLINE_LIMIT:
                return msgspec.Raw(data), ()
        return self._encode([list(args), dict(kwargs)], data, unwritten)

    def decode(
        self,
        payload: msgspec.Raw | bytes | memoryview,
        attachments: Sequence[Attachment] = (),
        fetched: Mapping[int, bytes] = _NOTHING_FETCHED,
    ) -> Any:
        """Decode a value.

        Args:
            payload: what `encode` made on another node.
            attachments: what travelled beside it. Descriptors are consumed: those that the value does not
                hold are closed, and all are when decoding fails.
            fetched: what was read from memory files already, by their indexes.

        Raises:
            UnknownType: it holds a record whose type is not registered here.
            VersionMismatch: it holds a record of another version than the one registered here.
            FieldMismatch: a record's field holds a value that its class does not allow.
            PayloadError: it is not a payload.
        """
        try:
            if not attachments and len(payload) <= SMALL:
                return self._decoder.decode(payload)
            self._incoming = [
                FileDescriptor.received(each) if isinstance(each, int) else each for each in attachments
            ]
            limits = self.limits
            self._budget = budget = Budget(min(limits.payload, PAYLOAD_LIMIT), limits.decoding)
            self._named.clear()
            self._fetched = fetched
            try:
                if len(payload) > SMALL:
                    budget.charge(payload)
                return self._decoder.decode(payload)
            finally:
                self._incoming = ()
                self._budget = None
                self.in_memory = budget.in_memory
                self._fetched = _NOTHING_FETCHED
        except PayloadError:
            raise
        except Exception as error:
            raise malformed(error) from error

    def _pack(self, value: Any) -> bytes:
        mark, in_files = len(self._outgoing), self._in_files
        try:
            return self._encoder.encode(value if is_atom(value) else self._lower(value))
        except OverflowError:
            self._drop_outgoing(mark)
            self._in_files = in_files
            return self._encoder.encode(self._lower_exact(value))

    def _in_memory(self, code: int, data: bytes | memoryview) -> msgspec.msgpack.Ext:
        """Have long data travel beside the payload."""
        self._outgoing.append(attach(data, self._unwritten, in_files=not self.without_descriptors))
        self._in_files += len(data)
        return msgspec.msgpack.Ext(code, self._encoder.encode([len(self._outgoing) - 1, len(data)]))

    def _drop_outgoing(self, mark: int) -> None:
        """Close what was to travel, from an index on."""
        dropped = self._outgoing[mark:]
        self._outgoing = self._outgoing[:mark]
        if self._unwritten:
            for file in self._unwritten:
                if file.attachment in dropped:
                    file.drop()
            self._unwritten[:] = [file for file in self._unwritten if file.attachment not in dropped]
        close_all(dropped)

    # Lowering: from values to what MessagePack carries.

    def _lower(self, value: Any) -> Any:
        kind = type(value)
        if is_atom(value):
            return value
        lower = self._lowering.get(kind)
        return self._lower_other(value) if lower is None else lower(value)

    def _lower_other(self, value: Any) -> Any:
        kind = type(value)
        record = self._registry.by_type(kind)
        if record is not None:
            return self._lower_record(record, value)
        if isinstance(value, BaseException):
            return self._lower_error(value)
        raise UnregisteredType(
            f"a {kind.__module__}.{kind.__qualname__} cannot travel to another node: {instead_of(kind)}"
        )

    def _lower_exact(self, value: Any) -> Any:
        """Lower a value in which some integer has more than 64 bits: the slow way, looking at each."""
        kind = type(value)
        if kind is int:
            return self._lower_integer(value)
        if kind is list:
            return [self._lower_exact(item) for item in value]
        if kind is dict:
            return self._extension(_DICT, [[key, item] for key, item in value.items()])
        return self._lower(value)

    def _lower_integer(self, value: int) -> Any:
        if -(2**63) <= value < 2**64:
            return value
        size = value.bit_length() // 8 + 1
        return msgspec.msgpack.Ext(_INTEGER, value.to_bytes(size, "big", signed=True))

    def _lower_bytes(self, value: bytes | memoryview) -> Any:
        if len(value) <= LONGEST_INLINE or len(self._outgoing) >= MEMORY_FILES:
            return bytes(value)
        if self._in_files + len(value) > PAYLOAD_LIMIT:
            size = self._in_files + len(value)
            raise PayloadError(f"a payload may have {PAYLOAD_LIMIT} bytes, this one has {size}")
        return self._in_memory(_BYTES, value)

    def _lower_view(self, value: memoryview) -> Any:
        return self._lower_bytes(value.cast("B") if value.c_contiguous else value.tobytes())

    def _lower_list(self, value: list[Any]) -> Any:
        types = types_of(value)
        if are_atoms(value, types) or are_rows(value, types):
            return value
        return [self._lower(item) for item in value]

    def _lower_dict(self, value: dict[Any, Any]) -> Any:
        keys, values = types_of(value), types_of(value.values())
        if are_atoms(value, keys) and are_atoms(value.values(), values):
            return value
        if keys <= ATOMS:
            return {key: self._lower(item) for key, item in value.items()}
        return self._extension(_DICT, [[key, item] for key, item in value.items()])

    def _extension(self, code: int, items: list[Any]) -> msgspec.msgpack.Ext:
        return msgspec.msgpack.Ext(code, self._pack(items))

    def _lower_set(self, code: int, members: Iterable[Any]) -> msgspec.msgpack.Ext:
        """Lower a set; the order of its members does not depend on the run of Python."""
        packed = [msgspec.Raw(data) for data in sorted(map(self._pack, members))]
        return msgspec.msgpack.Ext(code, self._encoder.encode(packed))

    def _lower_record(self, record: Record, value: Any) -> Any:
        values = [getattr(value, field) for field in record.fields]
        if not isinstance(value, enum.Enum | BaseException):
            record.check(values)
        return self._extension(_RECORD, [record.name, record.version, record.shape, *values])

    def _lower_error(self, error: BaseException) -> Any:
        if isinstance(error, RemoteError):
            return self._extension(_ERROR, [*error.args, None])
        kind = type(error)
        arguments = error.args if kind.__module__ == "builtins" else None
        if arguments is not None and not ATOMS.issuperset(map(type, arguments)):
            arguments = None
        name = (
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )
        trace = places(error.__traceback__)
        values = [name, str(error), self._origin, trace, None if arguments is None else list(arguments)]
        return self._extension(_ERROR, values)

    def _lower_descriptor(self, value: FileDescriptor) -> Any:
        if self.without_descriptors:
            raise PayloadError(self.without_descriptors)
        if not value.can_travel:
            raise PayloadError("an io_uring belongs to one process: the kernel gives it to no other")
        self._outgoing.append(os.dup(value.fileno()))
        return msgspec.msgpack.Ext(_DESCRIPTOR, self._encoder.encode(len(self._outgoing) - 1))

    def _external(self, external: External) -> Callable[[Any], Any]:
        lower, code = external.lower, external.code

        def lower_external(value: Any) -> Any:
            lowered = lower(value)
            if lowered is None:
                return self._lower_other(value)
            return msgspec.msgpack.Ext(code, self._pack(lowered))

        return lower_external

    def _native(self, name: str, lower: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda value: self._extension(_RECORD, [name, 0, 0, lower(value)])

    # Reviving: from what MessagePack carried to values.

    def _revive(self, code: int, data: memoryview) -> Any:
        if code == _INTEGER:
            return int.from_bytes(data, "big", signed=True)
        if code == _BYTEARRAY:
            return bytearray(data)
        revive = self._reviving.get(code)
        if revive is None:
            raise PayloadError(f"the payload holds an extension with the unknown code {code}")
        return revive(self._decoder.decode(data))

    def _revive_record(self, items: list[Any]) -> Any:
        name, version, shape, *values = items
        record = self._registry.by_name(name)
        if record is None:
            native = BY_NAME.get(name)
            if native is not None:
                return native(*values)
            raise UnknownType(f"the payload holds a {shown(name)}, which is not registered on this node")
        if shape != record.shape or len(values) != len(record.fields):
            raise VersionMismatch(
                f"the payload holds version {shown(version)} of {record.name!r} with {len(values)} fields; "
                f"this node has version {record.version} with the fields {', '.join(record.fields) or 'none'}"
            )
        if issubclass(record.type, BaseException):
            return self._revive_registered_error(record, *values)
        if issubclass(record.type, enum.Enum):
            return _revive_member(record, *values)
        record.check(values)
        return record.type(**dict(zip(record.parameters, values, strict=True)))

    def _revive_registered_error(self, record: Record, arguments: Any) -> BaseException:
        """The error again, if its class can be made of the arguments that it left in `args`."""
        if not isinstance(arguments, list | tuple):
            raise PayloadError(f"expected the arguments of {record.name!r}, got a {type(arguments).__name__}")
        try:
            return record.type(*arguments)  # type: ignore[no-any-return]
        except Exception:  # its `__init__` takes others than it hands on
            return RemoteError(record.name, str(Exception(*arguments)), "the other node", "")

    def _revive_error(self, items: list[Any]) -> BaseException:
        name, text, origin, trace, arguments = items
        remote = RemoteError(name, text, origin, trace)
        if arguments is None:
            return remote
        kind = getattr(builtins, name, None)
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            return remote
        error = kind(*arguments)
        error.__cause__ = remote
        return error

    def _revive_descriptor(self, index: int) -> FileDescriptor:
        found = self._arrived(index)
        if isinstance(found, LongBytes):
            raise PayloadError(f"expected a descriptor under number {index}, got bytes")
        return found

    def _arrived(self, index: int) -> FileDescriptor | LongBytes:
        if not 0 <= index < len(self._incoming):
            raise PayloadError(
                f"descriptor {index} of the payload did not arrive ({len(self._incoming)} came)"
            )
        return self._incoming[index]

    def _revive_dict(self, pairs: list[Any]) -> dict[Any, Any]:
        distinct([key for key, _ in pairs])
        return dict(pairs)

    def _revive_memory(self, items: list[int]) -> Any:
        with reading(*self._memory(items)) as data:
            if self._budget is not None:
                self._budget.charge(data)
            return self._decoder.decode(data)

    def _revive_bytes(self, items: list[int]) -> bytes:
        fetched = self._fetched.get(items[0])
        found, size = self._memory(items)
        return fetched if fetched is not None and len(fetched) == size else read(found, size)

    def _memory(self, items: list[int]) -> tuple[int | LongBytes, int]:
        """What holds long bytes, and how many. All sizes count, and each file is named once."""
        index, size = items
        if self._budget is None:
            raise PayloadError("the payload names a memory file, and none came with it")
        self._budget.charge_bytes(size)
        if type(index) is not int:
            raise PayloadError(f"the index of a memory file must be a number, got {shown(index)}")
        found = self._arrived(index)
        if index in self._named:
            raise PayloadError(f"the payload names memory file {index} twice")
        self._named.add(index)
        return found if isinstance(found, LongBytes) else found.fileno(), size


def _revive_member(record: Record, value: Any) -> enum.Enum:
    """Find the member of an enumeration; one that is not there is not shown, however long it is."""
    kind: type[enum.Enum] = record.type
    if is_plain(value) and (type(value) is not bytes or len(value) <= SHORT):
        return kind(value)
    for member in kind:
        if type(member.value) is type(value) and member.value == value:
            return member
    raise PayloadError(f"no member of {record.name!r} has the value {shown(value)}")
