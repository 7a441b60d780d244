"""Values as the bytes of a request or a reply, by their type.

| type | bytes |
|---|---|
| `None` | none |
| `bytes`, `bytearray` | themselves |
| `str` | UTF-8 |
| `bool`, `int`, `float` | C's `bool`, `int64_t`, `double`, in the machine's byte order |
| a ctypes type without pointers | what C has in memory |
| `Annotated[T, "<IHH"]`, or with a `struct.Struct` | packed so; one value, or a tuple of several |
| `Annotated[T, codec]` | what an object of your own with `size`, `encode` and `decode` makes of it |
| attrs, dataclass, `msgspec.Struct`, `list[int]`, `dict[str, float]`, ... | MessagePack, checked against
the type |

The first six are what a server in C would use, so a typed door talks to one.
"""

import ctypes
import struct
from typing import Annotated, Any, Protocol, TypeVar, get_args, get_origin, runtime_checkable

import attrs
import msgspec

T = TypeVar("T")


class CodecError(ValueError):
    """A value does not fit the type of the door, or bytes that came through it are none of its values."""


@runtime_checkable
class Codec(Protocol[T]):
    """An encoding for the values of a type."""

    @property
    def size(self) -> int | None:
        """Bytes of every value; `None` if it varies."""
        ...

    def encode(self, value: T) -> Any:
        """Return the bytes of `value`. Raises `CodecError` when it is not of the type."""
        ...

    def decode(self, data: memoryview) -> T:
        """Return the value of the bytes `data`, which may go when this returns. Raises `CodecError`."""
        ...


@attrs.frozen
class _Bytes:
    type: type = bytes
    size: int | None = None

    def encode(self, value: Any) -> Any:
        if type(value) is bytes:
            return value
        try:
            return memoryview(value)
        except TypeError:
            raise CodecError(f"expected bytes, got {value!r}") from None

    def decode(self, data: memoryview) -> Any:
        return self.type(data)


@attrs.frozen
class _Empty:
    size: int | None = 0

    def encode(self, value: None) -> bytes:
        if value is not None:
            raise CodecError(f"expected None, which the door is declared with, got {value!r}")
        return b""

    def decode(self, data: memoryview) -> None:
        _expect(data, 0, "None")


@attrs.frozen
class _Text:
    size: int | None = None

    def encode(self, value: str) -> bytes:
        if not isinstance(value, str):
            raise CodecError(f"expected a str, got {value!r}")
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise CodecError(f"{value!r} cannot be encoded as UTF-8: {error}") from error

    def decode(self, data: memoryview) -> str:
        try:
            return str(data, "utf-8")
        except UnicodeDecodeError as error:
            raise CodecError(f"the bytes are not UTF-8: {error}") from error


@attrs.frozen
class _Packed:
    structure: struct.Struct
    single: bool

    @property
    def size(self) -> int | None:
        return self.structure.size

    def encode(self, value: Any) -> bytes:
        try:
            return self.structure.pack(value) if self.single else self.structure.pack(*value)
        except (struct.error, TypeError) as error:
            raise CodecError(f"{value!r} cannot be packed as {self.structure.format!r}: {error}") from error

    def decode(self, data: memoryview) -> Any:
        _expect(data, self.structure.size, f"the format {self.structure.format!r}")
        values = self.structure.unpack(data)
        return values[0] if self.single else values


@attrs.frozen
class _Bool(_Packed):
    def encode(self, value: Any) -> bytes:
        if not isinstance(value, bool):  # struct would ask any object for its truth
            raise CodecError(f"expected a bool, got {value!r}")
        return super().encode(value)


@attrs.frozen
class _Ctypes:
    type: Any

    @property
    def size(self) -> int | None:
        return ctypes.sizeof(self.type)

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, self.type):
            try:
                value = self.type(value)
            except TypeError as error:
                raise CodecError(f"expected a {self.type.__name__}, got {value!r}") from error
        return bytes(value)

    def decode(self, data: memoryview) -> Any:
        _expect(data, ctypes.sizeof(self.type), self.type.__name__)
        return self.type.from_buffer_copy(data)


