"""`Machine`: an actor whose reaction to an event depends on its state.

The public methods of a machine are its events, called and cast like any other actor's. A method's own body
is what happens in a state that says nothing else; a *clause*, marked with `@when(state, method)`, takes its
place in that state. So the protocol stays where callers look for it, typed, and the state table is read off
the class. Clauses are collected when the class is made: every public method is replaced by one that looks up
the clause of the present state.

Source: `gen_statem`. Event types are the kinds of message that an actor has anyhow; state enter calls are
`@enter`, state time-outs `@after`; generic time-outs are `self.process.timers`, the event time-out is
`self.process.timeout_after`; postponing is `postpone`; an inserted event is a plain method call.
"""

from __future__ import annotations

import enum
import functools
import inspect
from collections.abc import Callable, Container, Hashable, Iterable, Mapping
from itertools import islice
from typing import Any, ClassVar, Concatenate, Never, NoReturn, ParamSpec, TypeVar, cast

import attrs

from enfilade.actors.messages.errors import RuntimeFault
from enfilade.actors.messages.methods import HOOKS
from enfilade.actors.messages.nearest import did_you_mean
from enfilade.actors.messages.request import Deferred
from enfilade.actors.messages.safe_text import safe_repr, shown_name
from enfilade.actors.messages.signals import Cast, undroppable
from enfilade.actors.messages.travelling import travels
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.handlers import run_sync

