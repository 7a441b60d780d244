"""A pool of workers: jobs come in, a routing chooses the worker, the pool keeps what waits.

The pool itself holds all jobs that no worker has begun, and gives a worker one job at a time. So a worker
that crashes takes only the job at hand with it, a resized pool loses nothing, and the jobs of one key are
done in the order in which they were submitted, whatever happens to the workers in between.

Workers are linked to the pool, and replaced when they end, even one that has undone the link. More than
`intensity` replacements within `period` seconds end the pool with `SHUTDOWN`, as they would end a supervisor.

A pool may have a rate limit. Then a free worker is not enough for a job to begin: it waits until the rate
admits it, and the oldest job that has a free worker goes first.

Source: ractor's factory.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Hashable
from typing import Any, Final, Literal, get_args

import attrs
import trio

from enfilade.actors.messages.attempt import is_interrupt
from enfilade.actors.messages.errors import NoProcess, ProcessDied, RuntimeFault
from enfilade.actors.messages.hooks import call
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.reasons import KILL, NO_PROCESS, SHUTDOWN, Crashed, Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Deferred, Request
from enfilade.actors.messages.safe_text import safe_repr, shown_name
from enfilade.actors.messages.signals import Call, undroppable
from enfilade.actors.messages.trace_context import TRACE
from enfilade.actors.messages.traced import using
from enfilade.actors.patterns.job import Job
from enfilade.actors.patterns.pool_answers import JobDiscarded, PoolDraining, PoolStatistics, Routing
from enfilade.actors.patterns.rate_limit import LeakyBucket, RateLimit
from enfilade.actors.patterns.routing_key import RoutingKey
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.links import Down, Exited
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.targets import check_target
from enfilade.actors.processes.timers import Timer
from enfilade.actors.supervision.restart_window import RestartWindow
from enfilade.fields import is_int, is_number

__all__ = [
    "Discard",
    "JobDiscarded",
    "Pool",
    "PoolDraining",
    "PoolStatistics",
    "Routing",
    "Worker",
    "waiting_for_workers",
]


Discard = Literal["oldest", "newest"]

LARGEST_SIZE: Final = 100_000
"""A pool is made, and resized, within one step, so a slip of the pen must not hold the loop."""


class Worker(Actor):
    """The base of a pool's workers, sync or async."""

    def work(self, job: Any) -> Any:
        """Do `job`; the result answers `Pool.submit`. May be async. Subclasses must define it.

        Raises:
            TypeError: the class does not define it.
        """
        raise TypeError(f"{shown_name(type(self))} does not define work(self, job)")


class _Assignment(Request[Any]):
    """The call that gives a worker its job. It tells whether the worker had begun when it ended."""

    __slots__ = ()

    def not_begun(self, reason: Reason) -> None:
        self.abandon(NO_PROCESS)


@undroppable
@attrs.frozen
class _Drop:
    """The rate may admit another job: sent by the pool to itself."""


@attrs.define(eq=False)
class _Slot:
    """A place for a worker, which outlives the workers in it; `ref` is None while it waits for the next."""

    ref: Ref[Any] | None = None
    job: Job | None = None
    watchdog: Timer | None = None
    queue: deque[Job] = attrs.Factory(deque)
    retiring: bool = False

    @property
    def free(self) -> bool:
        return self.job is None and self.ref is not None


@undroppable
@attrs.frozen(eq=False)
class _Stuck:
    slot: _Slot
    job: Job


def _is_count(value: Any, least: int) -> bool:
    return is_int(value) and value >= least


def _is_time(value: Any) -> bool:
    return is_number(value) and value > 0


def _check(name: str, value: Any, is_valid: bool, expected: str) -> None:
    if not is_valid:
        raise ValueError(f"{name} must be {expected}, got {safe_repr(value)}")


def _check_size(size: Any) -> None:
    is_size = _is_count(size, 1) and size <= LARGEST_SIZE
    _check("size", size, is_size, f"an int from 1 to {LARGEST_SIZE}")


def _check_choice(name: str, value: Any, choices: Any) -> None:
    names = get_args(choices)
    _check(name, value, isinstance(value, str) and value in names, f"one of {', '.join(names)}")


def _check_worker(worker: Any) -> None:
    check_target(worker)
    is_actor = isinstance(worker, type) and issubclass(worker, Actor)
    if is_actor and getattr(worker, "work", Worker.work) is Worker.work:
        raise TypeError(f"the worker class of a pool must define work(self, job), got {safe_repr(worker)}")


