"""The demo's view of its zones: plain records, filled by reports, read by the drawing."""

import statistics

import attrs


@attrs.define
class ChildView:
    """One child of a zone's supervisor, as it last reported itself."""

    id: str
    kind: str
    restarts: int = 0
    detail: str = ""


@attrs.define
class ZoneView:
    """One zone: its processes, and how its work is going."""

    name: str
    up: bool = False
    pid: int = 0
    starts: int = 0
    children: dict[str, ChildView] = attrs.Factory(dict)
    answered: int = 0
    failed: int = 0
    # What incarnations that are gone had counted, so that the totals outlive a kill.
    past_answered: int = 0
    past_failed: int = 0
    past_restarts: int = 0
    round_trips: list[float] = attrs.Factory(list)

    def gone(self) -> None:
        """The zone's processes ended with it; its counts stay."""
        self.up = False
        self.past_answered += self.answered
        self.past_failed += self.failed
        self.past_restarts += sum(child.restarts for child in self.children.values())
        self.answered = self.failed = 0
        self.children.clear()

    @property
    def total_answered(self) -> int:
        """Calls that were answered, by all incarnations."""
        return self.past_answered + self.answered

    @property
    def total_failed(self) -> int:
        """Number of calls that reached no process, over all incarnations."""
        return self.past_failed + self.failed

    @property
    def total_restarts(self) -> int:
        """Restarts of children, in all incarnations."""
        return self.past_restarts + sum(child.restarts for child in self.children.values())

    @property
    def median_round_trip(self) -> float | None:
        """The median of the last round trips through the doors, in seconds."""
        return statistics.median(self.round_trips) if self.round_trips else None


@attrs.define
class Board:
    """Both zones, and what happened, in order: pairs of seconds since the start and a sentence."""

    zones: dict[str, ZoneView]
    events: list[tuple[float, str]] = attrs.Factory(list)

    @property
    def total_answered(self) -> int:
        """Calls that were answered, in all zones."""
        return sum(zone.total_answered for zone in self.zones.values())

    @property
    def total_failed(self) -> int:
        """Number of calls that reached no process, in all zones."""
        return sum(zone.total_failed for zone in self.zones.values())
