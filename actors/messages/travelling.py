"""The runtime's own classes whose instances travel between nodes as they are.

`peers` encodes them, but may not know what stands above the kernel: supervisors, pools, event managers. So a
class says of itself that it travels.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from enfilade.actors.messages import errors
from enfilade.actors.messages.errors import RuntimeFault

__all__ = ["FAULTS", "RECORDS", "travels"]

C = TypeVar("C", bound=type[Any])

FAULTS: Final[dict[str, type[RuntimeFault]]] = {
    fault.__name__: fault
    for fault in map(vars(errors).get, errors.__all__)
    if isinstance(fault, type) and issubclass(fault, RuntimeFault)
}
"""Errors by name: all of the kernel's, and those above it that say so."""

RECORDS: Final[dict[str, type[Any]]] = {}
"""What processes above the kernel answer and tell, by name."""


def travels(kind: C) -> C:
    """Decorate an error or a record of the runtime that another node is to get as it is.

    Its name stands for it on the wire, so no two may have the same.
    """
    (FAULTS if issubclass(kind, RuntimeFault) else RECORDS)[kind.__name__] = kind
    return kind
