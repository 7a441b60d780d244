"""Answers of a pool: reasons why it does not do a job, and its statistics."""

from __future__ import annotations

from typing import Literal

import attrs

from enfilade.actors.messages.errors import RuntimeFault
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.travelling import travels

__all__ = ["JobDiscarded", "PoolDraining", "PoolStatistics", "Routing"]


Routing = Literal["any", "round_robin", "key", "sticky"]


@travels
class JobDiscarded(RuntimeFault):
    """The pool discarded `job`, because its queue was full."""

    def __init__(self, job: object, limit: int) -> None:
        super().__init__(f"the pool's queue is full ({limit} jobs); discarded {safe_repr(job)}")
        self.job = job


@travels
class PoolDraining(RuntimeFault):
    """The pool finishes the jobs that it has, and takes no new ones."""

    def __init__(self) -> None:
        super().__init__("the pool is draining; submit to another one")


@travels
@attrs.frozen
class PoolStatistics:
    """The state of a pool.

    Attributes:
        size: the intended number of workers.
        busy: the number of workers that have a job.
        queued: jobs that no worker has begun.
        completed: jobs that were answered, errors included.
        discarded: jobs that found no room, or whose submitters had given up before they were begun.
        replaced: workers that ended and were replaced.
        delayed: jobs that had a free worker and had to wait for the rate.
        limit: how many jobs may wait; None for any number.
        routing: how the worker of a job is chosen.
    """

    size: int
    busy: int
    queued: int
    completed: int
    discarded: int
    replaced: int
    delayed: int = 0
    limit: int | None = None
    routing: Routing = "any"
