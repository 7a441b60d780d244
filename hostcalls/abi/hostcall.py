"""The declaration of a hostcall: its name, the capability it needs, the types it takes and returns."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, overload

import attrs

from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.codec.rkyv import Codec, codec

In = TypeVar("In")
Out = TypeVar("Out")


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
    """A hostcall of types that `enfilade.hostcalls.codec.rkyv` lists. Raises `TypeError` for others."""
    return Hostcall(name, capability, codec(input), codec(output))
