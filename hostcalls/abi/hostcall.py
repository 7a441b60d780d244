"""The declaration of a hostcall: its name, the capability it needs, the types it takes and returns."""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar, overload

import attrs

from enfilade.fields import check, shown
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.codec.rkyv import Codec, codec

In = TypeVar("In")
Out = TypeVar("Out")

_NAME = re.compile(r"[\w.-]+(::[\w.-]+)+")


@attrs.frozen(eq=False)
class Hostcall(Generic[In, Out]):
    """One entry of the catalogue.

    Attributes:
        name: the import module under which guests find its `create`, `poll` and `drop`.
        capability: what a process must have been granted for it.
        input: codec of the arguments that `create` reads.
        output: codec of the result that `poll` writes.
    """

    name: str
    capability: Capability
    input: Codec[In]
    output: Codec[Out]


@overload
def hostcall(name: str, capability: Capability, input: type[In], output: type[Out]) -> Hostcall[In, Out]: ...
@overload
def hostcall(name: str, capability: Capability, input: None, output: type[Out]) -> Hostcall[None, Out]: ...
@overload
def hostcall(name: str, capability: Capability, input: type[In], output: None) -> Hostcall[In, None]: ...
def hostcall(name: str, capability: Capability, input: Any, output: Any) -> Hostcall[Any, Any]:  # noqa: A002
    """Declare a hostcall.

    Args:
        name: the import module, such as "example::weather::forecast".
        capability: what a guest must have been granted for it; `Capability(128)` to `Capability(255)` are
            the application's.
        input: the type of the arguments, by the annotations of `enfilade.hostcalls.codec.rkyv`; None for
            none.
        output: the type of the result, likewise.

    Raises:
        TypeError: a type has no encoding, or name or capability is of another kind.
        ValueError: the name is not of that form.
    """
    check("name", name, str, "the name of a hostcall, such as 'example::weather::forecast'")
    check("capability", capability, Capability, "a Capability, such as Capability(130)")
    if not _NAME.fullmatch(name):
        raise ValueError(f"the name of a hostcall must be words with '::' between them, got {shown(name)}")
    return Hostcall(name, capability, codec(input), codec(output))
