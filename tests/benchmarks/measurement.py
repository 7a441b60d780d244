"""What came of a cell: its runs, or why there are none."""

from __future__ import annotations

import statistics
from typing import Any

import attrs


@attrs.frozen
class Run:
    """One run: the cost of one operation, and the system's load average before and after (getloadavg(3))."""

    cost: float
    load_before: float = 0.0
    load_after: float = 0.0


@attrs.frozen
class Measurement:
    """The runs of one cell; or the reason why it has none.

    `absent` says why the cell could not run here, `failed` what went wrong when it did.
    """

    benchmark: str
    family: str
    variant: str
    version: str
    parameters: dict[str, int]
    cpus: list[int] | None
    runs: list[Run] = attrs.Factory(list)
    absent: str | None = None
    failed: str | None = None

    @property
    def who(self) -> str:
        """Who was measured, as the catalogue names it."""
        return f"{self.family}/{self.variant}" if self.variant else self.family

    @property
    def label(self) -> str:
        """Who was measured, as the report names it."""
        return f"{self.family}, {self.variant}" if self.variant else self.family

    @property
    def costs(self) -> list[float]:
        """The cost of one operation in each run, in the benchmark's unit; empty when any run failed."""
        return [run.cost for run in self.runs] if self.failed is None else []

    @property
    def median(self) -> float | None:
        """The median cost; None when there is none."""
        return statistics.median(self.costs) if self.costs else None

    @property
    def least(self) -> float | None:
        """The least cost; None when there is none."""
        return min(self.costs, default=None)

    @property
    def spread(self) -> float | None:
        """The distance from the least cost to the greatest, as a part of the median."""
        median = self.median
        return (max(self.costs) - min(self.costs)) / median if median else None

    def record(self) -> dict[str, Any]:
        """The measurement as JSON values."""
        derived = {"median": self.median, "least": self.least, "spread": self.spread}
        return {**attrs.asdict(self), **derived}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Measurement:
        """The measurement that `record` gave."""
        fields = {field.name: record[field.name] for field in attrs.fields(cls)}
        fields["runs"] = [Run(**run) for run in record["runs"]]
        return cls(**fields)
