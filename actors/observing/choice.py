"""The one place that chooses between the compiled functions that note restarts and their twins in Python.

They are part of the compiled core of actors (`core.h`), which this hands what it has to know of events. As
there, the functions in Python say what is to be done, and `ENFILADE_CORE=python` chooses them.
"""

from __future__ import annotations

from typing import Any, Final

import enfilade.actors.node.node  # noqa: F401 (with it the rest of the core is bound)
from enfilade.actors.observing.events import records
from enfilade.actors.observing.events.listeners import Rare
from enfilade.actors.observing.events.reasons import EMPTY
from enfilade.actors.observing.observation import Observation
from enfilade.twins import Function, Site, choice_of, name_in_c

__all__ = ["CHOICE"]

TWINS: Final[dict[Site, Function]] = {
    (Observation, "keep"): Observation.keep,
    (Rare, "child_terminated"): Rare.child_terminated,
    (Rare, "child_restarted"): Rare.child_restarted,
}
"""The functions in Python, by where they are."""


def _bind(compiled: Any) -> None:
    compiled.bind_events(
        {},
        {
            **{name_in_c(site): twin for site, twin in TWINS.items()},
            "EMPTY": EMPTY,
            "ChildTerminated": records.ChildTerminated,
            "ChildRestarted": records.ChildRestarted,
        },
    )


CHOICE: Final = choice_of("the compiled core is", "enfilade.actors.core.compiled", TWINS, _bind)

CHOICE.choose_by_environment()
