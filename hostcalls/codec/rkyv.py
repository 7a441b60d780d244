"""The rkyv 0.8 wire format, for attrs classes.

A type is written as an annotation:

====================================  =====================================================
annotation                            encoding
====================================  =====================================================
`U8` ... `I64`, `F32`, `F64`          a number, little-endian, naturally aligned
`bool`, `None`                        one byte that is 0 or 1; nothing at all
`str`, `bytes`, `tuple[T, ...]`       `String`, `Vec<u8>`, `Vec<T>`
`Array(n)` in `Annotated[bytes, _]`   `[u8; n]`
`T | None`                            `Option<T>`
`A | B | C` of attrs classes          an enum whose variants are the classes, in this order
an `IntEnum`                          an enum without fields; the member's value is the tag
an attrs class                        a struct, its fields in declaration order
====================================  =====================================================

Decoding accepts exactly what the validator of the Rust crate accepts: out-of-line regions lie before their
owner, do not overlap and come in the order of the fields; tags are in range; text is UTF-8. Whatever bytes
are given, decoding ends with a value or with `DecodeError`. Bytes and text cost no more than a copy; what
becomes Python objects one by one is bounded for each message, since nobody else runs meanwhile.
"""

from __future__ import annotations

import functools
import struct
from typing import Any, Generic, TypeVar

from enfilade.hostcalls.codec.layout import (
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    MOST_ELEMENTS,
    MOST_NUMBERS,
    U8,
    U16,
    U32,
    U64,
    Array,
    Bytes,
    Choice,
    CodecError,
    DecodeError,
    EncodeError,
    Layout,
    Struct,
    Unit,
    Vector,
    Window,
    layout,
)

__all__ = [
    "F32",
    "F64",
    "I8",
    "I16",
    "I32",
    "I64",
    "MOST_ELEMENTS",
    "MOST_NUMBERS",
    "U8",
    "U16",
    "U32",
    "U64",
    "Array",
    "Choice",
    "Codec",
    "CodecError",
    "DecodeError",
    "EncodeError",
    "Layout",
    "codec",
    "layout",
]

T = TypeVar("T")

_SMALL = 64  # bytes of the longest message whose decoding is remembered
_ZEROS = bytes(8)
_ELEMENT_ALIGN = 4  # of the vectors in messages that carry data

_MISFITS = (struct.error, TypeError, AttributeError, ValueError, OverflowError)
"""What Python raises when a value is not of the type that it is packed as."""


class Codec(Generic[T]):
    """Encodes and decodes messages whose root is one type. Made by `codec`."""

    __slots__ = ("_layout", "_remembered", "_struct", "align", "size")

    def __init__(self, root: Layout) -> None:
        self._layout = root
        self._struct = struct.Struct("<" + root.format)
        self.size = root.size
        self.align = root.align
        # Guests ask for the same thing again and again: to receive anything, to read so many bytes.
        remember = root.constant and root.size <= _SMALL
        self._remembered = functools.lru_cache(self._read) if remember else self._read

    def encode(self, value: T) -> bytes:
        """The archive of `value`, byte for byte what the Rust crate writes.

        Raises `EncodeError` when the value does not fit the type.
        """
        out = bytearray()
        try:
            prepared = self._layout.prepare(value, out)
            if out:
                out += bytes(-len(out) % self.align)
            packed = self._struct.pack(*self._layout.leaves(prepared, len(out)))
        except CodecError:
            raise
        except _MISFITS as error:
            raise EncodeError(f"{value!r} does not fit its type: {error}") from None
        return bytes(out) + packed if out else packed

    def decode(self, data: bytes) -> T:
        """The value whose archive `data` is; raises `DecodeError` when it is not a valid one."""
        position = len(data) - self.size
        if position < 0:
            raise DecodeError(f"expected at least {self.size} bytes, got {len(data)}")
        if position % self.align:
            raise DecodeError(f"the root at {position} is not aligned to {self.align}")
        return self._read(data) if position else self._remembered(data)

    def _read(self, data: bytes) -> T:
        position = len(data) - self.size
        window = Window(data, position)
        value: T = self._layout.read(self._struct.unpack_from(data, position), 0, position, window)
        return value