__all__ = ["Machine", "UnknownState", "after", "enter", "leave", "when"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


_MARK = "_machine_marks"
_SHOWN = 20  # states in an error's text, at most
_NOT_EVENTS = frozenset({"on_start", "on_stop"})


@attrs.frozen
class _Clause:
    """A function takes the place of a method in one state."""

    state: Hashable
    method: str


@attrs.frozen
class _Transition:
    """A function runs when a state is entered or left."""

    state: Hashable
    entering: bool


@attrs.frozen
class _StateTimeout:
    """A function runs when a state has lasted for some seconds."""

    state: Hashable
    seconds: float


def _mark(function: F, mark: object) -> F:
    function.__dict__.setdefault(_MARK, []).append(mark)
    return function


def when(
    state: Hashable, method: Callable[Concatenate[Any, P], R]
) -> Callable[[Callable[Concatenate[Any, P], R]], Callable[Concatenate[Any, P], R]]:
    """Mark a function of a `Machine` as the implementation of `method` in `state`.

    Args:
        state: any hashable; a string or an enumeration's member reads best.
        method: a public method, or the hook `on_message`, `on_exit` or `on_down`, defined above in the class.

    The function takes and returns what the method does; it may be async only if the method is. Several marks
    may stand on one function. A subclass may have a clause of its own for a state and method, but no class
    has two.

    Raises:
        TypeError: `method` is not such a method.
    """
    name = getattr(method, "__name__", None)
    if type(name) is not str or name.startswith("_") or name in _NOT_EVENTS:
        raise TypeError(
            f"expected a public method, or on_message, on_exit or on_down, got {safe_repr(method)}: only "
            "what others can ask for is an event"
        )
    return lambda function: _mark(function, _Clause(state, name))


def _mark_sync(function: F, mark: object) -> F:
    if inspect.iscoroutinefunction(function):
        raise TypeError(
            f"{shown_name(function)} cannot be async, because state changes are immediate; "
            "to wait, use `self.process.continue_with`"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{shown_name(function)} cannot be a generator, because its code would not run")
    return _mark(function, mark)


def enter(state: Hashable) -> Callable[[F], F]:
    """Mark a sync function `fn(self)` that runs whenever `state` is entered, the first state included.

    Raises:
        TypeError: the function is async, or a generator.
    """
    return lambda function: _mark_sync(function, _Transition(state, entering=True))


def leave(state: Hashable) -> Callable[[F], F]:
    """Mark a sync function `fn(self)` that runs whenever `state` is left: for another one, or to be entered
    again. It cannot change the state. Raises: as `enter`.
    """
    return lambda function: _mark_sync(function, _Transition(state, entering=False))


def after(seconds: float, state: Hashable) -> Callable[[F], F]:
    """Mark a sync function `fn(self)` that runs once `state` has lasted for `seconds`, a positive number.

    Raises:
        ValueError: `seconds` is not positive.
    """
    if not seconds > 0:
        raise ValueError(f"seconds must be positive, got {safe_repr(seconds)}")
    return lambda function: _mark(function, _StateTimeout(state, seconds))


class _Inner:
    """A method for the machine's own code: not a plain function, so no part of the protocol."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, machine: object, owner: type | None = None) -> Any:
        return self._function.__get__(machine, owner)


def _inner(function: F) -> F:
    return cast(F, _Inner(function))


class _Postponed(Exception):
    """The handler at hand wants its event again in another state."""


@attrs.frozen(eq=False)
class _Event:
    """A postponed event: the message that it came by, and the reply that is owed, if that is a call."""

    message: Any
    deferred: Deferred[Any] | None


@undroppable
@attrs.frozen
class _Lasted:
    """A state time-out, as it lies in the mailbox."""

    handler: str


@travels
class UnknownState(RuntimeFault, ValueError):
    """A machine that lists its states was given another one, `state`."""

    def __init__(self, machine: type[Machine], state: Hashable) -> None:
        known: Any = machine.states
        states = list(islice(known, _SHOWN)) if isinstance(known, Iterable) else []
        which = f" ({', '.join(map(safe_repr, states))})" if states else ""
        names = [each for each in states if isinstance(each, str)]
        near = did_you_mean(state, names) if isinstance(state, str) else ""
        super().__init__(f"expected a state of {shown_name(machine)}{which}, got {safe_repr(state)}{near}")
        self.state = state


class Machine(Actor):
    """An actor with states.

    A subclass names its first state in `initial`, or calls `become` in `__init__`. If it lists its states in
    `states`, no other one is accepted: not in a mark, when the class is made, and not by `become`.

    Attributes:
        states: all states: a set, an `Enum`, a `range`, anything that can be asked with `in`. None: a state
            is whatever `become` is given.

    Raises:
        UnknownState: a mark, or `initial`, names a state that is not in `states`.
    """

    initial: ClassVar[Hashable] = None
    states: ClassVar[Container[Hashable] | None] = None

    _machine_clauses: ClassVar[dict[tuple[Hashable, str], Callable[..., Any]]] = {}
    _machine_transitions: ClassVar[dict[tuple[Hashable, bool], tuple[Callable[..., Any], ...]]] = {}
    _machine_timeouts: ClassVar[dict[Hashable, tuple[tuple[float, str], ...]]] = {}

    _machine_state: Hashable = None
    _machine_entered: bool = False
    _machine_leaving: bool = False
    _machine_changes: int = 0
    _machine_returned: int = 0  # events that changes have put back into the mailbox
    _machine_postponed: list[_Event] | None = None  # until the state changes

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        clauses = dict(cls._machine_clauses)
        own: dict[tuple[Hashable, str], Callable[..., Any]] = {}
        transitions = dict(cls._machine_transitions)
        timeouts = dict(cls._machine_timeouts)
        for name, function in list(vars(cls).items()):
            for mark in getattr(function, _MARK, ()):
                match mark:
                    case _Clause(state, method):
                        if own.setdefault((state, method), function) is not function:
                            raise TypeError(
                                f"{shown_name(cls)} has two clauses for {method} in the state "
                                f"{safe_repr(state)}: {own[state, method].__name__} and {name}"
                            )
                        clauses[state, method] = function
                    case _Transition(state, entering):
                        known = transitions.get((state, entering), ())
                        transitions[state, entering] = (*known, function)
                    case _StateTimeout(state, seconds):
                        timeouts[state] = (*timeouts.get(state, ()), (seconds, name))
        cls._machine_clauses, cls._machine_transitions, cls._machine_timeouts = clauses, transitions, timeouts
        if cls.states is not None:
            marked = [*(state for state, _ in (*clauses, *transitions)), *timeouts]
            for state in marked if cls.initial is None else [cls.initial, *marked]:
                cls._machine_check(state)
        if "on_start" in vars(cls):
            setattr(cls, "on_start", _entering(vars(cls)["on_start"]))  # noqa: B010 (a method, to mypy)
        public = {name for name, found in vars(cls).items() if inspect.isfunction(found) and name[0] != "_"}
        for method in ({method for _, method in clauses} | public | {"on_message"}) - _NOT_EVENTS:
            default = inspect.getattr_static(cls, method)
            if not getattr(default, "_machine_dispatches", False):
                setattr(cls, method, _dispatching(cls, method, default))

    @classmethod
    def _machine_check(cls, state: Hashable) -> None:
        """Raise `UnknownState` unless the class has this state, and `TypeError` if it cannot be one."""
        states = cls.states
        if states is None:
            hash(state)
            return
        # An enumeration is asked for members; `in` would take their values, too, from Python 3.12 on.
        if isinstance(states, type) and issubclass(states, enum.Enum):
            is_known = isinstance(state, states)
        else:
            is_known = state in states
        if not is_known:
            raise UnknownState(cls, state)

    @property
    def state(self) -> Hashable:
        """The present state, which only `become` changes."""
        return self._machine_state if self._machine_entered else self.initial

    @state.setter
    def state(self, state: Never) -> None:
        raise AttributeError(
            f"{shown_name(type(self))}.state cannot be set: call `self.become({safe_repr(state)})`"
        )

    def on_start(self) -> Any:
        """Enter the first state. A subclass that overrides this method may call it where it wants that to be;
        if it does not, the state is entered when its own `on_start` has returned.

        Raises:
            TypeError: the class names no `initial` state, and `__init__` has not entered one.
        """
        if not self._machine_entered:
            own = [base for base in type(self).__mro__ if base is not Machine]
            if self.states is None and not any("initial" in vars(base) for base in own):
                raise TypeError(
                    f"{shown_name(type(self))} has no first state; name it in `initial`, or call `become` in "
                    "`__init__`"
                )
            self.become(self.initial)

    @_inner
    def become(self, state: Hashable, *, again: bool = False) -> None:
        """Change the state, at once. Not a checkpoint.

        The `leave` functions of the old state and the `enter` functions of the new one run before this
        returns. The old state's time-outs are cancelled. Postponed events follow before the next message. A
        change to the present state does nothing, unless `again` is true.

        Raises:
            UnknownState: the class lists its states, and this is none of them.
            TypeError: `state` is not hashable.
            RuntimeError: a `leave` function calls it. In these cases the state stays as it is.
        """
        self._machine_check(state)
        if self._machine_leaving:
            raise RuntimeError(
                f"the state {safe_repr(self._machine_state)} is being left: a function marked with `leave` "
                "cannot change the state; one marked with `enter` can"
            )
        if self._machine_entered:
            if state == self._machine_state and not again:
                return
            self._machine_leaving = True
            try:
                self._machine_run(self._machine_state, entering=False)
            finally:
                del self._machine_leaving
            for _, handler in self._machine_timeouts.get(self._machine_state, ()):
                self.process.timers.cancel(_Lasted(handler))
        self._machine_state = state
        self._machine_entered = True
        self._machine_changes += 1
        for seconds, handler in self._machine_timeouts.get(state, ()):
            self.process.timers.start(_Lasted(handler), seconds, _Lasted(handler))
        postponed, self._machine_postponed = self._machine_postponed, None
        for number, event in enumerate(postponed or ()):
            self._machine_put_back(event, number)  # before all others, also those of an earlier change
        self._machine_run(state, entering=True)

    @_inner
    def postpone(self) -> NoReturn:
        """Handle the event at hand again, before others, once the state has changed, or now if it just has.

        A call that is postponed is answered then. Does not return: it leaves the handler by an exception.
        Postponed events come in the order in which they were postponed, before those that came later.

        A handler that has deferred its reply cannot postpone its event, too: that ends the machine with a
        `RuntimeError`. Source: `gen_statem`'s action `postpone`.
        """
        raise _Postponed

    def _machine_run(self, state: Hashable, *, entering: bool) -> None:
        for function in self._machine_transitions.get((state, entering), ()):
            run_sync(function, self)

    def _machine_moment(self) -> tuple[int, int, bool]:
        """Return the number of state changes so far, and of the events that these have put back, and whether
        the call at hand is deferred: one of an earlier event then, before this one is handled.
        """
        return self._machine_changes, self._machine_returned, self._machine_has_deferred()

    def _machine_has_deferred(self) -> bool:
        call = self.process.at_hand
        return call is not None and self.process.has_deferred(call)

    def _machine_keep(
        self, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], since: tuple[int, int, bool]
    ) -> Any:
        """Keep the event at hand, handled since that moment, until the state changes; returns what its
        handler returns for now.
        """
        process = self.process
        changes, returned, had_deferred = since
        if self._machine_has_deferred() and not had_deferred:
            raise RuntimeError(
                f"{method} has deferred its reply: answer it later, or postpone the event, but not both"
            )
        deferred = None if method in HOOKS else process.defer_if_called()
        message: Any = args[0] if method in HOOKS else Cast(method, args, kwargs)
        if deferred is not None:
            message = deferred.request
            message.method, message.args, message.kwargs = method, args, kwargs
        event = _Event(message, deferred)
        if self._machine_changes == changes:
            process.unhandled_by(self._machine_unhandled)
            if self._machine_postponed is None:
                self._machine_postponed = []
            self._machine_postponed.append(event)
        else:
            # Its handler has changed the state: it follows those that this has brought back.
            self._machine_put_back(event, self._machine_returned - returned)
        return deferred

    def _machine_put_back(self, event: _Event, position: int) -> None:
        """Put a postponed event back into the mailbox, as the message that it came by, behind so many."""
        process, call = self.process, event.message
        if event.deferred is not None:
            process.settle_deferred(call)  # which is owed again when it is handled
            if process.at_hand is call:
                process.at_hand = None
        if process.reader is not None:
            process.reader.restore()
        process.open_queue().insert(position, call)
        self._machine_returned += 1

    def _machine_unhandled(self) -> list[Any]:
        """The events that are still postponed, as they came; a call is owed its answer anyhow."""
        return [event.message for event in self._machine_postponed or () if event.deferred is None]


def _entering(on_start: Callable[..., Any]) -> Callable[..., Any]:
    """Return a machine's own `on_start` that leaves the machine in its first state, whatever it calls."""
    if inspect.iscoroutinefunction(on_start):

        @functools.wraps(on_start)
        async def starting(self: Machine) -> Any:
            result = await on_start(self)
            Machine.on_start(self)
            return result

        return starting

    @functools.wraps(on_start)
    def started(self: Machine) -> Any:
        result = on_start(self)
        Machine.on_start(self)
        return result

    return started


def _dispatching(cls: type[Machine], name: str, default: Callable[..., Any]) -> Callable[..., Any]:
    """Make the method that looks up the clause of the present state."""

    variants = [
        default,
        *(function for (_, method), function in cls._machine_clauses.items() if method == name),
    ]
    if any(inspect.iscoroutinefunction(variant) for variant in variants):

        @functools.wraps(default)
        async def dispatch_async(machine: Machine, *args: Any, **kwargs: Any) -> Any:
            moment = machine._machine_moment()
            try:
                result = _call(machine, name, default, args, kwargs)
                return await result if inspect.iscoroutine(result) else result
            except _Postponed:
                return machine._machine_keep(name, args, kwargs, moment)

        dispatch: Callable[..., Any] = dispatch_async
    else:

        @functools.wraps(default)
        def dispatch_sync(machine: Machine, *args: Any, **kwargs: Any) -> Any:
            moment = machine._machine_moment()
            try:
                return _call(machine, name, default, args, kwargs)
            except _Postponed:
                return machine._machine_keep(name, args, kwargs, moment)

        dispatch = dispatch_sync
    dispatch.__dict__["_machine_dispatches"] = True
    return dispatch


def _call(
    machine: Machine, name: str, default: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    if name == "on_message" and type(args[0]) is _Lasted:
        return getattr(machine, args[0].handler)()
    return machine._machine_clauses.get((machine.state, name), default)(machine, *args, **kwargs)
