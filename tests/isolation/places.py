"""All places, by what is met there."""

from tests.isolation import (
    handed_to_actors,
    handed_to_guests,
    handed_to_nodes,
    handed_to_patterns,
    met_elsewhere,
    misbehaviour,
    raised_in_actors,
    raised_in_patterns,
    tasks_of_their_own,
)
from tests.isolation.place import PLACES
from tests.isolation.stage import Combination

__all__ = ["combinations"]

_FILES = (  # fill the table
    *(raised_in_actors, raised_in_patterns, handed_to_actors, handed_to_patterns),
    *(handed_to_guests, handed_to_nodes, met_elsewhere, misbehaviour, tasks_of_their_own),
)


def combinations() -> list[Combination]:
    """Everything there is to try."""
    return [combination for place in PLACES for combination in place.combinations()]
