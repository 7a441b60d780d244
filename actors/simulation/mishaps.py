"""Mishaps: what chance decides in single cases, as faults of a schedule.

A way that breaks a tenth of all connections does so at places that the seed draws. When such a world fails,
it is played again with `NoChance`, and with a mishap for each of those places; the few that matter are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from enfilade.actors.simulation.fault_schedule import Fault, Schedule
from enfilade.fields import by_annotation

if TYPE_CHECKING:
    from enfilade.transport.simulated.tape import Tape

__all__ = ["Mishap", "NoChance", "Rarity", "split", "tape_of"]

What: TypeAlias = Literal["reset", "full", "twice", "lost"]

WORDS: Final[dict[What, str]] = {
    "reset": "the connection breaks",
    "full": "there is no room for the batch",
    "twice": "the batch is put in twice",
    "lost": "the batch is lost",
}


@attrs.frozen(field_transformer=by_annotation)
class NoChance:
    """Let nothing happen to batches by chance, nor what `rare` asks for, but what the schedule says."""

    def __str__(self) -> str:
        return "nothing happens by chance but what follows"

    def strike(self, world: Any) -> None:
        """Strike `world`: see `Fault`."""
        world.network.tape.is_silent = True


@attrs.frozen(field_transformer=by_annotation)
class Mishap:
    """Let something happen to one batch, as chance did.

    Attributes:
        place: the number of its hand-over, counted from the beginning of the world.
        what: "reset" breaks the connection within the hand-over; "full" lets the batch find no room when it
            arrives; with "twice" it is put in twice; "lost" loses it where carriers may.
    """

    place: int = attrs.field(validator=attrs.validators.ge(1))
    what: What = attrs.field(validator=attrs.validators.in_(tuple(WORDS)))

    def __str__(self) -> str:
        return f"by chance, at the hand-over of number {self.place}: {WORDS[self.what]}"

    def strike(self, world: Any) -> None:
        """Strike `world`: see `Fault`."""
        world.network.tape.prescribed.add((self.place, self.what))


@attrs.frozen(field_transformer=by_annotation)
class Rarity:
    """Let what `rare` asks for happen once.

    Attributes:
        host: where; the empty name for `World.rare`.
        name: of the place in the program.
        number: the how many-th question for it on that host, from 1.
    """

    host: str
    name: str
    number: int = attrs.field(validator=attrs.validators.ge(1))

    def __str__(self) -> str:
        return f"{self.host or 'the test'}: {self.name!r} happens at the question of number {self.number}"

    def strike(self, world: Any) -> None:
        """Strike `world`: see `Fault`."""
        world.network.tape.prescribed.add((self.host, self.name, self.number))


def tape_of(tape: Tape) -> Schedule:
    """Return what chance has decided in a world, as a schedule without `NoChance`."""
    return [(0.0, _fault_of(place)) for place in tape.happened]


def _fault_of(place: Any) -> Fault:
    return Mishap(*place) if len(place) == 2 else Rarity(*place)


def split(schedule: Schedule) -> tuple[Schedule, Schedule]:
    """Part a schedule: what chance decides, which holds from the beginning, and other faults."""
    parts: tuple[Schedule, Schedule] = ([], [])
    for entry in schedule:
        parts[not isinstance(entry[1], NoChance | Mishap | Rarity)].append(entry)
    return parts
