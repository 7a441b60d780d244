"""Operations: hostcalls bound to the contracts that serve them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeAlias, TypeVar

import attrs

from enfilade.fields import instance_of, shown
from enfilade.hostcalls.abi.errors import NotInThisBuild, PermissionDenied
from enfilade.hostcalls.abi.hostcall import Hostcall
from enfilade.hostcalls.contracts.contract import Contract, FunctionContract

if TYPE_CHECKING:
    from enfilade.hostcalls.contracts.caller import Caller
    from enfilade.hostcalls.contracts.offer import Offer
    from enfilade.hostcalls.contracts.quick import Again, Done, Later
    from enfilade.hostcalls.resources.futures import Future

In = TypeVar("In")
Out = TypeVar("Out")


Quick: TypeAlias = Callable[
    ["Caller", bytes, int], "bytes | Offer[bytes] | Future[Any] | Done | Again | Later | None"
]
"""A short cut, given the caller, the encoded input, and the future that is to have the answer.

It returns the encoded output, or an offer of that, or a future of the output; or says what has become of the
guest's future when it has answered it itself. None has changed nothing: the contract then serves what the
short cut leaves, errors and input that does not decode among it.
"""

TakeBack: TypeAlias = Callable[["Caller", int, bytes], object]

_IS_HOSTCALL = instance_of(Hostcall, "a Hostcall, such as hostcall(name, capability, input, output) makes")


@attrs.frozen(eq=False)
class Operation(Generic[In, Out]):
    """A contract bound to a catalogue entry.

    Attributes:
        hostcall: the catalogue entry.
        contract: what serves it.
        quick: a short cut for the calls that need not be decoded (`Quick`); None for none.
        take_back: called with the caller, a number that grows with each call of the guest's, and the encoded
            output, when the guest has dropped the future of an output that was no `Offer` without having
            polled it. It costs nothing while guests poll what they ask for, unlike an offer, but has to
            know from the output alone what it was. None for outputs that may be lost.
    """

    hostcall: Hostcall[In, Out] = attrs.field(validator=_IS_HOSTCALL)
    contract: Contract[In, Out]
    quick: Quick | None = None
    take_back: TakeBack | None = None

    @property
    def denied(self) -> bool:
        """True if this takes the place of a hostcall whose capability was not granted."""
        return self.contract is _DENIED


def operation(
    hostcall: Hostcall[In, Out],
    function: Callable[[Caller, In], Out | Awaitable[Out | Offer[Out]]],
    quick: Quick | None = None,
    take_back: TakeBack | None = None,
) -> Operation[In, Out]:
    """Bind a hostcall to a function.

    Args:
        hostcall: as `enfilade.hostcalls.hostcall` declares it.
        function: the contract, called with the caller and the decoded input.
        quick: as of `Operation`.
        take_back: as of `Operation`.

    Raises:
        TypeError: `hostcall` is none, or `function` cannot be called.
    """
    if not callable(function):
        raise TypeError(f"function must be a function of the caller and the input, got {shown(function)}")
    return Operation(hostcall, FunctionContract(function), quick, take_back)


class _Denied:
    """Refuses; guests never get here, because the engine answers for it, but a dispatch must not slip
    through.
    """

    def run(self, caller: Caller, input: Any, /) -> NoReturn:  # noqa: A002
        raise PermissionDenied


_DENIED = _Denied()


def denied_operation(hostcall: Hostcall[In, Out]) -> Operation[In, Out]:
    """An entry in the dispatch table for a hostcall whose capability was not granted."""
    return Operation(hostcall, _DENIED)


@attrs.frozen
class _Absent:
    name: str

    def run(self, caller: Caller, input: Any, /) -> NoReturn:  # noqa: A002
        raise NotInThisBuild(self.name)


def absent_operation(hostcall: Hostcall[In, Out]) -> Operation[In, Out]:
    """An entry in the dispatch table for a granted hostcall without a driver; it answers with that error."""
    return Operation(hostcall, _Absent(hostcall.name))
