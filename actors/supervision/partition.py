"""Partition supervisors: several copies of one child, to spread by key what one process would hold up.

Source: Elixir's PartitionSupervisor.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Any

from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.errors import RuntimeFault
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Deferred
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.stable_hash import stable_hash
from enfilade.actors.messages.travelling import travels
from enfilade.actors.supervision.actions import Answer, Refuse
from enfilade.actors.supervision.administration import body_of, look_up, reply_to_caller, strategy_of
from enfilade.actors.supervision.child_spec import InvalidFlag, child_spec
from enfilade.actors.supervision.refusals import refused_with
from enfilade.actors.supervision.supervisor import Supervisor
from enfilade.fields import is_int

__all__ = ["InvalidKey", "PartitionStopped", "PartitionSupervisor"]


@travels
class PartitionStopped(RuntimeFault):
    """The partition that a key belongs to has no process at present; `index` is its number."""

    def __init__(self, index: int) -> None:
        super().__init__(f"partition {index} has no process at present; it is restarting, or was terminated")
        self.index = index


@travels
class InvalidKey(RuntimeFault, TypeError):
    """The key of a partition is not hashable. `key` is what was given."""

    def __init__(self, key: object) -> None:
        super().__init__(f"the key of a partition must be hashable, got {safe_repr(key)}")
        self.key = key


def partition_index(key: Hashable, partitions: int) -> int:
    """The partition, from 0, that `key` belongs to among so many.

    Integers are spread by their remainder, so that counting keys go round; anything else by its stable hash:
    see `stable_hash`.

    Raises:
        InvalidKey: it is not hashable.
    """
    place = _place(key)
    if place is None:
        raise InvalidKey(key)
    return place % partitions


@attempt(None)
def _place(key: Hashable) -> int | None:
    return abs(key) if isinstance(key, int) else stable_hash(key)


class PartitionSupervisor(Supervisor):
    """Supervises `partitions` copies of one child, with the ids 0, 1, 2 and so on.

    `await ref.call(PartitionSupervisor.partition, key)` is the ref to send to. It is worth keeping: when the
    child has a name, each copy is registered under that name with its number (`"cache.3"`), and the ref
    follows the name through restarts.

    Args:
        child: the specification of each copy; its id means nothing here.
        partitions: how many copies, at least 1. Default: one for each processor.
        with_index: whether each copy gets its number as a last argument.
        intensity, period: as for `Supervisor`; for all copies together.

    Raises:
        InvalidChild, InvalidFlag: what is wrong; as the cause of the spawn's `StartError`.
    """

    __slots__ = ("_supervisor_copies", "_supervisor_partitions", "_supervisor_template")

    def __init__(
        self,
        child: Any,
        *,
        partitions: int | None = None,
        with_index: bool = False,
        intensity: int = 3,
        period: float = 5.0,
    ) -> None:
        count = (os.cpu_count() or 1) if partitions is None else partitions
        self._supervisor_copies = self._supervisor_check(count, None)
        self._supervisor_partitions = self._supervisor_copies
        self._supervisor_template = template = child_spec(child)
        specs = []
        for index in range(self._supervisor_copies):
            spec = template.with_arguments(index) if with_index else template
            name = None if template.name is None else f"{template.name}.{index}"
            specs.append(spec.renamed(index, name))
        super().__init__(specs, intensity=intensity, period=period)

    @staticmethod
    def _supervisor_check(partitions: Any, most: int | None) -> int:
        if not is_int(partitions) or partitions < 1:
            raise InvalidFlag("partitions", partitions, "an integer, at least 1")
        if most is not None and partitions > most:
            raise InvalidFlag("partitions", partitions, f"at most the {most} that it was started with")
        return partitions

    def partition(self, key: Hashable) -> Deferred[Ref[Any]]:
        """The ref of the partition that `key` belongs to: a ref to its name, if it has one.

        Raises:
            PartitionStopped: it has neither a name nor a process at present.
            InvalidKey: the key is not hashable.
        """
        return look_up(self, self._supervisor_partition, key)

    def _supervisor_partition(self, key: Hashable) -> Ref[Any]:
        index = partition_index(key, self._supervisor_partitions)
        if self._supervisor_template.name is not None:
            return self.process.node.named(f"{self._supervisor_template.name}.{index}")
        found = (child.ref for child in strategy_of(self).children.infos() if child.id == index)
        ref = next(found, None)
        if not isinstance(ref, Ref):
            raise PartitionStopped(index)
        return ref

    def partitions(self) -> int:
        """The number of partitions that keys are spread over at present."""
        return self._supervisor_partitions

    def resize(self, partitions: int) -> Deferred[None]:
        """Spread keys over so many partitions from now on; stop those that are too many, start missing ones.

        Args:
            partitions: from 1 to the number that the supervisor was started with.

        Raises:
            InvalidFlag: another number.
            StartFailed: a partition did not start again; it and those after it stay stopped.
        """
        reply, deferred = reply_to_caller(self)
        try:
            self._supervisor_check(partitions, self._supervisor_copies)
        except InvalidFlag as error:
            reply(Refuse(refused_with(error)))
            return deferred

        body, strategy = body_of(self), strategy_of(self)
        call = None if deferred is None else deferred.request

        def step() -> None:
            if partitions < self._supervisor_partitions:
                self._supervisor_partitions -= 1
                body.ask(then, call, strategy.terminate_child, self._supervisor_partitions)
            elif partitions > self._supervisor_partitions:
                body.ask(grown, call, strategy.restart_child, self._supervisor_partitions)
            else:
                reply(Answer(None))

        def grown(outcome: Answer | Refuse) -> None:
            if isinstance(outcome, Answer):
                self._supervisor_partitions += 1
            then(outcome)

        def then(outcome: Answer | Refuse) -> None:
            if isinstance(outcome, Answer):
                body.continue_with(step)
            else:
                reply(outcome)

        step()
        return deferred
