"""Errors of the runtime as they travel between nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from enfilade.actors.messages import errors
from enfilade.actors.messages.errors import RuntimeFault

__all__ = ["FAULTS", "lower_fault", "revive_fault"]


FAULTS: Final[Mapping[str, type[RuntimeFault]]] = {
    fault.__name__: fault
    for fault in map(vars(errors).get, errors.__all__)
    if isinstance(fault, type) and issubclass(fault, RuntimeFault)
}


def lower_fault(fault: RuntimeFault) -> list[Any]:
    """An error of the runtime as builtins and refs."""
    return [type(fault).__name__, str(fault), dict(vars(fault))]


def revive_fault(fields: list[Any]) -> RuntimeFault:
    """The error again. Its constructor is not called: it would compose the text anew."""
    name, text, values = fields
    kind = FAULTS[name]
    fault = kind.__new__(kind)
    fault.args = (text,)
    vars(fault).update(values)
    return fault
