"""Limits of one guest."""

from __future__ import annotations

import math

import attrs

from enfilade.fields import a_number, shown

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE


@attrs.frozen(kw_only=True, cache_hash=True)
class Limits:
    """The bounds of one guest.

    Exceeding `memory` or `table_elements` makes `memory.grow` or `table.grow` answer -1 inside the guest,
    as the WebAssembly specification has it. Exceeding any other bound is a trap of its own kind
    (`TrapKind.LIMIT`, `TrapKind.CPU_TIME`).

    Attributes:
        memory: bytes of linear memory. The engine's `max_memory` bounds it from above.
        table_elements: elements of each table.
        futures: futures that exist at one time, pending or finished but not yet polled; it also bounds the
            finished task ids that wait for room in the guest's mailbox ring.
        queued_bytes: bytes that the host holds for the guest: arguments not yet taken by
            `Instance.submissions` and results not yet polled by the guest.
        cpu_time: seconds during which the guest may run at a stretch, the start function included. Checked
            about every tick of the engine.
        cpu_renewal: seconds by which `cpu_time` is renewed each second, up to the whole of it; 0 for never:
            then `cpu_time` is for the guest's whole life.
        start_time: seconds of processor that the module's start function may take. It runs on the loop.
    """

    memory: int = 64 * MEBIBYTE
    table_elements: int = 10_000
    futures: int = 16_384
    queued_bytes: int = 16 * MEBIBYTE
    cpu_time: float = math.inf
    cpu_renewal: float = 0.0
    start_time: float = 0.005

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(type(self)):
            value = getattr(self, field.name)
            if isinstance(field.default, int) and (type(value) is not int or value >= 1 << 63):
                raise ValueError(f"the limit {field.name} must be an int below 2**63, got {shown(value)}")
            a_number(self, field, value)
            if field.name == "cpu_renewal":
                if not 0 <= value < math.inf:
                    raise ValueError(f"the limit cpu_renewal must be 0 or more, and finite, got {value!r}")
            elif not value > 0:
                raise ValueError(f"the limit {field.name} must be positive, got {value!r}")

    def within(self, outer: Limits) -> Limits:
        """Return these limits, each lowered to that of `outer` where it is higher.

        This is how a child inherits from its parent: no bound of a child exceeds the parent's.
        """
        names = [field.name for field in attrs.fields(Limits)]
        return Limits(**{name: min(getattr(self, name), getattr(outer, name)) for name in names})