class _MessagePack:
    size: int | None = None

    def __init__(self, annotation: Any) -> None:
        foreign = _foreign(msgspec.inspect.type_info(annotation))
        if foreign is not None:
            raise TypeError(f"{foreign!r} is neither a record nor made of builtin types")
        self._annotation = annotation
        self._decoder = msgspec.msgpack.Decoder(annotation)
        self._encoder = msgspec.msgpack.Encoder()

    def encode(self, value: Any) -> bytes:
        try:
            encoded = self._encoder.encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise CodecError(f"{value!r} cannot be encoded: {error}") from error
        try:
            self._decoder.decode(encoded)  # the encoder takes values of any type
        except (msgspec.MsgspecError, RecursionError) as error:
            raise CodecError(f"{value!r} is not a {self._annotation}: {error}") from error
        return encoded

    def decode(self, data: memoryview) -> Any:
        try:
            return self._decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise CodecError(f"the bytes are not a {self._annotation}: {error}") from error


def _foreign(kind: Any) -> Any:
    """A type that MessagePack has no form for, within what msgspec says of a type; or None."""
    seen: set[int] = set()
    rest: list[Any] = [kind]
    while rest:
        part = rest.pop()
        if isinstance(part, msgspec.inspect.CustomType):
            return part.cls
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, msgspec.inspect.Type | msgspec.inspect.Field):
            rest += (getattr(part, name) for name in part.__struct_fields__ if not name.startswith("default"))
        elif isinstance(part, tuple):
            rest += part
    return None


def _expect(data: memoryview, size: int, what: str) -> None:
    if data.nbytes != size:
        raise CodecError(f"expected {size} bytes for {what}, got {data.nbytes}")


_SIMPLE: dict[Any, Codec[Any]] = {
    None: _Empty(),
    type(None): _Empty(),
    bytes: _Bytes(bytes),
    bytearray: _Bytes(bytearray),
    str: _Text(),
    bool: _Bool(struct.Struct("=?"), single=True),
    int: _Packed(struct.Struct("=q"), single=True),
    float: _Packed(struct.Struct("=d"), single=True),
}

_CTYPES = (ctypes._SimpleCData, ctypes.Structure, ctypes.Union, ctypes.Array)
_ADDRESSES = (ctypes.c_char_p, ctypes.c_wchar_p, ctypes.c_void_p, ctypes.py_object)


def _has_address(kind: Any) -> bool:
    """Whether a ctypes type holds an address, which means nothing, or worse, in another process."""
    if issubclass(kind, ctypes.Structure | ctypes.Union):
        fields = (getattr(base, "_fields_", ()) for base in kind.__mro__)
        return any(_has_address(field[1]) for group in fields for field in group)
    if issubclass(kind, ctypes.Array):
        return _has_address(kind._type_)
    return not issubclass(kind, ctypes._SimpleCData) or issubclass(kind, _ADDRESSES)


def codec_for(annotation: Any) -> Codec[Any]:
    """The codec of a type, as in the table above.

    Raises `TypeError` for a type that cannot travel.
    """
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    if get_origin(annotation) is Annotated:
        kind, *notes = get_args(annotation)
        for note in notes:
            if isinstance(note, str | struct.Struct):
                try:
                    structure = struct.Struct(note) if isinstance(note, str) else note
                except struct.error as error:
                    raise TypeError(f"values of {annotation!r} cannot go through a door: {error}") from error
                several = kind is tuple or get_origin(kind) is tuple
                return _Packed(structure, single=not several)
            if isinstance(note, Codec):
                return note
        return codec_for(kind)
    if isinstance(annotation, type) and issubclass(annotation, _CTYPES):
        if _has_address(annotation):
            raise TypeError(f"values of {annotation!r} cannot go through a door: they hold addresses")
        return _Ctypes(annotation)
    try:
        return _MessagePack(annotation)
    except TypeError as error:
        raise TypeError(f"values of {annotation!r} cannot go through a door: {error}") from error