class _UnitCodec(Codec[None]):
    """Nothing at all, which many hostcalls take or give."""

    __slots__ = ()

    def encode(self, value: None) -> bytes:
        return super().encode(value) if value is not None else b""

    def decode(self, data: bytes) -> None:
        return None


class _NumberCodec(Codec[float]):
    """One number: no window, no leaves."""

    __slots__ = ()

    def encode(self, value: float) -> bytes:
        try:
            return self._struct.pack(value)
        except _MISFITS as error:
            raise EncodeError(f"{value!r} does not fit its type: {error}") from None

    def decode(self, data: bytes) -> float:
        if len(data) != self.size:
            return super().decode(data)
        value: float
        (value,) = self._struct.unpack(data)
        return value


class _NumbersCodec(Codec[T]):
    """A struct of numbers alone."""

    __slots__ = ("_build", "_take")

    def __init__(self, root: Struct) -> None:
        super().__init__(root)
        self._build = root.build
        self._take = root.take

    def encode(self, value: T) -> bytes:
        try:
            return self._struct.pack(*self._take(value))
        except _MISFITS as error:
            raise EncodeError(f"{value!r} does not fit its type: {error}") from None

    def decode(self, data: bytes) -> T:
        if len(data) != self.size:
            return super().decode(data)
        value: T = self._build(*self._struct.unpack(data))
        return value


class _DataCodec(Codec[T]):
    """What carries data: a struct of numbers, then bytes, then perhaps a vector, which is mostly empty."""

    __slots__ = ("_build", "_data", "_numbers", "_take", "_vector")

    def __init__(self, root: Struct) -> None:
        super().__init__(root)
        self._build = root.build
        self._take = root.take
        at = {type(field): offset for field, offset, _ in root.fields}
        self._data = at[Bytes]
        self._vector: int | None = at.get(Vector)
        self._numbers = len(root.fields) - len(at.keys() & {Bytes, Vector})

    @staticmethod
    def fits(root: Struct) -> bool:
        """Whether the struct is one of these."""
        fields = [field for field, _, _ in root.fields]
        if fields and isinstance(fields[-1], Vector) and fields[-1].element.align == _ELEMENT_ALIGN:
            fields.pop()
        return bool(fields) and isinstance(fields.pop(), Bytes) and all(field.plain for field in fields)

    def encode(self, value: T) -> bytes:
        try:
            values = self._take(value)
            data = values[self._numbers]
            if type(data) is not bytes or (self._vector is not None and values[-1] != ()):
                return super().encode(value)
            end = len(data)
            if self._vector is None:
                root = end + -end % self.align
                rest = self._struct.pack(*values[:-1], -root - self._data, end)
            else:
                start = end + -end % _ELEMENT_ALIGN
                root = start + -start % self.align
                rest = self._struct.pack(
                    *values[:-2], -root - self._data, end, start - root - self._vector, 0
                )
        except _MISFITS:
            return super().encode(value)
        return data + _ZEROS[: root - end] + rest

    def decode(self, data: bytes) -> T:
        root = len(data) - self.size
        if root < 0 or root % self.align:
            return super().decode(data)
        leaves, numbers = self._struct.unpack_from(data, root), self._numbers
        start = root + self._data + leaves[numbers]
        end = start + leaves[numbers + 1]
        if start < 0 or end > root:
            return super().decode(data)
        value: T
        if self._vector is None:
            value = self._build(*leaves[:numbers], data[start:end])
            return value
        elements = root + self._vector + leaves[-2]
        if leaves[-1] or elements < end or elements > root or elements % _ELEMENT_ALIGN:
            return super().decode(data)
        value = self._build(*leaves[:numbers], data[start:end], ())
        return value


@functools.cache
def codec(annotation: Any) -> Codec[Any]:
    """The codec of messages whose root is `annotation`; see the module's table. Raises `TypeError`."""
    root = layout(annotation)
    if isinstance(root, Unit):
        return _UnitCodec(root)
    if root.plain:
        return _NumberCodec(root)
    if isinstance(root, Struct) and root.numbers and root.fields:
        return _NumbersCodec(root)
    if isinstance(root, Struct) and _DataCodec.fits(root):
        return _DataCodec(root)
    return Codec(root)
