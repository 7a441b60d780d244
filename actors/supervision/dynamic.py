"""Dynamic supervisors: children that come and go, all alike or each with its own specification.

They differ from supervisors of named children where OTP's `simple_one_for_one` does: children are known by
their refs, nothing remains of a child that is down, and all are stopped at once.

Source: stdlib's `supervisor` (simple_one_for_one); Elixir's DynamicSupervisor for full specifications,
`max_children`, and for dropping a child whose restart declines.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Deferred
from enfilade.actors.processes.links import canonical
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.start import Started
from enfilade.actors.supervision.actions import Action, Answer
from enfilade.actors.supervision.administration import carry_out, strategy_of, supervise
from enfilade.actors.supervision.child_spec import AutoShutdown, Flags
from enfilade.actors.supervision.children import DynamicChildren
from enfilade.actors.supervision.refusals import ChildNotFound, NoChildIds
from enfilade.actors.supervision.supervisor import Supervisor

__all__ = ["DynamicSupervisor"]


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
        supervise(
            self, DynamicChildren(flags, template, max_children=max_children, extra_arguments=extra_arguments)
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
        return carry_out(self, self._supervisor_start_from_template, args, kwargs)

    def _supervisor_start_from_template(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> list[Action[Ref[Any]]]:
        children = cast("DynamicChildren[Ref[Any]]", strategy_of(self).children)
        return strategy_of(self).start_added(children.add_from_template(args, kwargs))

    def terminate_child(self, ref: Any) -> Deferred[None]:
        """Stop a child, by its shutdown rule, and forget it. A process that has ended is gone already.

        Raises:
            ChildNotFound: the process lives and is not a child of this supervisor.
            NoProcess: it is a ref to a name that no process holds.
            NoChildIds: `ref` is not a ref.
        """
        return carry_out(self, self._supervisor_terminate, ref)

    def _supervisor_terminate(self, ref: Any) -> list[Action[Ref[Any]]]:
        if not isinstance(ref, Ref):
            raise NoChildIds("terminate_child")
        ref = canonical(ref)
        try:
            return strategy_of(self).terminate_child(ref)
        except ChildNotFound:
            process = process_of(ref)
            if process is not None and process.ended is not None:
                return [Answer(None)]
            raise
