"""Errors and exit reasons as they travel between nodes, and their words when they cannot.

The end of a process concerns others, so it is told in every case. What cannot be encoded as it is (an error
whose `str` raises, a detail of a type that is not registered) travels in words that say the same: an exit
reason of the same kind, an error of the runtime of the same type, any other error as a `RemoteError`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from enfilade.actors.messages.errors import RuntimeFault, UnknownName
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.plain import plain
from enfilade.actors.messages.reasons import Crashed, Custom, Reason, Shutdown, asked_by
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import full_name, safe_repr, safe_str
from enfilade.actors.messages.travelling import FAULTS
from enfilade.actors.peers.ref_passing import Named
from enfilade.transport import wire
from enfilade.transport.payload import RemoteError
from enfilade.transport.records import PayloadError
from enfilade.transport.remote_trace import places

__all__ = [
    "decode_by",
    "decode_reason",
    "error_in_words",
    "lower_fault",
    "lower_reason",
    "reason_in_words",
    "revive_fault",
    "revive_reason",
]


LONGEST_TEXT: Final = 1000
LONGEST_TRACE: Final = 16_000
"""Characters of what is told in words, so that it always fits into a frame."""


def lower_reason(reason: Reason) -> list[Any] | None:
    """Lower an exit reason that somebody asked for to the ref, which gives nothing, and the bare reason.

    None for any other: it travels as the record that it is.
    """
    return None if reason.by is None else [Named(reason.by), asked_by(reason, None)]


def revive_reason(fields: list[Any]) -> Reason:
    """The exit reason again. What is not a ref counts as nobody.

    Raises:
        PayloadError: there is no exit reason.
    """
    by, reason = fields
    if not is_a(reason, Reason):
        raise PayloadError(f"expected an exit reason and who asked for it, got {safe_repr(reason)}")
    return asked_by(reason, by) if is_a(by, Ref) else reason


def lower_fault(fault: RuntimeFault) -> list[Any]:
    """An error of the runtime as builtins and refs."""
    told = _told(fault)
    return [type(fault).__name__, str(fault) if told is fault else told, dict(vars(fault))]


def revive_fault(fields: list[Any]) -> RuntimeFault:
    """The error again. Its constructor is not called: it would compose the text anew."""
    name, text, values = fields
    kind = FAULTS[name]
    fault = kind.__new__(kind)
    fault.args = (text,)
    vars(fault).update(values)
    return fault


def reason_in_words(reason: Reason, origin: str) -> Reason:
    """An exit reason that travels, for one that does not.

    Args:
        reason: to be told.
        origin: the name of the node on which the process ended.
    """
    said: Reason
    match reason:
        case Crashed(error):
            said = Crashed(error_in_words(error, origin))
        case Shutdown(detail):
            said = Shutdown(_words(detail))
        case Custom(value):
            said = Custom(_words(value))
        case _:
            said = Custom(_words(reason))
    return asked_by(said, reason.by)


def error_in_words(error: BaseException, origin: str) -> BaseException:
    """An error that travels, for one that does not; the arguments are those of `reason_in_words`."""
    kind = type(error)
    if issubclass(kind, RuntimeFault) and FAULTS.get(kind.__name__) is kind:
        values = {name: _attribute(value, origin) for name, value in vars(error).items() if name[:2] != "__"}
        return revive_fault([kind.__name__, _words(_told(error)), values])
    frames = BaseException.__dict__["__traceback__"].__get__(error)  # past a `__getattribute__` of its own
    trace = places(frames)[-LONGEST_TRACE:]
    return RemoteError(_name(kind), _words(error), origin, trace)


def _told(fault: BaseException) -> object:
    """What to tell another node: the error, or its text without what only helps whoever reads it here."""
    return fault.args[0] if is_a(fault, UnknownName) and fault.args else fault


def _name(kind: type) -> str:
    """The name of a type of errors, as `transport.payload` tells it."""
    return _words(full_name(kind))


def _attribute(value: Any, origin: str) -> Any:
    """An attribute of an error, as something that travels."""
    if issubclass(type(value), Reason):
        return reason_in_words(value, origin)
    return _words(value) if type(value) is str else plain(value, _words)


def _words(value: Any) -> str:
    return safe_str(value, LONGEST_TEXT)


def decode_reason(decode: Callable[[Any], Any], payload: Any, by: Any) -> Reason:
    """Decode an exit reason, and who asked for the end; see `wire.Exit`. Never fails.

    Args:
        decode: decodes a payload.
        payload: the reason.
        by: as in `decode_by`.
    """
    try:
        reason = decode(payload)
    except PayloadError as error:
        return Custom(f"a reason that could not be decoded: {safe_str(error)}")
    return decode_by(decode, reason, by) if is_a(reason, Reason) else Custom(reason)


def decode_by(decode: Callable[[Any], Any], reason: Reason, by: Any) -> Reason:
    """Return `reason` with the process that asked for the end, whose ref `by` is the payload of.

    What is not a ref counts as nobody: the end is told all the same.
    """
    if by == wire.NIL:
        return reason
    try:
        ref = decode(by)
    except PayloadError:
        return reason
    return asked_by(reason, ref) if is_a(ref, Ref) else reason
