"""The book of a supervisor's children: what it knows of each, and what it shows of that.

`Children` holds one `ChildRecord` for each child, which is the supervisor's own and mutable; `ChildInfo` and
`ChildCounts` are the immutable answers of `Supervisor.children` and `Supervisor.count_children`.
"""

from __future__ import annotations

import abc
import enum
import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Generic, Literal, TypeVar

import attrs

from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.safe_text import safe_record
from enfilade.actors.messages.travelling import travels
from enfilade.actors.supervision.child_spec import (
    Child,
    ChildType,
    DuplicateChild,
    Flags,
    InvalidChild,
    InvalidFlag,
    RestartType,
    check_child_specs,
)
from enfilade.actors.supervision.refusals import (
    AlreadyPresent,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    MaxChildren,
    NoChildIds,
    NoTemplate,
)
from enfilade.fields import is_int

__all__ = [
    "RESTARTING",
    "RUNNING",
    "STARTING",
    "STOPPED",
    "ChildCounts",
    "ChildInfo",
    "ChildRecord",
    "Children",
    "DynamicChildren",
    "NamedChildren",
    "Status",
]

R = TypeVar("R", bound=Hashable)


class Status(enum.Enum):
    """The state of a child, as its supervisor sees it."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"


# To look a member up in its class is a call of its own in Python 3.11, and a restart asks for several.
STOPPED, STARTING, RUNNING, RESTARTING = Status


@attrs.define(eq=False)
class ChildRecord(Generic[R]):
    """One child: its specification, its present incarnation, and what is due to happen to it.

    Attributes:
        key: what the supervisor finds it by: its id, or something unique for dynamic children.
        id: the id that others see; None if it has none, because it is dynamic.
        spec: its specification.
        args, kwargs: the arguments of its next start.
        ref: the running process, or None.
        status: see `Status`.
        predecessor: the incarnation before, while the next one is being started.
        exit: an exit that arrived while the supervisor was occupied, and is yet to be dealt with.
        retry: the pending `Retry` of a child that is restarting; any other one is out of date.
        failures: restarts since the last quiet time, for back-off.
        since: when the present incarnation of a child with back-off started.
        restarts: how often it was started again.
    """

    key: Hashable
    id: Hashable
    spec: Child
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    ref: R | None = None
    status: Status = STOPPED
    predecessor: R | None = None
    exit: Reason | None = None
    retry: object = None
    failures: int = 0
    since: float = 0.0
    restarts: int = 0


@travels
@attrs.frozen
class ChildInfo(Generic[R]):
    """One child as it is shown to others.

    Attributes:
        id: the id of its specification, None under a dynamic supervisor.
        ref: the running process, None when there is none, or "restarting" between two attempts to restart it.
        type: "worker" or "supervisor".
        restart: "permanent", "transient" or "temporary".
    """

    id: Hashable
    ref: R | Literal["restarting"] | None
    type: ChildType
    restart: RestartType

    __repr__ = safe_record


@travels
@attrs.frozen
class ChildCounts:
    """The numbers of children.

    Attributes:
        specs: child specifications; 1 for a dynamic supervisor with a template.
        active: running processes; a child between two attempts to restart it is not one.
        supervisors: children of type "supervisor", running or not.
        workers: children of type "worker", running or not.
    """

    specs: int
    active: int
    supervisors: int
    workers: int


class Children(abc.ABC, Generic[R]):
    """The children of one supervisor: what it knows of each, and how it finds them.

    The strategy decides; the book keeps the records, and marks in them what happens to processes. Iterating
    gives the records in start order. There are two kinds, `NamedChildren` and `DynamicChildren`.

    Attributes:
        flags: the flags of the supervisor, which limit what children it may have.
        running: returns the child that runs as a ref; None if there is none.
        removed: called with each child that is no longer listed.

    Raises:
        InvalidFlag: the flags are for the other kind of children.
    """

    def __init__(self, flags: Flags) -> None:
        self.check_flags(flags)
        self.flags = flags
        self.removed: Callable[[ChildRecord[R]], None] = _no_matter
        self._records: dict[Hashable, ChildRecord[R]] = {}
        self._by_ref: dict[R, ChildRecord[R]] = {}
        self.running: Callable[[R], ChildRecord[R] | None] = self._by_ref.get

    # Where the two kinds differ.

    @abc.abstractmethod
    def check_flags(self, flags: Flags) -> None:
        """Raise `InvalidFlag` if the strategy that `flags` name is for the other kind of children."""

    @abc.abstractmethod
    def keeps(self, record: ChildRecord[R]) -> bool:
        """Tell whether the specification stays when the child is down."""

    @abc.abstractmethod
    def add(self, child: Any) -> ChildRecord[R]:
        """Add a child, which is then to be started.

        Raises:
            ChildRunning: a child with that id runs.
            AlreadyPresent: a child with that id is specified, but stopped or restarting.
            MaxChildren: there are as many as there may be.
            InvalidChild, BadCombination: the specification is bad.
        """

    @abc.abstractmethod
    def find(self, key: Any) -> ChildRecord[R]:
        """The child that is known by that key: the id of a named child, the ref of a dynamic one.

        Raises:
            ChildNotFound: there is none.
        """

    @abc.abstractmethod
    def find_stopped(self, key: Any) -> ChildRecord[R]:
        """The child of that id, to be started again by hand.

        Raises:
            ChildNotFound, ChildRunning, ChildRestarting: there is no child of that id that is stopped.
            NoChildIds: dynamic children have no ids.
        """

    @abc.abstractmethod
    def delete(self, key: Any) -> None:
        """Remove the specification of a stopped child, by its id.

        Raises:
            ChildNotFound, ChildRunning, ChildRestarting, NoChildIds: as `find_stopped`.
        """

    @abc.abstractmethod
    def spec(self, key: Any) -> Child:
        """The specification of the child with that id, or with that ref.

        Raises:
            ChildNotFound: there is none.
        """

    def info(self, record: ChildRecord[R]) -> ChildInfo[R]:
        """The child as it is shown to others."""
        spec = record.spec
        return ChildInfo(record.id, _shown_ref(record), spec.type, spec.restart)

    @abc.abstractmethod
    def change(self, flags: Flags, children: Any) -> None:
        """Replace flags and specifications, as a code upgrade does; processes keep running.

        Raises:
            InvalidFlag: the flags are for the other kind of children; nothing has changed then.
            InvalidChild, DuplicateChild, BadCombination: as `check_child_specs`; nothing has changed then.
        """

    # Queries.

    def __iter__(self) -> Iterator[ChildRecord[R]]:
        return iter(self._records.values())

    def __reversed__(self) -> Iterator[ChildRecord[R]]:
        return reversed(self._records.values())

    def infos(self) -> tuple[ChildInfo[R], ...]:
        """All children as they are shown to others, in start order."""
        return tuple(map(self.info, self))

    def counts(self, is_alive: Callable[[R], bool] = lambda ref: True) -> ChildCounts:
        """The numbers of children, by kind. A child may have ended without a word: `is_alive` knows."""
        supervisors = sum(record.spec.type == "supervisor" for record in self)
        return ChildCounts(
            specs=len(self._records),
            active=sum(record.ref is not None and is_alive(record.ref) for record in self),
            supervisors=supervisors,
            workers=len(self._records) - supervisors,
        )

    # What happens to a child.

    def mark_running(self, record: ChildRecord[R], ref: R) -> None:
        """The child runs, as `ref`."""
        record.ref = ref
        record.status = RUNNING
        if record.predecessor is not None:
            record.restarts += 1
            record.predecessor = None
        self._by_ref[ref] = record
        if record.spec.restart == "temporary":
            # Its arguments are never needed again, and there may be very many such children. (Those of a
            # dynamic supervisor's template are shared, and stay.)
            if record.args is record.spec.args and (record.args or record.kwargs):
                record.spec = record.spec.without_arguments()
            record.args, record.kwargs = (), {}

    def mark_restarting(self, record: ChildRecord[R], retry: object) -> None:
        """The child waits for `retry`, the next attempt to restart it."""
        record.status = RESTARTING
        record.retry = retry

    def mark_down(self, record: ChildRecord[R], predecessor: R | None = None) -> None:
        """The child is down, and is forgotten unless it is kept.

        Args:
            predecessor: the incarnation that ended, if the child is to be started again.
        """
        record.status = STOPPED
        record.retry = None
        record.predecessor = predecessor
        if not self.keeps(record) and self._records.pop(record.key, None) is not None:
            self.removed(record)

    def forget_process(self, record: ChildRecord[R]) -> R | None:
        """The child has no process any more; returns the ref of the one that it had."""
        ref, record.ref = record.ref, None
        if ref is not None:
            self._by_ref.pop(ref, None)
        record.status = STOPPED
        record.exit = None
        return ref

    def remove(self, record: ChildRecord[R]) -> None:
        """Remove a child that is down, with its specification."""
        del self._records[record.key]
        self.removed(record)

    def _enter(
        self, key: Hashable, shown: Hashable, spec: Child, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ChildRecord[R]:
        record = self._records[key] = ChildRecord[R](key, shown, spec, args, kwargs)
        return record


class NamedChildren(Children[R]):
    """Children with ids. A specification stays when its child is down, unless it is temporary.

    Args:
        flags: the flags of the supervisor.
        children: its first children, in start order.

    Raises:
        InvalidFlag: the flags are for dynamic children.
        InvalidChild, DuplicateChild, BadCombination: as `check_child_specs`.
    """

    def __init__(self, flags: Flags, children: Iterable[Any] = ()) -> None:
        super().__init__(flags)
        for spec in check_child_specs(children, flags.auto_shutdown):
            self._enter(spec.id, spec.id, spec, spec.args, spec.kwargs)

    def check_flags(self, flags: Flags) -> None:
        if flags.strategy == "simple_one_for_one":
            raise InvalidFlag("strategy", flags.strategy, "for named children; use DynamicSupervisor")

    def keeps(self, record: ChildRecord[R]) -> bool:
        return record.spec.restart != "temporary"

    def add(self, child: Any) -> ChildRecord[R]:
        (spec,) = check_child_specs([child], self.flags.auto_shutdown)
        present = self._records.get(spec.id)
        if present is not None:
            raise AlreadyPresent(spec.id) if present.ref is None else ChildRunning(spec.id, present.ref)
        return self._enter(spec.id, spec.id, spec, spec.args, spec.kwargs)

    def find(self, key: Any) -> ChildRecord[R]:
        return _found(key, self._records)

    def find_stopped(self, key: Any) -> ChildRecord[R]:
        record = self.find(key)
        if record.status is RUNNING:
            raise ChildRunning(key, record.ref)
        if record.status is RESTARTING:
            raise ChildRestarting(key)
        return record

    def delete(self, key: Any) -> None:
        self.remove(self.find_stopped(key))

    def spec(self, key: Any) -> Child:
        return _found(key, self._records, self._by_ref).spec

    def change(self, flags: Flags, children: Any) -> None:
        """Replace flags and specifications, which are matched by id.

        New children are listed but not started; those that are no longer specified stay, at the end.
        """
        self.check_flags(flags)
        specs = check_child_specs(children, flags.auto_shutdown)
        self.flags = flags
        previous, self._records = self._records, {}
        for spec in specs:
            record = previous.pop(spec.id, None)
            if record is None:
                self._enter(spec.id, spec.id, spec, spec.args, spec.kwargs)
            else:
                record.id, record.spec = spec.id, spec
                record.args, record.kwargs = spec.args, spec.kwargs
                self._records[spec.id] = record
        self._records.update(previous)


class DynamicChildren(Children[R]):
    """Children without ids, which are known by their refs. Nothing remains of a child that is down.

    Args:
        flags: the flags of the supervisor.
        template: the specification that `add_from_template` uses, or None.
        max_children: the maximum number of children, those that are restarting included; `math.inf` for no
            limit.
        extra_arguments: go before the arguments of every child.

    Raises:
        InvalidFlag: the flags are for named children; `max_children` is not a number of children; or
            `extra_arguments` is not a series.
        InvalidChild, BadCombination: the template is bad.
    """

    def __init__(
        self,
        flags: Flags,
        template: Any = None,
        *,
        max_children: float = math.inf,
        extra_arguments: Iterable[Any] = (),
    ) -> None:
        super().__init__(flags)
        if max_children != math.inf and not (is_int(max_children) and max_children >= 0):
            raise InvalidFlag("max_children", max_children, "an integer, 0 or more, or math.inf")
        if isinstance(extra_arguments, str) or not isinstance(extra_arguments, Iterable):
            raise InvalidFlag("extra_arguments", extra_arguments, "a series of arguments")
        self._extra_arguments = tuple(extra_arguments)
        self._keys = itertools.count()
        self._max_children = max_children
        self._restarting: dict[R, ChildRecord[R]] = {}
        self._template = None if template is None else self._completed([template], flags)

    def check_flags(self, flags: Flags) -> None:
        if flags.strategy != "simple_one_for_one":
            raise InvalidFlag("strategy", flags.strategy, "the default: dynamic children are on their own")

    def keeps(self, record: ChildRecord[R]) -> bool:
        return False

    def add(self, child: Any) -> ChildRecord[R]:
        spec = self._completed([child], self.flags)
        return self._add(spec, spec.args, spec.kwargs)

    def add_from_template(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ChildRecord[R]:
        """Add one more child of the template, with these arguments after the template's own.

        Raises:
            NoTemplate: there is no template.
            MaxChildren: there are as many as there may be.
        """
        template = self._template
        if template is None:
            raise NoTemplate
        return self._add(
            template, template.args + args, {**template.kwargs, **kwargs} if kwargs else template.kwargs
        )

    def find(self, key: Any) -> ChildRecord[R]:
        return _found(key, self._by_ref, self._restarting)

    def find_stopped(self, key: Any) -> ChildRecord[R]:
        raise NoChildIds("restart_child")

    def delete(self, key: Any) -> None:
        raise NoChildIds("delete_child")

    def spec(self, key: Any) -> Child:
        """The specification of the child with that ref, or the template, by its id."""
        if self._template is not None and key == self._template.id:
            return self._template
        return self.find(key).spec

    def counts(self, is_alive: Callable[[R], bool] = lambda ref: True) -> ChildCounts:
        """The numbers of children; a template counts as the one specification."""
        counts = super().counts(is_alive)
        return counts if self._template is None else attrs.evolve(counts, specs=1)

    def change(self, flags: Flags, children: Any) -> None:
        """Replace flags and template. Children that are there keep the specification that they have."""
        self.check_flags(flags)
        self._template = self._completed(children, flags)
        self.flags = flags

    # Between two attempts to restart it a child is still known by the ref that it had.

    def mark_running(self, record: ChildRecord[R], ref: R) -> None:
        if record.predecessor is not None:
            self._restarting.pop(record.predecessor, None)
        super().mark_running(record, ref)

    def mark_restarting(self, record: ChildRecord[R], retry: object) -> None:
        if record.predecessor is not None:
            self._restarting[record.predecessor] = record
        super().mark_restarting(record, retry)

    def mark_down(self, record: ChildRecord[R], predecessor: R | None = None) -> None:
        if record.predecessor is not None:
            self._restarting.pop(record.predecessor, None)
        super().mark_down(record, predecessor)

    def _add(self, spec: Child, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ChildRecord[R]:
        if len(self._records) >= self._max_children:
            raise MaxChildren(int(self._max_children))
        return self._enter(next(self._keys), None, spec, args, kwargs)

    def _completed(self, children: Any, flags: Flags) -> Child:
        """The one child of that list, with the extra arguments of all."""
        specs: list[Child] = []
        with suppress(DuplicateChild):  # which are several, and ids mean nothing here
            specs = check_child_specs(children, flags.auto_shutdown)
        if len(specs) != 1:
            raise InvalidChild(
                "children", children, "one child, the template: a dynamic supervisor has no more"
            )
        return specs[0].after_arguments(*self._extra_arguments)


def _no_matter(_record: ChildRecord[Any]) -> None:
    """Nobody wants to know that a child was removed."""


def _found(key: Any, *books: Mapping[Any, ChildRecord[R]]) -> ChildRecord[R]:
    """The record with that key in the first of the books that has one."""
    with suppress(Exception):  # it cannot be hashed or compared, and so is nobody's key
        for book in books:
            record = book.get(key)
            if record is not None:
                return record
    raise ChildNotFound(key)


def _shown_ref(record: ChildRecord[Any]) -> Any:
    return "restarting" if record.status is RESTARTING else record.ref
