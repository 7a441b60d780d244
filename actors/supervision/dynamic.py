"""Dynamic supervisors: children that come and go, all alike or each with its own specification.

`DynamicStrategy` is the decision core, `DynamicSupervisor` the actor around it. It differs from the one for
named children where OTP's `simple_one_for_one` does: children are known by their refs, nothing remains of a
child that is down, and all are stopped at once.

Source: stdlib's `supervisor` (simple_one_for_one); Elixir's DynamicSupervisor for full specifications,
`max_children`, and for dropping a child whose restart declines.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar, cast

from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Deferred
from enfilade.actors.processes.links import canonical
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.start import Started
from enfilade.actors.supervision.actions import Action, Answer, Step, Stop
from enfilade.actors.supervision.child_spec import AutoShutdown, Child, Flags, InvalidFlag, check_child_specs
from enfilade.actors.supervision.children import (
    ChildCounts,
    ChildInfo,
    ChildNotFound,
    MaxChildren,
    NoChildIds,
    NoTemplate,
    Record,
)
from enfilade.actors.supervision.strategy import Strategy
from enfilade.actors.supervision.supervisor import Supervisor

__all__ = ["DynamicStrategy", "DynamicSupervisor"]

R = TypeVar("R", bound=Hashable)


class DynamicStrategy(Strategy[R]):
    """The state of one dynamic supervisor, and its decisions.

    Args:
        flags: how it behaves.
        template: what `start_from_template` starts, or None.
        max_children: how many children there may be, those that are restarting included; `math.inf` for no
            limit.
        extra_arguments: go before the arguments of every child.
        clock, present: as for `Strategy`.

    Raises:
        InvalidFlag: `max_children` is not a number of children, or `extra_arguments` no series.
        InvalidChild, BadCombination: the template is bad.
    """

    def __init__(
        self,
        flags: Flags,
        template: Any = None,
        *,
        max_children: float = math.inf,
        extra_arguments: Iterable[Any] = (),
        clock: Callable[[], float],
        present: Callable[[Child], bool] = lambda _: True,
    ) -> None:
        super().__init__(flags, clock=clock, present=present)
        if isinstance(max_children, bool) or not (
            max_children == math.inf or (isinstance(max_children, int) and max_children >= 0)
        ):
            raise InvalidFlag("max_children", max_children, "an integer, 0 or more, or math.inf")
        if isinstance(extra_arguments, str) or not isinstance(extra_arguments, Iterable):
            raise InvalidFlag("extra_arguments", extra_arguments, "a series of arguments")
        self.extra_arguments = tuple(extra_arguments)
        self.template: Child | None = None
        if template is not None:
            self.template = self._check([template])[0].after_arguments(*self.extra_arguments)
        self.max_children = max_children
        self._keys = itertools.count()
        self._restarting: dict[R, Record[R]] = {}

    def count_children(self) -> ChildCounts:
        """How many children there are; with a template that is the one specification."""
        counts = super().count_children()
        if self.template is None:
            return counts
        return ChildCounts(1, counts.active, counts.supervisors, counts.workers)

    def get_childspec(self, key: Hashable) -> Child:
        """The specification of the child with that ref, or the template, by its id.

        Raises:
            ChildNotFound: there is none.
        """
        if self.template is not None and key == self.template.id:
            return self.template
        return self._find(key).spec

    def start_child(self, child: Any) -> list[Action[R]]:
        """Start one more child; the answer is its ref, or None when it declined. Its id means nothing here.

        Nothing remains of a child that fails to start or declines.

        Raises:
            MaxChildren: there are as many as there may be.
            InvalidChild, BadCombination: the specification is bad.
        """
        spec = self._check([child])[0].after_arguments(*self.extra_arguments)
        return self._add(spec, spec.args, spec.kwargs)

    def start_from_template(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Action[R]]:
        """Start one more child of the template, with these arguments after the template's own.

        Raises:
            NoTemplate: there is no template.
            MaxChildren: there are as many as there may be.
        """
        template = self.template
        if template is None:
            raise NoTemplate
        return self._add(
            template, template.args + args, {**template.kwargs, **kwargs} if kwargs else template.kwargs
        )

    def restart_child(self, id: Hashable) -> list[Action[R]]:  # noqa: A002 (the field's name)
        """Refuse: dynamic children have no ids.

        Raises:
            NoChildIds: always.
        """
        raise NoChildIds("restart_child")

    def delete_child(self, id: Hashable) -> None:  # noqa: A002 (the field's name)
        """Refuse: dynamic children have no ids.

        Raises:
            NoChildIds: always.
        """
        raise NoChildIds("delete_child")

    def change(self, flags: Flags, children: Any) -> list[Action[R]]:
        """Replace flags and template. Children that are there keep the specification that they were started
        with.

        Raises:
            InvalidChild, BadCombination: the template is bad; nothing has changed then.
        """
        specs = check_child_specs(children, flags.auto_shutdown)
        super().change(flags, ())
        self.template = specs[0].after_arguments(*self.extra_arguments) if specs else None
        return self._take()

    def _check_flags(self, flags: Flags) -> None:
        if flags.strategy != "simple_one_for_one":
            raise InvalidFlag("strategy", flags.strategy, "the default: dynamic children are on their own")

    def _add(self, spec: Child, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Action[R]]:
        if len(self._children) >= self.max_children:
            raise MaxChildren(int(self.max_children))
        return self._start_child(Record(next(self._keys), spec, args, kwargs))

    def _find(self, key: Hashable, *, by_ref: bool = True) -> Record[R]:
        ref = cast("R", key)
        try:
            record = self._by_ref.get(ref) or self._restarting.get(ref)
        except TypeError:  # it is not hashable, and so no ref
            record = None
        if record is None:
            raise ChildNotFound(key)
        return record

    def _retry_later(self, child: Record[R], delay: float) -> None:
        # Between attempts a child is still known by the ref that it had.
        if child.predecessor is not None:
            self._restarting[child.predecessor] = child
        super()._retry_later(child, delay)

    def started(self, child: Record[R], ref: R, info: Any = None) -> list[Action[R]]:
        """The child is up, as `ref`."""
        self._no_longer_restarting(child)
        return super().started(child, ref, info)

    def _down(self, child: Record[R], predecessor: R | None = None) -> None:
        self._no_longer_restarting(child)
        super()._down(child, predecessor)

    def _no_longer_restarting(self, child: Record[R]) -> None:
        if child.predecessor is not None:
            self._restarting.pop(child.predecessor, None)

    def _keeps(self, child: Record[R]) -> bool:
        return False

    def _significant_end(self, child: Record[R]) -> bool:
        if self.flags.auto_shutdown == "any_significant":
            return True
        return not any(record.spec.significant for record in self._children.values())

    def _shutdown_plan(self) -> deque[Step[R]]:
        return deque([Stop(tuple(self._children.values()))])

    def _shown(self, record: Record[R]) -> ChildInfo[R]:
        shown = super()._shown(record)
        return ChildInfo(None, shown.ref, shown.type, shown.restart)


class DynamicSupervisor(Supervisor):
    """A supervisor whose children are started on request and known by their refs.

    With a template, `start_from_template(*args)` starts one more child of it, with further arguments: OTP's
    `simple_one_for_one`. `start_child(Child(...))` starts a child of any specification: Elixir's
    DynamicSupervisor. A child that ends for good leaves nothing behind. When the supervisor stops, all its
    children are told at once, and the longest of their shutdown times is the time for all of them.

    Args:
        template: what `start_from_template` starts, or None.
        max_children: how many children there may be, those that are restarting included; `math.inf` for no
            limit.
        extra_arguments: go before the arguments of every child: what all of them are to know.
        intensity, period, auto_shutdown: as for `Supervisor`.

    Raises:
        InvalidChild, BadCombination, InvalidFlag: what is wrong; as the cause of the spawn's `StartError`.
    """

    __slots__ = ()

    def __init__(
        self,
        template: Any = None,
        *,
        max_children: float = math.inf,
        extra_arguments: Iterable[Any] = (),
        intensity: int = 1,
        period: float = 5.0,
        auto_shutdown: AutoShutdown = "never",
    ) -> None:
        flags = Flags(
            strategy="simple_one_for_one", intensity=intensity, period=period, auto_shutdown=auto_shutdown
        )
        self._supervise(
            DynamicStrategy(
                flags,
                template,
                max_children=max_children,
                extra_arguments=extra_arguments,
                clock=self.process.node.timers.now,
                present=self._body.present,
            )
        )

    def start_child(self, child: Any) -> Deferred[Ref[Any] | Started[Ref[Any]] | None]:
        """Start one more child.

        Args:
            child: its specification; the id means nothing here.

        Returns:
            As of `Supervisor.start_child`; nothing is kept of a child that declines.

        Raises:
            MaxChildren: there are as many as there may be.
            StartFailed: it did not start, and nothing is kept.
            InvalidChild, BadCombination: the specification is bad.
        """
        return super().start_child(child)

    def start_from_template(self, *args: Any, **kwargs: Any) -> Deferred[Ref[Any] | Started[Ref[Any]] | None]:
        """Start one more child of the template.

        Args:
            args: follow the template's own arguments.
            kwargs: are added to the template's own, and replace those of the same name.

        Returns:
            As of `start_child`.

        Raises:
            NoTemplate: the supervisor was made without one.
            MaxChildren, StartFailed: as for `start_child`.
        """
        strategy = cast("DynamicStrategy[Ref[Any]]", self._strategy)
        return self._request(strategy.start_from_template, args, kwargs)

    def terminate_child(self, ref: Any) -> Deferred[None]:
        """Stop a child, by its shutdown rule, and forget it. A process that has ended is gone already.

        Raises:
            ChildNotFound: the process lives and is no child of this supervisor.
            NoProcess: it is a ref to a name that nobody holds.
            NoChildIds: `ref` is no ref.
        """
        return self._request(self._terminate, ref)

    def _terminate(self, ref: Any) -> list[Action[Ref[Any]]]:
        if not isinstance(ref, Ref):
            raise NoChildIds("terminate_child")
        ref = canonical(ref)
        try:
            return self._strategy.terminate_child(ref)
        except ChildNotFound:
            process = process_of(ref)
            if process is not None and process.ended is not None:
                return [Answer(None)]
            raise
