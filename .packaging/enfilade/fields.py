"""Checks of settings: validators and converters of attrs fields.

A value of the wrong kind is refused where it is given, with a `TypeError` that names the field and says what
it must be. Otherwise it would fail later and elsewhere, or count as true.

These stand beside the packages, because each of them asks, and none imports another for it.
"""

from __future__ import annotations

import numbers
import reprlib
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias, TypeGuard, TypeVar

import attrs

__all__ = [
    "a_bool",
    "a_number",
    "an_int",
    "are_texts",
    "as_texts",
    "as_tuple",
    "by_annotation",
    "check",
    "fits_float",
    "instance_of",
    "is_int",
    "is_nan",
    "is_number",
    "shown",
    "tuple_of",
]

T = TypeVar("T")

Kind: TypeAlias = type | tuple[type, ...] | Callable[[], type | tuple[type, ...]]
"""What a value must be an instance of; a function where that is not known or imported yet."""

Validator: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Any], None]

_LARGEST: Final = int(sys.float_info.max)

_SHOWN: Final = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 200


def check(name: str, value: object, kind: Kind, wanted: str) -> None:
    """Check the kind of an argument of a function, as `instance_of` does that of a field.

    Args:
        name: the argument's.
        value: what was given.
        kind: as for `instance_of`.
        wanted: as for `instance_of`.

    Raises:
        TypeError: it is of another kind.
    """
    if not isinstance(value, kind if isinstance(kind, type | tuple) else kind()):
        raise TypeError(f"{name} must be {wanted}, got {shown(value)}")


def instance_of(kind: Kind, wanted: str) -> Validator:
    """Return a validator of one kind of values.

    Args:
        kind: the class, several classes, or a function that returns the class.
        wanted: what the field must be, as the message says it: "a Mailbox, such as Mailbox(capacity=100)".
    """

    def validate(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        check(attribute.alias or attribute.name, value, kind, wanted)

    return validate


def tuple_of(kind: Kind, wanted: str) -> Validator:
    """Return a validator of tuples, which `as_tuple` has made, with elements of one kind.

    Args:
        kind: as for `instance_of`.
        wanted: what the field must be, as the message says it: "Rule objects".
    """

    return attrs.validators.deep_iterable(instance_of(kind, wanted), instance_of(tuple, wanted))


a_bool: Final = instance_of(bool, "True or False")
"""A validator of truth values: a text such as "no" would count as true."""

are_texts: Final = tuple_of(str, "a string or a sequence of strings")
"""A validator of what `as_texts` has made."""


def a_number(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check that a field is a number, no bool, and not too large for a float."""
    _check_number(attribute, value, numbers.Real, "a number")
    if not fits_float(value):
        name = attribute.alias or attribute.name
        raise ValueError(f"{name} must be a number that a float can hold, got {shown(value)}")


def an_int(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check that a field is a whole number, and no bool."""
    _check_number(attribute, value, numbers.Integral, "an integer")


def as_tuple(value: Iterable[T]) -> tuple[T, ...]:
    """Return the elements of a value; what has none is returned as it is, for the validator to refuse."""
    return tuple(value) if isinstance(value, Iterable) else value


def as_texts(value: Iterable[str] | str) -> tuple[str, ...]:
    """Return one text, or several, as a tuple; `are_texts` refuses anything else."""
    return (value,) if isinstance(value, str) else as_tuple(value)


def shown(value: object) -> str:
    """Return the beginning of a value's `repr`, for a message that refuses it. Never raises."""
    return _SHOWN.repr(value)


def is_int(value: object) -> TypeGuard[int]:
    """Return true for an int, and false for a bool, which Python counts as one."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_nan(value: object) -> bool:
    """Return true for the float that is no number: no comparison with a bound finds it."""
    return isinstance(value, float) and value != value


def is_number(value: object) -> TypeGuard[int | float]:
    """Return true for a float and for an int that can become one, and false for a bool."""
    return isinstance(value, float) or (is_int(value) and fits_float(value))


def fits_float(value: Any) -> bool:
    """Return true if a number is not too large for a float: sums with the clock's, say, would fail later."""
    return isinstance(value, float) or -_LARGEST <= value <= _LARGEST


def by_annotation(_class: type, found: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    """Give each field of a class that is a bool, a number, or bytes by its annotation the check of that.

    For `attrs.frozen(field_transformer=by_annotation)`. A field's own validator comes after it.
    """
    return [_checked(field) for field in found]


def _checked(field: attrs.Attribute[Any]) -> attrs.Attribute[Any]:
    annotation = (
        field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
    )
    name = annotation.removesuffix(" | None")
    validator = _BY_ANNOTATION.get(name)
    if validator is None:
        return field
    if name != annotation:
        validator = attrs.validators.optional(validator)
    return field.evolve(
        validator=validator if field.validator is None else attrs.validators.and_(validator, field.validator)
    )


_BY_ANNOTATION: Final[dict[str, Validator]] = {
    "bool": a_bool,
    "bytes": instance_of(bytes, "bytes"),
    "float": a_number,
    "int": an_int,
}


def _check_number(attribute: attrs.Attribute[Any], value: object, kind: type, wanted: str) -> None:
    name = attribute.alias or attribute.name
    check(name, value, kind, wanted)
    if isinstance(value, bool):
        raise TypeError(f"{name} must be {wanted}, got {value}")
