"""The decisions of a supervisor, without a scheduler, a clock or a process.

A `Strategy` is a deterministic state machine: each public method is an event, takes the state on, and returns
the actions that the outside has to perform. Actions that take time (`Start`, `Stop`) are handed out one at a
time, in the order that OTP's rules demand, and the next one follows when the outside reports how the last one
ended. So every rule is tested by feeding events, and the actor around it decides nothing.

The state is changed in place rather than copied: a supervisor of a hundred thousand children must not pay for
all of them when one restarts. Nothing in here is shared, and the time is a function that the caller supplies.

While a plan is being carried out the machine is `busy`. Exits and retries may come at any time: those of
children that the plan is about to stop are taken as the answer to the stop, the others wait until the plan is
done. Requests are only made while it is not busy; whoever drives the machine keeps them in order.

Source: stdlib's `supervisor` module and its test suite; the deviations are in docs/semantics-supervision.md.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from enfilade.actors.messages.global_name import Global
from enfilade.actors.messages.reasons import KILLED, NO_CONNECTION, SHUTDOWN, Reason
from enfilade.actors.messages.reasons import Shutdown as ShutdownReason
from enfilade.actors.node.runtime import REAL
from enfilade.actors.processes.start import Started
from enfilade.actors.supervision.actions import (
    Action,
    Answer,
    Exit,
    Ready,
    Refuse,
    Report,
    ReportKind,
    Retry,
    Start,
    Step,
    Stop,
)
from enfilade.actors.supervision.child_spec import Child, Flags
from enfilade.actors.supervision.children import RESTARTING, RUNNING, STARTING, STOPPED, ChildRecord, Children
from enfilade.actors.supervision.refusals import FailedToStart, StartFailed
from enfilade.actors.supervision.restart_window import RestartWindow

__all__ = ["Strategy"]

R = TypeVar("R", bound=Hashable)


ALONE = ("one_for_one", "simple_one_for_one")


class Job(enum.Enum):
    """The purpose of the plan in progress, which decides what follows from its end or from a failed start."""

    BOOT = enum.auto()
    RESTART = enum.auto()
    START_CHILD = enum.auto()
    RESTART_CHILD = enum.auto()
    TERMINATE_CHILD = enum.auto()
    SHUT_DOWN = enum.auto()


# Looked up once, as the members of `Status` are.
BOOT, RESTART, START_CHILD, RESTART_CHILD, TERMINATE_CHILD, SHUT_DOWN = Job
WAITING = (BOOT, RESTART)  # where nobody asked for the child, so that it may wait for its node


class Strategy(Generic[R]):
    """The state of one supervisor, and its decisions.

    Args:
        children: its children and its flags; changed by nobody else.
        clock: the present time in seconds; need not be the time of day, must not go back.
        draw: draws a float from 0 to 1: the jitter of back-offs.
        present: tells if there is a node to start that child on. One that is to wait for its node
            (`RemoteEntry`) is restarting until there is; the others are started, and may fail.

    Attributes:
        children: its children.
    """

    def __init__(
        self,
        children: Children[R],
        *,
        clock: Callable[[], float],
        draw: Callable[[], float] = REAL.random,
        present: Callable[[Child], bool] = lambda _: True,
    ) -> None:
        self.children = children
        self._clock = clock
        self._draw = draw
        self._present = present
        self._window = RestartWindow(children.flags.intensity, children.flags.period)
        self._plan: deque[Step[R]] = deque()
        self._starting: ChildRecord[R] | None = None
        self._stopping: set[ChildRecord[R]] = set()
        self._job: Job | None = None
        self._answer: R | Started[R] | StartFailed | None = None
        self._exit_reason: Reason = SHUTDOWN
        self._waiting: deque[ChildRecord[R] | Retry[R]] = deque()
        self._actions: list[Action[R]] = []
        self._ended = False

    # What the outside may look at.

    @property
    def busy(self) -> bool:
        """True while a plan is being carried out, so that requests have to wait."""
        return self._job is not None

    @property
    def stopping(self) -> bool:
        """True once the supervisor is on its way out, or gone."""
        return self._job is SHUT_DOWN or self._ended

    @property
    def restarts_in_period(self) -> int:
        """The number of restarts within the period that ended with the last one, itself included."""
        return len(self._window.instants)

    @property
    def recent_restarts(self) -> int:
        """The number of restarts within the period that ends now."""
        return self._window.within(self._clock())

    def restarts(self, child: ChildRecord[R]) -> bool:
        """Tell whether that child, whose process has ended, is to be started again: by the plan in progress,
        or by the next attempt to restart its group.
        """
        if child.predecessor is None or not self.children.keeps(child):
            return False
        return self._job is RESTART or any(record.status is RESTARTING for record in self._siblings())

    def will_restart(self, child: ChildRecord[R], reason: Reason) -> bool:
        """Tell whether that child, whose process has just ended with `reason`, is to be started again, as far
        as can be known before the strategy is told of the end.
        """
        restart, job = child.spec.restart, self._job
        if job is SHUT_DOWN or self._ended:  # `stopping`, as every restart passes here
            return False
        if child in self._stopping:
            return job is RESTART and restart != "temporary"
        return restart == "permanent" or (restart == "transient" and not reason.is_normal)

    # Events: the life of the supervisor.

    def boot(self) -> list[Action[R]]:
        """Start the first children, left to right; `Ready` follows, or `Exit` once all is rolled back."""
        return self._begin(BOOT, [Start(record) for record in self.children])

    def shut_down(self, reason: Reason) -> list[Action[R]]:
        """Stop all children, then exit with `reason`.

        A plan in progress is given up, also in the middle of a start: the half-started child is stopped like
        the rest.
        """
        if not self.stopping:
            self._shut_down(reason)
        return self._take()

    def change(self, flags: Flags, children: Any) -> None:
        """Replace flags and specifications, as a code upgrade does. Only while not `busy`.

        Raises:
            InvalidFlag, InvalidChild, DuplicateChild, BadCombination: as `Children.change`; nothing has
                changed then.
        """
        self.children.change(flags, children)
        self._window.intensity, self._window.period = flags.intensity, flags.period

    # Events: how a Start or Stop ended, and exits.

    def started(self, child: ChildRecord[R], ref: R, info: Any = None) -> list[Action[R]]:
        """The child is up, as `ref`; `info` is what its start has to tell whoever asked for it."""
        self.children.mark_running(child, ref)
        if child.spec.backoff is not None:
            child.since = self._clock()
        if self._starting is child:
            self._answer = ref if info is None else Started(ref, info)
            if self._plan:
                self._advance()
            elif self._job is RESTART and not self._waiting:
                self._starting = self._job = None  # nothing follows
            else:
                self._starting = None
                self._conclude()
        actions, self._actions = self._actions, []  # `_take`, as every restart passes here
        return actions

    def ignored(self, child: ChildRecord[R]) -> list[Action[R]]:
        """The child declined to start, which is no failure."""
        self._down(child)
        if self._starting is child:
            self._answer = None
            self._advance()
        else:
            self._stop_done(child)
        return self._take()

    def start_failed(self, child: ChildRecord[R], reason: Reason) -> list[Action[R]]:
        """The child did not come up: its process ended, with `reason`, before it was ready."""
        child.status = STOPPED
        if self._starting is child:
            self._start_failed(child, reason)
        elif child in self._stopping:
            self._stopped(child, reason)
            self._stop_done(child)
        return self._take()

    def exited(self, child: ChildRecord[R], reason: Reason) -> list[Action[R]]:
        """The child's process has ended. Told twice, the first reason counts."""
        if self._job is None:
            self._exited(child, reason)
        elif child in self._stopping:
            self._stopped(child, reason)
            self._stop_done(child)
        elif child.exit is None:
            child.exit = reason
            self._waiting.append(child)
        actions, self._actions = self._actions, []  # as above
        return actions

    def restarts_alone(self, child: ChildRecord[R], reason: Reason) -> bool:
        """As `exited`, for what nearly every restart is: nothing but the start of the child follows.

        True: the child is starting, and the outside starts it now. False: another case; nothing has changed.
        """
        spec = child.spec
        if (
            self._job is not None
            or spec.restart == "temporary"
            or reason.is_normal
            or spec.backoff is not None
            or spec.is_awaited
            or self.children.flags.strategy not in ALONE
        ):
            return False
        if not self._window.admit(self._clock()):
            self._window.take_back()
            return False
        child.predecessor = self.children.forget_process(child)
        child.status = STARTING
        child.retry = None
        self._starting = child
        self._job = RESTART
        return True

    def unkillable(self, child: ChildRecord[R]) -> list[Action[R]]:
        """The child could not be stopped; it is left behind, so that the others get their turn."""
        self._report("unkillable", child, KILLED)
        self.children.forget_process(child)
        self._down(child)
        self._stop_done(child)
        return self._take()

    def retry(self, retry: Retry[R]) -> list[Action[R]]:
        """A `Retry` comes back. It counts as a restart; it is void if the child was terminated meanwhile."""
        child = retry.child
        if child.retry is retry:
            if self._job is None:
                self._restart(child)
            else:
                self._waiting.append(retry)
        return self._take()

    # Events: requests; only while not busy.

    def start_child(self, child: Any) -> list[Action[R]]:
        """Add a child and start it; the answer is its ref, with what its start had to tell if anything, or
        None when it declined to start.

        A failed start discards the specification. So does a temporary child that declines.

        Raises:
            ChildRunning, AlreadyPresent, MaxChildren, InvalidChild, BadCombination: as `Children.add`.
        """
        return self.start_added(self.children.add(child))

    def start_added(self, child: ChildRecord[R]) -> list[Action[R]]:
        """Start a child that was just added to the book; otherwise as `start_child`."""
        return self._begin(START_CHILD, [Start(child)])

    def restart_child(self, key: Hashable) -> list[Action[R]]:
        """Start a stopped child; the answer is as that of `start_child`.

        A failed start keeps the specification.

        Raises:
            ChildNotFound, ChildRunning, ChildRestarting, NoChildIds: as `Children.find_stopped`.
        """
        child = self.children.find_stopped(key)
        child.predecessor = None  # it follows nobody, though its group may have waited for an attempt
        return self._begin(RESTART_CHILD, [Start(child)])

    def terminate_child(self, key: Hashable) -> list[Action[R]]:
        """Stop a child, if it runs, and do not restart it.

        The specification stays if the book keeps it.

        Raises:
            ChildNotFound: there is no such child.
        """
        return self._begin(TERMINATE_CHILD, [Stop((self.children.find(key),))])

    # Decisions.

    def _exited(self, child: ChildRecord[R], reason: Reason) -> None:
        """A child ended by itself: the decision table of restart types."""
        ref = self.children.forget_process(child)
        restart = child.spec.restart
        if restart == "permanent" or (restart == "transient" and not reason.is_normal):
            if reason.is_normal:
                self._report("child_terminated", child, reason, ref)
            child.predecessor = ref
            backoff = child.spec.backoff
            if backoff is None:
                self._restart(child)
                return
            if self._clock() - child.since >= backoff.reset:
                child.failures = 0
            self._retry_later(child, math.inf if self._must_wait(child) else self._delay(child))
        else:
            self._down(child)
            if child.spec.significant and self._is_last_significant():
                self._shut_down(SHUTDOWN)

    def _restart(self, child: ChildRecord[R]) -> None:
        """An attempt to restart: counted, then planned by strategy; one too many ends the supervisor."""
        child.retry = None
        spec = child.spec
        has_global_name = isinstance(spec.name, Global)
        if spec.is_awaited and not has_global_name and self._must_wait(child):
            self._retry_later(child, math.inf)
        elif (has_global_name and child.predecessor is None) or self._window.admit(self._clock()):
            # One that has waited for its global name, and has never run, is not restarted.
            self._job = RESTART
            if self.children.flags.strategy in ALONE:
                self._start(Start(child))
            else:
                self._plan.extend(self._restart_plan(child))
                self._advance()
        else:
            self._report("reached_max_restart_intensity", child, SHUTDOWN)
            self._down(child)
            self._shut_down(SHUTDOWN)

    def _restart_plan(self, child: ChildRecord[R]) -> Iterator[Step[R]]:
        group = self._group(child)
        for record in reversed(group):  # the child itself is down, and needs no stopping
            yield Stop((record,))
        for record in group:
            # Temporary siblings are gone by then.
            if record.spec.restart != "temporary":
                yield Start(record)

    def _group(self, child: ChildRecord[R]) -> list[ChildRecord[R]]:
        """The children that are restarted together with `child`, in start order, itself included."""
        group = list(self._siblings())
        return group if self.children.flags.strategy == "one_for_all" else group[group.index(child) :]

    def _siblings(self) -> Iterable[ChildRecord[R]]:
        """The children whose restart may take others along."""
        return () if self.children.flags.strategy in ALONE else self.children

    def _delay(self, child: ChildRecord[R]) -> float:
        backoff = child.spec.backoff
        if backoff is None:
            return 0.0
        delay = backoff.delay(child.failures, self._draw())
        child.failures += 1
        return delay

    def _retry_later(self, child: ChildRecord[R], delay: float) -> None:
        retry = Retry(child, delay)
        self.children.mark_restarting(child, retry)
        self._actions.append(retry)

    def _is_last_significant(self) -> bool:
        """Tell whether the end of a significant child, which is down by now, ends the supervisor."""
        if self.children.flags.auto_shutdown == "any_significant":
            return True
        return not any(
            record.spec.significant and (record.ref is not None or record.status is RESTARTING)
            for record in self.children
        )

    def _shut_down(self, reason: Reason) -> None:
        self._job = SHUT_DOWN
        self._exit_reason = reason
        self._plan = deque(self._shutdown_plan())
        if not self._stopping:
            self._advance()

    def _shutdown_plan(self) -> Iterator[Step[R]]:
        if self.children.flags.strategy == "simple_one_for_one":
            yield Stop(tuple(self.children))
        else:
            for record in reversed(self.children):
                yield Stop((record,))

    def _start_failed(self, child: ChildRecord[R], reason: Reason) -> None:
        """The start in progress failed: what follows depends on what it was for."""
        job = self._job
        if job is BOOT and reason == NO_CONNECTION and self._must_wait(child):
            self._retry_later(child, math.inf)  # its node went in the middle of it: the others do without
            self._advance()
            return
        self._plan.clear()
        if job is BOOT:
            self._report("start_error", child, reason)
            self._shut_down(ShutdownReason(FailedToStart(child.spec.id, reason)))
        elif job is RESTART:
            if self._must_wait(child):
                self._window.take_back()  # nobody was there to start it: that was no attempt
                self._retry_later(child, math.inf)
            else:
                self._report("start_error", child, reason)
                self._retry_later(child, self._delay(child))
            self._advance()
        else:
            if job is START_CHILD:
                self.children.remove(child)
            self._answer = StartFailed(child.spec.id, reason)
            self._advance()

    # The plan.

    def _begin(self, job: Job, steps: Iterable[Step[R]]) -> list[Action[R]]:
        self._job = job
        self._answer = None
        self._plan.extend(steps)
        self._advance()
        return self._take()

    def _advance(self) -> None:
        """Hand out the next step that needs the outside; when there is none, conclude."""
        self._starting = None
        plan = self._plan
        while plan:
            step = plan.popleft()
            if isinstance(step, Start):
                if self._job in WAITING and self._must_wait(step.child):
                    self._retry_later(step.child, math.inf)
                    continue
                self._start(step)
                return
            running = tuple(child for child in step.children if not self._is_down(child))
            if running:
                self._stopping.update(running)
                self._actions.append(Stop(running))
                return
        self._conclude()

    def _must_wait(self, child: ChildRecord[R]) -> bool:
        """Tell whether the child is to wait for its node, which is away, or for its name, not held yet."""
        spec = child.spec
        if not spec.is_awaited:
            return False
        name = spec.name
        may_wait = name.taken == "wait" if isinstance(name, Global) else spec.target.absent == "wait"
        return may_wait and not self._present(spec)

    def _start(self, step: Start[R]) -> None:
        child = self._starting = step.child
        child.status = STARTING
        child.retry = None
        self._actions.append(step)

    def _stop_done(self, child: ChildRecord[R]) -> None:
        """A child is down; go on if it was the last one that the step in progress waits for."""
        if child in self._stopping:
            self._stopping.remove(child)
            if not self._stopping:
                self._advance()

    def _conclude(self) -> None:
        """The plan is carried out."""
        job, self._job = self._job, None
        if job is RESTART:
            pass  # nobody has asked for it
        elif job is BOOT:
            self._actions.append(Ready())
        elif job is SHUT_DOWN:
            self._ended = True
            self._actions.append(Exit(self._exit_reason))
        else:
            answer, self._answer = self._answer, None
            self._actions.append(Refuse(answer) if isinstance(answer, StartFailed) else Answer(answer))
        if self._waiting:
            self._catch_up()

    def _is_down(self, child: ChildRecord[R]) -> bool:
        """Tell whether a child that is to be stopped is down already; settle it if so."""
        if child.exit is not None:
            self._stopped(child, child.exit)
            return True
        if child.status is RUNNING or child.status is STARTING:
            return False
        self._down(child, child.predecessor)
        return True

    def _catch_up(self) -> None:
        """Deal with what arrived during the plan, until that makes the supervisor busy again."""
        while self._waiting and self._job is None and not self._ended:
            event = self._waiting.popleft()
            if isinstance(event, Retry):
                if event.child.retry is event:
                    self._restart(event.child)
            elif event.exit is not None:
                self._exited(event, event.exit)

    def _stopped(self, child: ChildRecord[R], reason: Reason) -> None:
        """A child that was asked to stop has ended; say so if it was not in the way that was asked for."""
        ref = self.children.forget_process(child)
        expected = KILLED if child.spec.shutdown == "brutal_kill" else SHUTDOWN
        if reason != expected and not (reason.is_normal and child.spec.restart != "permanent"):
            self._report("shutdown_error", child, reason, ref)
        self._down(child, ref)

    def _down(self, child: ChildRecord[R], predecessor: R | None = None) -> None:
        """The child is down; only a restart in progress has something follow `predecessor`."""
        self.children.mark_down(child, predecessor if self._job is RESTART else None)

    def _report(self, kind: ReportKind, child: ChildRecord[R], reason: Reason, ref: R | None = None) -> None:
        self._actions.append(Report(kind, child, child.ref if ref is None else ref, reason))

    def _take(self) -> list[Action[R]]:
        actions, self._actions = self._actions, []
        return actions
