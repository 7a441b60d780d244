"""Checking an invocation, and carrying its resources from the caller into the new guest.

A resource argument is one of two things, told apart by the parameter it stands for: an `I32` parameter
takes a slot of the caller and becomes a slot of the new guest; a `U64` parameter takes a shared handle and
is passed on as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import attrs

from enfilade.hostcalls.abi import (
    BufferArg,
    BufferParam,
    EntrypointInvocation,
    ResourceArg,
    ScalarArg,
    ScalarType,
    ScalarValue,
)
from enfilade.hostcalls.abi.callplan import check_scalar
from enfilade.hostcalls.abi.errors import HostcallError, KernelError, NotFound
from enfilade.hostcalls.resources.registry import Registry, Resource
from enfilade.hostcalls.resources.slots import Slots

Argument: TypeAlias = ScalarValue | bytes | Resource
"""An argument that no longer depends on the caller: a number, bytes, or a resource that is to become a
slot."""


def check(invocation: EntrypointInvocation) -> None:
    """Raise `KernelError` unless there is one argument of the right kind for each parameter."""
    if len(invocation.signature.params) != len(invocation.args):
        raise KernelError
    for parameter, argument in zip(invocation.signature.params, invocation.args, strict=True):
        if isinstance(parameter, BufferParam):
            fits = isinstance(argument, BufferArg)
        elif isinstance(argument, ScalarArg):
            fits = argument.value.kind is parameter.kind
        else:
            fits = isinstance(argument, ResourceArg) and parameter.kind in (ScalarType.I32, ScalarType.U64)
        if not fits:
            raise KernelError


def resolve(
    invocation: EntrypointInvocation, slots: Slots | None, registry: Registry
) -> tuple[Argument, ...]:
    """Resolve the arguments of a checked invocation, with the resources behind `slots` and shared handles.

    Raises `NotFound` for a slot that is empty, or when there is no caller to have slots; `KernelError` for
    a shared handle that is not live or a number outside of its kind.
    """
    arguments: list[Argument] = []
    for parameter, argument in zip(invocation.signature.params, invocation.args, strict=True):
        if isinstance(argument, BufferArg):
            arguments.append(argument.data)
        elif isinstance(argument, ScalarArg):
            try:
                check_scalar(argument.value)
            except HostcallError:
                raise KernelError from None
            arguments.append(argument.value)
        elif not isinstance(parameter, BufferParam) and parameter.kind is ScalarType.I32:
            if slots is None:
                raise NotFound
            arguments.append(slots.get(argument.handle))
        else:
            try:
                registry.shared(argument.handle)
            except NotFound:
                raise KernelError from None
            arguments.append(ScalarValue(ScalarType.U64, argument.handle))
    return tuple(arguments)


def materialise(arguments: Sequence[Argument], slots: Slots) -> tuple[ScalarValue | bytes, ...]:
    """Put resources into the new guest's slots, in order from slot 0; what is left are numbers and bytes.

    Raises `LimitReached` when the guest may not have so many slots.
    """
    slots.check_room(sum(isinstance(argument, Resource) for argument in arguments))
    return tuple(
        ScalarValue(ScalarType.I32, slots.insert(argument)) if isinstance(argument, Resource) else argument
        for argument in arguments
    )


@attrs.define
class Passage:
    """Holds the resources among `arguments` while they are on their way from one guest to the next."""

    registry: Registry
    arguments: tuple[Argument, ...]

    def __attrs_post_init__(self) -> None:
        for resource in self._resources():
            self.registry.hold(resource)

    def release(self) -> None:
        """Give the holds up; the receiver has its own by now. Once is enough."""
        for resource in self._resources():
            self.registry.unhold(resource)
        self.arguments = ()

    def _resources(self) -> list[Resource]:
        return [argument for argument in self.arguments if isinstance(argument, Resource)]