def waiting_for_workers(pool: Pool) -> set[Call]:
    """The calls of `Pool.submit` whose jobs no worker of the pool has begun. Not a checkpoint."""
    queues = (pool._pool_queue, *(slot.queue for slot in pool._pool_slots))
    return {job.deferred.request for queue in queues for job in queue if job.deferred is not None}


class Pool(Actor):
    """A process that has jobs done by workers.

    Its own start does not wait for theirs: a worker that fails to start is replaced, as one that ends is. So
    a pool whose workers cannot start ends soon; the log has the reason of the last one.

    `await pool.call(Pool.submit, job)` waits for the worker's answer; `pool.cast(Pool.submit, job)` does not.

    Args:
        worker: a `Worker` class, or anything that makes processes that answer `Worker.work`.
        args: what every worker is started with.
        size: how many workers, from 1 to 100,000.
        routing: "any": the oldest job goes to a free worker. "round_robin": in turn, each worker with a
            queue of its own. "key": all jobs of a key go to the same worker. "sticky": as "any", but while a
            job of a key is under way, further ones of that key wait for the same worker.
        queue_limit: how many jobs may wait; None for any number.
        discard: which job goes when one too many comes: the "oldest" that waits, or the "newest", which has
            just come.
        stuck_after: seconds after which a worker that has not finished its job is killed and replaced; None
            for never.
        rate_limit: how often a job may begin; None for no limit. Jobs that have to wait for it count as
            waiting, for `queue_limit` too, and keep their order.
        intensity: maximum number of replacements within `period`.
        period: seconds.

    Raises:
        ValueError: an argument is out of range; it names the argument.
        TypeError: `worker` is an actor class that does not define `work`, nothing can be started as it, or it
            is an async function that does not take `args`.
    """

    def __init__(
        self,
        worker: Any,
        *args: Any,
        size: int,
        routing: Routing = "any",
        queue_limit: int | None = None,
        discard: Discard = "newest",
        stuck_after: float | None = None,
        rate_limit: RateLimit | None = None,
        intensity: int = 10,
        period: float = 5.0,
    ) -> None:
        _check_size(size)
        _check_choice("routing", routing, Routing)
        _check_choice("discard", discard, Discard)
        is_limit = queue_limit is None or _is_count(queue_limit, 0)
        _check("queue_limit", queue_limit, is_limit, "None or an int of at least 0")
        is_patience = stuck_after is None or _is_time(stuck_after)
        _check("stuck_after", stuck_after, is_patience, "None or a positive number of seconds")
        is_rate = rate_limit is None or isinstance(rate_limit, RateLimit)
        _check("rate_limit", rate_limit, is_rate, "None or a RateLimit")
        _check("intensity", intensity, _is_count(intensity, 0), "an int of at least 0")
        _check("period", period, _is_time(period), "a positive number of seconds")
        _check_worker(worker)
        self._pool_worker = worker
        self._pool_args = args
        self._pool_size = size
        self._pool_routing: Routing = routing
        self._pool_queue_limit = queue_limit
        self._pool_discard: Discard = discard
        self._pool_stuck_after = stuck_after
        self._pool_bucket = None if rate_limit is None else LeakyBucket(rate_limit)
        self._pool_next_drop: Timer | None = None
        self._pool_window = RestartWindow(intensity, period)
        self._pool_slots: list[_Slot] = []
        self._pool_workers: dict[Ref[Any], _Slot] = {}
        self._pool_queue: deque[Job] = deque()
        self._pool_holders: dict[RoutingKey, tuple[_Slot, int]] = {}
        self._pool_turn = 0
        self._pool_submitted = 0
        self._pool_next_look = 0
        self._pool_queued = 0
        self._pool_completed = 0
        self._pool_discarded = 0
        self._pool_replaced = 0
        self._pool_delayed = 0
        self._pool_drained: list[Deferred[None]] | None = None
        self.process.trap_exits = True
        self.process.unhandled_by(self._pool_unhandled)
        for _ in range(size):
            self._pool_slots.append(self._pool_employ(_Slot()))

    # Requests.

    def submit(self, job: Any, key: Hashable = None) -> Any:
        """Have a worker do `job`. If the caller gives up before a worker has begun it, the job is dropped.

        Args:
            job: what `Worker.work` is given.
            key: what "key" and "sticky" routing go by; hashable.

        Returns:
            The worker's answer.

        Raises (in the caller):
            TypeError: the key is needed, and not hashable.
            JobDiscarded: the queue was full and this job had to go, now or later.
            PoolDraining: the pool takes nothing new.
            ProcessDied: the worker ended during the job, by itself or because it was stuck.
        """
        try:
            known = self._pool_key(key)
        except BaseException as error:
            if is_interrupt(error):
                raise
            refusal = TypeError(f"the key of a job must be hashable, got {safe_repr(key)}")
            refusal.__cause__ = None if type(error) is TypeError else error
            return self.process.refuse(refusal)
        deferred = self.process.defer_if_called()
        self._pool_submitted += 1
        entry = Job(self._pool_submitted, job, known, deferred)
        if self._pool_drained is not None:
            self._pool_fail(entry, PoolDraining())
            return deferred
        if entry.is_given_up:  # while it lay in the mailbox
            self._pool_discard_one(entry)
            return deferred
        slot = self._pool_slot_for(entry)
        if slot is not None and slot.free and not slot.queue and self._pool_admits(entry):
            self._pool_begin(slot, entry)
        elif self._pool_has_room(entry):
            is_bound = slot is not None and (entry.key is not None or self._pool_routing == "round_robin")
            (slot.queue if slot is not None and is_bound else self._pool_queue).append(entry)
            self._pool_queued += 1
        return deferred

    def _pool_key(self, key: Hashable) -> RoutingKey | None:
        """What routing goes by; raises what hashing the key raises."""
        if self._pool_routing == "key" or (self._pool_routing == "sticky" and key is not None):
            return RoutingKey(key)
        return None

    def drain(self) -> Any:
        """Take no new jobs, finish the present ones, and return once all are done."""
        deferred = self.process.defer_if_called()
        if self._pool_drained is None:
            self._pool_drained = []
        if deferred is not None:
            self._pool_drained.append(deferred)
        self._pool_check_drained()
        return deferred

    def resize(self, size: int) -> Any:
        """Change the number of workers; returns nothing.

        Superfluous ones finish what is theirs first, so that keys keep their order.

        Raises (in the caller):
            ValueError: `size` is not an int from 1 to 100,000.
        """
        try:
            _check_size(size)
        except ValueError as error:
            return self.process.refuse(error)
        self._pool_size = size
        for slot in self._pool_slots[size:]:
            slot.retiring = True
        for slot in self._pool_slots[:size]:
            slot.retiring = False
        while len(self._pool_slots) < size:
            self._pool_slots.append(self._pool_employ(_Slot()))
        for slot in list(self._pool_slots):
            self._pool_next(slot)
        return None

    def statistics(self) -> PoolStatistics:
        """Return the present state of the pool."""
        return PoolStatistics(
            size=self._pool_size,
            busy=sum(slot.job is not None for slot in self._pool_slots),
            queued=self._pool_queued,
            completed=self._pool_completed,
            discarded=self._pool_discarded,
            replaced=self._pool_replaced,
            delayed=self._pool_delayed,
            limit=self._pool_queue_limit,
            routing=self._pool_routing,
        )

    # Routing.

    def _pool_slot_for(self, entry: Job) -> _Slot | None:
        """Choose the slot for a job; None for the next one that is free."""
        if entry.key is not None and entry.key in self._pool_holders:
            slot, count = self._pool_holders[entry.key]
            self._pool_holders[entry.key] = (slot, count + 1)
            return slot
        fresh = self._pool_fresh_slot(entry)
        if fresh is not None and entry.key is not None:
            self._pool_holders[entry.key] = (fresh, 1)
        return fresh

    def _pool_fresh_slot(self, entry: Job) -> _Slot | None:
        if self._pool_routing == "key":
            assert entry.key is not None
            return self._pool_slots[entry.key.place % self._pool_size]
        if self._pool_routing == "round_robin":
            self._pool_turn = (self._pool_turn + 1) % self._pool_size
            return self._pool_slots[self._pool_turn]
        return next((slot for slot in self._pool_slots if slot.free and not slot.retiring), None)

    def _pool_release_key(self, entry: Job) -> None:
        holder = None if entry.key is None else self._pool_holders.get(entry.key)
        if holder is not None:
            assert entry.key is not None
            slot, count = holder
            if count > 1:
                self._pool_holders[entry.key] = (slot, count - 1)
            else:
                del self._pool_holders[entry.key]

    def _pool_has_room(self, entry: Job) -> bool:
        """Make room for a job that has to wait, or discard it; true if it can be queued."""
        if self._pool_queue_limit is None or self._pool_queued < self._pool_queue_limit:
            return True
        self._pool_forget_given_up()
        if self._pool_queued < self._pool_queue_limit:
            return True
        victim = self._pool_take_oldest() if self._pool_discard == "oldest" and self._pool_queued else entry
        self._pool_release_key(victim)
        self._pool_discard_one(victim)
        self._pool_fail(victim, JobDiscarded(victim.job, self._pool_queue_limit))
        return victim is not entry

    # The rate.

    def _pool_admits(self, entry: Job) -> bool:
        """Tell whether the rate lets `entry`, which has a free worker, begin now; it is counted then."""
        if self._pool_bucket is None:
            return True
        seconds = 0.0
        if self._pool_next_drop is None:  # otherwise older ones wait
            seconds = self._pool_bucket.pour(trio.current_time())
            if not seconds:
                return True
            self._pool_next_drop = self.process.send_after(seconds, self.process.ref, _Drop())
        if not entry.is_delayed:
            entry.is_delayed = True
            self._pool_delayed += 1
        return False

    def _pool_drop(self) -> None:
        """The rate admits another job: begin those that it does, the oldest first."""
        self._pool_next_drop = None
        while True:
            ready = [
                (queue[0].number, slot)
                for slot in self._pool_slots
                if (queue := self._pool_waiting_for(slot))
            ]
            if not ready:
                return
            _, slot = min(ready, key=lambda found: found[0])
            if not self._pool_begin_next(slot):
                return

    # A worker's life.

    def _pool_employ(self, slot: _Slot) -> _Slot:
        slot.ref = self.process.spawn_soon(self._pool_worker, *self._pool_args, link=True)
        self.process.monitor(slot.ref)  # it may unlink the pool, and is to be replaced nevertheless
        self._pool_workers[slot.ref] = slot
        return slot

    def _pool_begin(self, slot: _Slot, entry: Job) -> None:
        assert slot.ref is not None
        slot.job = entry
        if self._pool_stuck_after is not None:
            slot.watchdog = self.process.send_after(
                self._pool_stuck_after, self.process.ref, _Stuck(slot, entry)
            )
        process = self.process
        request = _Assignment(process.node, slot.ref, "work", (entry.job,), {}, process)
        if entry.trace is TRACE.get():
            slot.ref.deliver(request)
        else:  # it has waited, and another one is done
            with using(entry.trace):
                slot.ref.deliver(request)
        request.then(self._pool_finished, slot, entry)

    def _pool_finished(self, request: Request[Any], slot: _Slot, entry: Job) -> None:
        error = request.error
        if slot.watchdog is not None:
            slot.watchdog.cancel()
            slot.watchdog = None
        slot.job = None
        worker = process_of(slot.ref)
        # The worker may refuse a job with such an error, and live.
        gone = is_a(error, ProcessDied, NoProcess) and (worker is None or worker.ended is not None)
        if gone:
            slot.ref = None  # its exit signal is on the way, and brings the next worker
        if gone and is_a(error, NoProcess):  # the worker had ended before it could begin
            if self._pool_bucket is not None:
                self._pool_bucket.take_back()
            slot.queue.appendleft(entry)
            self._pool_queued += 1
            return
        self._pool_completed += 1
        self._pool_release_key(entry)
        if entry.deferred is not None:
            if error is None:
                entry.deferred.reply(request.value)
            else:
                entry.deferred.fail(error)
        self._pool_next(slot)

    def _pool_next(self, slot: _Slot) -> None:
        """Give the worker of `slot`, if it is free, its next job, or retire it."""
        if slot.free and not self._pool_begin_next(slot) and slot.retiring and not slot.queue:
            self._pool_slots.remove(slot)
            assert slot.ref is not None
            del self._pool_workers[slot.ref]
            self.process.unlink(slot.ref)
            self.process.exit(slot.ref, SHUTDOWN)
        self._pool_check_drained()

    def _pool_begin_next(self, slot: _Slot) -> bool:
        """Give the worker of `slot`, which is free, its next job; false if there is none yet."""
        queue = self._pool_waiting_for(slot)
        if not queue or not self._pool_admits(queue[0]):
            return False
        entry = queue.popleft()
        self._pool_queued -= 1
        if queue is self._pool_queue and entry.key is not None:
            self._pool_hold(entry, slot)
        self._pool_begin(slot, entry)
        return True

    def _pool_waiting_for(self, slot: _Slot) -> deque[Job]:
        """The queue whose oldest job is the next one for the worker of `slot`; empty if there is none."""
        if not slot.free:
            return deque()
        self._pool_prune(slot.queue)
        if slot.queue or slot.retiring:
            return slot.queue
        self._pool_prune(self._pool_queue)
        return self._pool_queue

    def _pool_prune(self, queue: deque[Job]) -> None:
        """Drop the oldest jobs whose submitters no longer wait for them."""
        while queue and queue[0].is_given_up:
            self._pool_drop_given_up(queue.popleft())

    def _pool_forget_given_up(self) -> None:
        """Drop all jobs whose submitters no longer wait for them.

        Many jobs are looked at once in a while: when one more has come for each 64 of them.
        """
        if self._pool_submitted < self._pool_next_look:
            return
        self._pool_next_look = self._pool_submitted + self._pool_queued // 64
        for queue in (self._pool_queue, *(slot.queue for slot in self._pool_slots)):
            given_up = [entry for entry in queue if entry.is_given_up]
            if given_up:
                wanted = [entry for entry in queue if not entry.is_given_up]
                queue.clear()
                queue.extend(wanted)
            for entry in given_up:
                self._pool_drop_given_up(entry)

    def _pool_drop_given_up(self, entry: Job) -> None:
        self._pool_queued -= 1
        self._pool_release_key(entry)
        self._pool_discard_one(entry)

    def _pool_discard_one(self, entry: Job) -> None:
        """Count a job that is not done, and tell of it."""
        self._pool_discarded += 1
        hooks = self.process.node.hooks
        if hooks.pool_discarded:
            call(hooks.pool_discarded, self.process, entry.job)

    def _pool_hold(self, entry: Job, slot: _Slot) -> None:
        """A job of the common queue found its worker: later ones of its key, queued before, follow it."""
        assert entry.key is not None
        followers = [other for other in self._pool_queue if other.key == entry.key]
        if followers:
            self._pool_queue = deque(other for other in self._pool_queue if other.key != entry.key)
            slot.queue.extend(followers)
        self._pool_holders[entry.key] = (slot, 1 + len(followers))

    def on_exit(self, exited: Exited) -> None:
        self._pool_replace(exited.ref, exited.reason)

    def on_down(self, down: Down) -> None:
        self._pool_replace(down.ref, down.reason)

    def _pool_replace(self, ref: Ref[Any], reason: Reason) -> None:
        """Employ another worker for the one that has ended, if that is not done yet."""
        slot = self._pool_workers.pop(ref, None)
        if slot is None:
            return
        self._pool_replaced += 1
        window = self._pool_window
        if not window.admit(trio.current_time()):
            process = self.process
            text = "%s gave up: more than %d workers ended within %g s; the last one: %s"
            values = (window.intensity, window.period, reason)
            process.node.reports.note("pools that gave up", logging.ERROR, text, *values, about=process.ref)
            process.stop(SHUTDOWN)
            return
        self._pool_next(self._pool_employ(slot))

    def on_message(self, message: Any) -> None:
        if type(message) is _Drop:
            self._pool_drop()
            self._pool_check_drained()
        elif type(message) is _Stuck:
            if message.slot.job is message.job and message.slot.ref is not None:
                self.process.exit(message.slot.ref, KILL)
        else:
            super().on_message(message)

    def on_stop(self, reason: Reason) -> None:
        for ref in self._pool_workers:
            self.process.exit(ref, SHUTDOWN)

    # Replies.

    def _pool_fail(self, entry: Job, error: RuntimeFault) -> None:
        """The pool does not do the job: tell its submitter; one that nobody waits for is a dead letter."""
        if entry.deferred is not None:
            entry.deferred.fail(error)
        else:
            process = self.process
            process.node.dead_letters.publish(entry.as_submitted(), process.ref, Crashed(error))

    def _pool_unhandled(self) -> list[Any]:
        """The jobs that no worker has begun and nobody waits for, as they came."""
        queues = (self._pool_queue, *(slot.queue for slot in self._pool_slots))
        jobs = sorted((entry for queue in queues for entry in queue), key=lambda entry: entry.number)
        return [entry.as_submitted() for entry in jobs if entry.deferred is None]

    def _pool_take_oldest(self) -> Job:
        queues = [queue for queue in (self._pool_queue, *(slot.queue for slot in self._pool_slots)) if queue]
        self._pool_queued -= 1
        return min(queues, key=lambda queue: queue[0].number).popleft()

    def _pool_check_drained(self) -> None:
        if (
            self._pool_drained
            and not self._pool_queued
            and all(slot.job is None for slot in self._pool_slots)
        ):
            waiting, self._pool_drained = self._pool_drained, []
            for deferred in waiting:
                deferred.reply(None)
