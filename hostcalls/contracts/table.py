"""The dispatch table: the only way from a guest into the host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.hostcall import Hostcall
from enfilade.hostcalls.contracts.operation import Operation, Quick, absent_operation, denied_operation

Entry: TypeAlias = tuple[
    Callable[[bytes], Any],
    Callable[[Any, Any], Any],
    Callable[[Any], bytes],
    Operation[Any, Any],
    Quick | None,
]


class DispatchTable:
    """Leads from the index of a hostcall to the operation behind it, for one set of grants.

    Args:
        catalogue: all hostcalls; a hostcall's index is its place here.
        operations: those that have a driver.
        grants: the capabilities of the processes that use this table.

    A hostcall whose capability is not among `grants` leads to a denied operation; one that is granted but
    has no driver fails with a text that says so. Raises `ValueError` when two operations serve one
    hostcall, or one serves a hostcall that is not in the catalogue.
    """

    __slots__ = ("entries", "grants", "operations")

    def __init__(
        self,
        catalogue: Sequence[Hostcall[Any, Any]],
        operations: Iterable[Operation[Any, Any]],
        grants: frozenset[Capability],
    ) -> None:
        served: dict[str, Operation[Any, Any]] = {}
        names = {hostcall.name for hostcall in catalogue}
        if len(names) != len(catalogue):
            raise ValueError("the catalogue lists a hostcall twice")
        for operation in operations:
            name = operation.hostcall.name
            if name in served:
                raise ValueError(f"two operations serve {name}")
            if name not in names:
                raise ValueError(f"{name} is not in the catalogue")
            served[name] = operation
        self.grants = grants
        self.operations = tuple(
            served.get(hostcall.name, absent_operation(hostcall))
            if hostcall.capability in grants
            else denied_operation(hostcall)
            for hostcall in catalogue
        )
        self.entries: tuple[Entry, ...] = tuple(
            (
                operation.hostcall.input.decode,
                operation.contract.run,
                operation.hostcall.output.encode,
                operation,
                operation.quick,
            )
            for operation in self.operations
        )
        """What serving needs of each operation: decode, run, encode, the operation itself, its short cut."""

    def __getitem__(self, index: int) -> Operation[Any, Any]:
        return self.operations[index]

    def __len__(self) -> int:
        return len(self.operations)
