"""The layout of values in an rkyv 0.8 archive.

An archive is a C struct preceded by the data that its pointers lead to: the root object is the *last* `size`
bytes of the message, and every pointer is an offset, relative to the field that holds it, back to bytes that
were written before. A type is therefore compiled here to a `Layout`, which knows the inline representation
(one `struct` format for a whole object, however deeply its structs are nested) and how to reach what lies
out of line. Encoding is two steps: `prepare` appends the out-of-line data and returns what is needed to
point at it; `leaves` gives the values that `struct` packs once the position of the object is known.
"""

from __future__ import annotations

import enum
import functools
import operator
import struct
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import attrs

MOST_NUMBERS = 65_536
"""Elements that the vectors of numbers in a message may have together."""

MOST_ELEMENTS = 4_096
"""Elements that its other vectors may have together."""

_INLINE = 8  # bytes of text that a String holds itself
_LONGEST = 0x3FFF_FFFF  # bytes of text that the tagged length can express


class CodecError(ValueError):
    """A value could not be encoded, or bytes could not be decoded."""


class EncodeError(CodecError):
    """The value does not fit the type that it was to be encoded as."""


class DecodeError(CodecError):
    """The bytes are not a valid archive of the type."""


class Window:
    """The message, the part where the next out-of-line region may lie, the numbers that may still come."""

    __slots__ = ("data", "end", "numbers", "start")

    def __init__(self, data: bytes, end: int) -> None:
        self.data = data
        self.start = 0
        self.end = end
        self.numbers = MOST_NUMBERS

    def count(self, elements: int, element: Layout) -> None:
        """Count a vector's elements; one that is not a number counts for as many numbers as it costs."""
        self.numbers -= elements if element.plain else elements * (MOST_NUMBERS // MOST_ELEMENTS)
        if self.numbers < 0:
            raise DecodeError(f"a vector of {elements} makes too many elements for one message")

    def claim(self, start: int, size: int, align: int) -> None:
        """Check that a region may lie at `start`; the caller moves the window when it has read it."""
        if start < self.start or start + size > self.end:
            raise DecodeError(f"region [{start}, {start + size}) is outside of [{self.start}, {self.end})")
        if start % align:
            raise DecodeError(f"region at {start} is not aligned to {align}")


class Layout(ABC):
    """The representation of one type; `format` describes its inline part to `struct`, padding included."""

    size: int
    align: int
    format: str
    leaf_count: int = 1
    plain: bool = False  # one number, with no check beyond those of `struct`
    constant: bool = True  # its values cannot be changed: two decodings may give the same object

    @abstractmethod
    def prepare(self, value: Any, out: bytearray) -> Any:
        """Append the out-of-line data of `value` to `out`; return what `leaves` needs."""

    @abstractmethod
    def leaves(self, prepared: Any, position: int) -> tuple[Any, ...]:
        """The values to pack when the inline part lies at `position`."""

    @abstractmethod
    def read(self, leaves: tuple[Any, ...], index: int, position: int, window: Window) -> Any:
        """Build the value from the unpacked `leaves[index:]` of an object at `position`."""


class _Number(Layout):
    """A number of the format that `struct` has for it."""

    plain = True

    def __init__(self, format: str) -> None:  # noqa: A002 (the word of `struct`)
        self.format = format
        self.size = self.align = struct.calcsize("<" + format)

    def prepare(self, value: Any, out: bytearray) -> Any:
        return value

    def leaves(self, prepared: Any, position: int) -> tuple[Any, ...]:
        return (prepared,)

    def read(self, leaves: tuple[Any, ...], index: int, position: int, window: Window) -> Any:
        return leaves[index]


class _Bool(_Number):
    """One byte, 0 or 1."""

    plain = False

    def __init__(self) -> None:
        super().__init__("B")

    def prepare(self, value: Any, out: bytearray) -> int:
        if not isinstance(value, bool):
            raise EncodeError(f"expected a bool, got {value!r}")
        return int(value)

    def read(self, leaves: tuple[Any, ...], index: int, position: int, window: Window) -> bool:
        value = leaves[index]
        if value > 1:
            raise DecodeError(f"expected a bool, 0 or 1, got {value}")
        return bool(value)


class Unit(Layout):
    """`()`, which is None in Python."""

    size, align, format, leaf_count = 0, 1, "", 0

    def prepare(self, value: Any, out: bytearray) -> None:
        if value is not None:
            raise EncodeError(f"expected None, got {value!r}")

    def leaves(self, prepared: Any, position: int) -> tuple[Any, ...]:
        return ()

    def read(self, leaves: tuple[Any, ...], index: int, position: int, window: Window) -> None:
        return None


class _Member(_Number):
    """An enum without fields."""

    plain = False

    def __init__(self, members: type[enum.IntEnum]) -> None:
        super().__init__("B")
        self.members = members

    def prepare(self, value: Any, out: bytearray) -> int:
        if not isinstance(value, self.members):
            raise EncodeError(f"expected a {self.members.__name__}, got {value!r}")
        return int(value)

    def read(self, leaves: tuple[Any, ...], index: int, position: int, window: Window) -> Any:
        try:
            return self.members(leaves[index])
        except ValueError:
            raise DecodeError(f"expected a tag of {self.members.__name__}, got {leaves[index]}") from None


class Array(Layout):
    """`[u8; length]`: as many bytes, in place."""

    align = 1

    def __init__(self, length: int) -> None:
        self.size = length
        self.format = f"{length}s"

    def prepare(self, value: Any, out: bytearray) -> bytes:
        if len(value) != self.size:
            raise EncodeError(f"expected {self.size} bytes, got {len(value)}")
        return bytes(value)

    def leaves(self, prepared: Any, position: int) -> tuple[Any, ...]:
        return (prepared,)

    def read(self, leaves: tuple[Any, ...], index: int, position: int, window: Window) -> Any:
        return leaves[index]


class Bytes(Layout):
    """`Vec<u8>`: where the bytes begin, relative to this, and how many there are."""

    size, align, format, leaf_count = 8, 4, "iI", 2

    def prepare(self, value: Any, out: bytearray) -> tuple[int, int]:
        start = len(out)
        out += value
        return start, len(out) - start

    def leaves(self, prepared: Any, position: int) -> tuple[Any, ...]:
        start, count = prepared
        return start - position, count

    def read(self, leaves: tuple[Any, ...], index: int, position: int, window: Window) -> bytes:
        start, count = position + leaves[index], leaves[index + 1]
        end = start + count
        if start < window.start or end > window.end:
            window.claim(start, count, 1)
        window.start = end
        return window.data[start:end]


class _String(Layout):
    """`String`: a short text in place, of a longer one its length and where it lies."""

    size, align, format = 8, 4, "8s"

    def prepare(self, value: Any, out: bytearray) -> tuple[int, int] | bytes:
        encoded: bytes = value.encode()
        if len(encoded) <= _INLINE:
            return encoded.ljust(_INLINE, b"\xff")
        if len(encoded) > _LONGEST:
            raise EncodeError(f"a string of {len(encoded)} bytes is longer than {_LONGEST}")
        start = len(out)
        out += encoded
        return start, len(encoded)

    def leaves(self, prepared: Any, position: int) -> tuple[Any, ...]:
        if isinstance(prepared, bytes):
            return (prepared,)
        start, count = prepared
        tagged = (count & 0x3F) | 0x80 | ((count & ~0x3F) << 2)
        return (struct.pack("<Ii", tagged, start - position),)

    def read(self, leaves: tuple[Any, ...], index: int, position: int, window: Window) -> str:
        raw: bytes = leaves[index]
        if raw[0] & 0xC0 == 0x80:
            tagged, offset = struct.unpack("<Ii", raw)
            count = (tagged & 0x3F) | ((tagged & ~0xFF) >> 2)
            if count <= _INLINE:
                raise DecodeError(f"a string of {count} bytes lies out of line")
            start = position + offset
            window.claim(start, count, 1)
            window.start = start + count
            raw = window.data[start : start + count]
        else:
            raw = raw.partition(b"\xff")[0]
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise DecodeError(f"text is not UTF-8: {error.reason} at byte {error.start}") from None


class Vector(Layout):
    """`Vec<T>`: where the first element lies, relative to this, and how many there are."""

    size, align, format, leaf_count = 8, 4, "iI", 2

    def __init__(self, element: Layout) -> None:
        if not element.size:
            raise TypeError("the elements of a vector must have a size")
        self.element = element
        self.struct = struct.Struct("<" + element.format)

    def prepare(self, value: Any, out: bytearray) -> tuple[int, int]:
        element = self.element
        prepared = [element.prepare(item, out) for item in value]
        out += bytes(-len(out) % element.align)
        start = len(out)
        for item in prepared:
            out += self.struct.pack(*element.leaves(item, len(out)))
        return start, len(prepared)

    def leaves(self, prepared: Any, position: int) -> tuple[Any, ...]:
        start, count = prepared
        return start - position, count

    def read(self, leaves: tuple[Any, ...], index: int, position: int, window: Window) -> tuple[Any, ...]:
        element = self.element
        start, count = position + leaves[index], leaves[index + 1]
        size = count * element.size
        window.claim(start, size, element.align)
        window.count(count, element)
        outer, window.end = window.end, start
        items = tuple(
            element.read(item, 0, start + offset, window)
            for offset, item in zip(
                range(0, size, element.size),
                self.struct.iter_unpack(memoryview(window.data)[start : start + size]),
                strict=True,
            )
        )
        window.start, window.end = start + size, outer
        return items


def _is_constant(build: Any) -> bool:
    return not isinstance(build, type) or build.__setattr__.__name__ == "_frozen_setattrs"  # attrs.frozen


class Struct(Layout):
    """Fields in C layout; `build` makes the object, `take` yields its fields' values."""

    def __init__(
        self, fields: Sequence[Layout], take: Callable[[Any], Sequence[Any]], build: Callable[..., Any]
    ) -> None:
        self.fields: list[tuple[Layout, int, int]] = []  # layout, offset, index of the first leaf
        self.take = take
        self.build = build
        self.format = ""
        self.align = max((field.align for field in fields), default=1)
        self.leaf_count = offset = 0
        for field in fields:
            padding = -offset % field.align
            self.format += "x" * padding + field.format
            self.fields.append((field, offset + padding, self.leaf_count))
            self.leaf_count += field.leaf_count
            offset += padding + field.size
        self.format += "x" * (-offset % self.align)
        self.size = offset + -offset % self.align
        self.numbers = all(field.plain for field in fields)
        self.constant = all(field.constant for field in fields) and _is_constant(build)

    def prepare(self, value: Any, out: bytearray) -> Any:
        values = self.take(value)
        if self.numbers:
            return values
        fields = zip(self.fields, values, strict=True)
        return [item if field.plain else field.prepare(item, out) for (field, _, _), item in fields]

    def leaves(self, prepared: Any, position: int) -> tuple[Any, ...]:
        if self.numbers:
            return tuple(prepared)
        leaves: list[Any] = []
        for (field, offset, _), item in zip(self.fields, prepared, strict=True):
            leaves += (item,) if field.plain else field.leaves(item, position + offset)
        return tuple(leaves)

    def read(self, leaves: tuple[Any, ...], index: int, position: int, window: Window) -> Any:
        if self.numbers and index == 0 and len(leaves) == self.leaf_count:
            return self.build(*leaves)
        values = [
            leaves[index + leaf] if field.plain else field.read(leaves, index + leaf, position + at, window)
            for field, at, leaf in self.fields
        ]
        return self.build(*values)


class Choice(Layout):
    """An enum with fields: a tag byte, then the fields of the variant that the tag names.

    `variants` lists the fields of each variant. `split` turns a value into its tag and the values of the
    variant's fields; `join` does the reverse.
    """

    def __init__(
        self,
        variants: Sequence[Sequence[Layout]],
        split: Callable[[Any], tuple[int, Sequence[Any]]],
        join: Callable[[int, Sequence[Any]], Any],
    ) -> None:
        tag = _Number("B")
        structs = [Struct([tag, *fields], tuple, lambda *values: values) for fields in variants]
        self.structs = [(variant, struct.Struct("<" + variant.format)) for variant in structs]
        self.align = max(variant.align for variant in structs)
        longest = max(variant.size for variant in structs)
        self.size = longest + -longest % self.align
        self.format = f"{self.size}s"
        self.split = split
        self.join = join
        self.constant = all(variant.constant for variant in structs)

    def prepare(self, value: Any, out: bytearray) -> tuple[int, Any]:
        tag, values = self.split(value)
        return tag, self.structs[tag][0].prepare((tag, *values), out)

    def leaves(self, prepared: Any, position: int) -> tuple[Any, ...]:
        tag, fields = prepared
        variant, packer = self.structs[tag]
        return (packer.pack(*variant.leaves(fields, position)),)

    def read(self, leaves: tuple[Any, ...], index: int, position: int, window: Window) -> Any:
        raw: bytes = leaves[index]
        tag = raw[0]
        if tag >= len(self.structs):
            raise DecodeError(f"expected a tag below {len(self.structs)}, got {tag}")
        variant, packer = self.structs[tag]
        values = variant.read(packer.unpack_from(raw), 0, position, window)
        return self.join(tag, values[1:])


U8 = Annotated[int, _Number("B")]
I8 = Annotated[int, _Number("b")]
U16 = Annotated[int, _Number("H")]
I16 = Annotated[int, _Number("h")]
U32 = Annotated[int, _Number("I")]
I32 = Annotated[int, _Number("i")]
U64 = Annotated[int, _Number("Q")]
I64 = Annotated[int, _Number("q")]
F32 = Annotated[float, _Number("f")]
F64 = Annotated[float, _Number("d")]

_SIMPLE: dict[Any, Layout] = {
    str: _String(),
    bytes: Bytes(),
    bool: _Bool(),
    None: Unit(),
    type(None): Unit(),
}


def _option(inner: Layout) -> Layout:
    return Choice(
        [[], [inner]],
        lambda value: (0, ()) if value is None else (1, (value,)),
        lambda tag, values: values[0] if tag else None,
    )


def _fields(cls: type) -> tuple[list[Layout], Callable[[Any], Sequence[Any]]]:
    hints = typing.get_type_hints(cls, include_extras=True)
    names = [field.name for field in attrs.fields(cls)]
    getters = [operator.attrgetter(name) for name in names]
    take = operator.attrgetter(*names) if len(names) > 1 else lambda value: [get(value) for get in getters]
    return [layout(hints[name]) for name in names], take


def _union(classes: Sequence[type]) -> Layout:
    variants = [_fields(cls) for cls in classes]
    tags = {cls: tag for tag, cls in enumerate(classes)}

    def split(value: Any) -> tuple[int, Sequence[Any]]:
        tag = tags.get(type(value))
        if tag is None:
            raise EncodeError(f"expected one of {', '.join(cls.__name__ for cls in classes)}, got {value!r}")
        return tag, variants[tag][1](value)

    choice = Choice([fields for fields, _ in variants], split, lambda tag, values: classes[tag](*values))
    choice.constant &= all(map(_is_constant, classes))
    return choice


@functools.cache
def layout(annotation: Any) -> Layout:
    """The layout of the type that `annotation` names (the module's table says which those are).

    Raises `TypeError` for any other annotation.
    """
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        for extra in arguments[1:]:
            if isinstance(extra, Layout):
                return extra
        return layout(arguments[0])
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return Vector(layout(arguments[0]))
    if origin in (typing.Union, types.UnionType):
        choices = [choice for choice in arguments if choice is not type(None)]
        if len(choices) == len(arguments):
            return _union(choices)
        return _option(layout(choices[0]) if len(choices) == 1 else _union(choices))
    if isinstance(annotation, type):
        if issubclass(annotation, enum.IntEnum):
            return _Member(annotation)
        if attrs.has(annotation):
            fields, take = _fields(annotation)
            return Struct(fields, take, annotation)
    raise TypeError(
        f"{annotation!r} has no rkyv layout; use the annotations that enfilade.hostcalls.codec.rkyv lists"
    )
