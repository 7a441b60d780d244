"""The contract that a driver implements, called on behalf of a guest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import attrs

if TYPE_CHECKING:
    from enfilade.hostcalls.contracts.caller import Caller
    from enfilade.hostcalls.contracts.offer import Offer

In = TypeVar("In")
Out = TypeVar("Out")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


class Contract(Protocol[In_contra, Out_co]):
    """The behaviour behind a hostcall.

    `run` returns the output, or an awaitable that gives it. An `enfilade.hostcalls.Future` is the awaitable
    that costs no task; any other runs as a task of its own. Either is cancelled when the guest drops the
    hostcall's future or dies. An awaitable may give an `Offer` of the output, which is taken back when the
    guest drops the future after that. A `HostcallError` that `run` or the awaitable raises becomes an error
    in the guest; any other exception is logged and reaches the guest as a kernel error.
    """

    def run(
        self,
        caller: Caller,
        input: In_contra,  # noqa: A002
        /,
    ) -> Out_co | Awaitable[Out_co | Offer[Out_co]]:
        """Do what `caller` asks for with `input`."""
        ...


@attrs.frozen
class FunctionContract(Generic[In, Out]):
    """A contract that is one function."""

    run: Callable[[Caller, In], Out | Awaitable[Out | Offer[Out]]]
