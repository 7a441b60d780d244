"""What came of a cell: its costs, or why there are none."""

from __future__ import annotations

import statistics
from typing import Any

import attrs


@attrs.frozen
class Measurement:
    """The costs that one cell gave, a run each; or the reason why it gave none.

    ``absent`` says why the cell could not run here, ``failed`` what went wrong when it did.
    """

    benchmark: str
    family: str
    variant: str
    version: str
    parameters: dict[str, int]
    cpus: list[int] | None
    costs: list[float] = attrs.Factory(list)
    absent: str | None = None
    failed: str | None = None

    @property
    def label(self) -> str:
        """Who was measured, as the report names it."""
        return f"{self.family}, {self.variant}" if self.variant else self.family

    @property
    def median(self) -> float | None:
        """The median cost of one operation, in the benchmark's unit; None when any run failed."""
        return statistics.median(self.costs) if self.costs and self.failed is None else None

    @property
    def spread(self) -> float | None:
        """The distance from the least cost to the greatest, as a part of the median."""
        median = self.median
        return (max(self.costs) - min(self.costs)) / median if median else None

    def record(self) -> dict[str, Any]:
        """The measurement as JSON values."""
        return {**attrs.asdict(self), "median": self.median, "spread": self.spread}
