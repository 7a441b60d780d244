"""`Actor`, a class whose public methods are the protocol of a process.

What a class lets others call is its protocol (`protocol.py`). One public method, or hook, that is a
coroutine function is enough for the process to need a task of its own; without any it runs in the
dispatcher.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, ClassVar

from enfilade.actors.messages.attempt import is_interrupt
from enfilade.actors.messages.methods import HOOKS, note_methods
from enfilade.actors.messages.nearest import slip_of
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.processes.resumption import Resume

if TYPE_CHECKING:
    from enfilade.actors.messages.reasons import Reason
    from enfilade.actors.processes.links import Down, Exited
    from enfilade.actors.processes.process import Process
    from enfilade.actors.processes.protocol import ActorProtocol

__all__ = [
    "Actor",
    "attributes_of",
    "construct",
    "formatted_status",
    "refuse_replaced",
    "refuse_shared",
    "shown_state",
    "slots_of",
]


class Actor:
    """The base of all actors.

    A subclass's public methods can be called with `ref.call` and `ref.cast`; names that begin with `_`, and
    the hooks below, cannot. `__init__` runs inside the new process, and `spawn` returns once it and
    `on_start` are done. When all methods are sync, the actor runs in the dispatcher; with an `async def`
    among them it has a task of its own and handles one message at a time.

    A caller of a method that the class does not have gets `UnknownMethod`, and the actor goes on. One that is
    declared strict, `class Account(Actor, strict=True)`, ends with that error, as a `gen_server` does; so do
    its subclasses, unless they say `strict=False`.

    A class is warned (`UserWarning`) of a method whose name is a hook's but for a slip: `on_mesage`,
    `on_strat`, `onMessage`. Other names that begin with `on_` are methods like any other.

    Attributes:
        process: the process record, there before `__init__` runs.
    """

    __slots__ = ("process",)

    process: Process

    protocol_: ClassVar[ActorProtocol]
    strict_: ClassVar[bool] = False
    on_failure: ClassVar[Resume | None] = None  # whether the actor goes on when a handler has failed
    body_: ClassVar[Any] = None  # what runs it, where that is neither of the usual two bodies

    def __init_subclass__(cls, *, strict: bool | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if strict is not None:
            cls.strict_ = strict
        decision = vars(cls).get("on_failure")
        if decision is not None and not isinstance(decision, Resume):
            raise TypeError(
                f"on_failure of {cls.__qualname__} must be a Resume or None, got {safe_repr(decision)}"
            )
        if inspect.iscoroutinefunction(vars(cls).get("__init__")):
            raise TypeError(
                f"{cls.__qualname__}.__init__ is async, and nothing would wait for it; what has to wait when "
                "the actor starts belongs in `async def on_start(self)`"
            )
        for name in [name for name in vars(cls) if type(name) is str and name not in HOOKS]:
            if (meant := slip_of(name, sorted(HOOKS))) is not None:
                warnings.warn(
                    f"the runtime has no hook {cls.__qualname__}.{name}; did you mean {safe_repr(meant)}?",
                    stacklevel=2,
                )
        note_methods(cls)

    def on_start(self) -> Any:
        """Runs after `__init__`; may be async. To go on after `spawn` has returned:
        `self.process.continue_with(...)`.

        A return value other than None goes to the caller that had a supervisor start it: see `Started`.
        """

    def on_message(self, message: Any) -> Any:
        """Handle `message`, which came by `send`; may be async. The default logs a warning and drops it."""
        process = self.process
        text = "%s dropped an unhandled message: %r"
        process.node.reports.note("unhandled messages", logging.WARNING, text, message, about=process.ref)

    def on_exit(self, exited: Exited) -> Any:
        """Handle `exited`, a trapped exit signal; may be async. The default passes it to `on_message`.

        Not called when it is the parent's: then the actor stops with that reason. Source: `gen_server`.
        """
        return self.on_message(exited)

    def on_down(self, down: Down) -> Any:
        """Handle `down`, of a monitored process; may be async. The default passes it to `on_message`."""
        return self.on_message(down)

    def on_stop(self, reason: Reason) -> Any:
        """Clean up, as the last thing that the actor does; may be async.

        It runs when the actor ends with `reason` because it decided to stop, was asked to stop, or crashed,
        or because its parent ended while it traps exits. It does not run after other exit signals, such as
        `KILL`. If it raises, that becomes the reason.
        """

    def format_status(self) -> Any:
        """Return a view of the state for people, where it is secret or large; None shows the attributes.

        `system.get_status` shows it, and so does the log, as a note on the error that ends the actor. If it
        raises, the error is shown instead. Source: `gen_server:format_status/1`.
        """
        return None


def formatted_status(actor: Actor) -> Any:
    """Return the actor's own view of its state, or a note that `format_status` failed. Never raises."""
    try:
        return actor.format_status()
    except BaseException as error:
        if is_interrupt(error):
            raise
        return f"format_status raised {safe_repr(error)}"


def slots_of(actor: Actor) -> Iterator[tuple[str, MemberDescriptorType]]:
    """Yield the slots that the actor's own classes declare, by name."""
    for cls in type(actor).__mro__:
        for name, slot in vars(cls).items():
            if type(slot) is MemberDescriptorType and cls is not Actor:
                yield name, slot


def attributes_of(actor: Actor) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of the actor by name: its state."""
    for name, slot in slots_of(actor):
        with suppress(AttributeError):
            yield name, slot.__get__(actor)
    yield from getattr(actor, "__dict__", {}).items()


def shown_state(actor: Actor, largest: int) -> str:
    """Return the actor's state as text: what its `format_status` returns, or else its attributes."""
    status = formatted_status(actor)
    return safe_repr(dict(attributes_of(actor)) if status is None else status, largest)


def construct(
    actor: type[Actor], process: Process, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Actor:
    """Make the actor object of `process`: it knows its process before `__init__` runs."""
    made = actor.__new__(actor)
    if actor.__new__ is not object.__new__:
        refuse_shared(made)
    made.process = process
    made.__init__(*args, **kwargs)  # type: ignore[misc]
    if made.process is not process:
        refuse_replaced(actor)
    return made


def refuse_shared(made: Actor) -> None:
    """Refuse an object that `__new__` has given to another process before, unless that has ended.

    Raises:
        TypeError: two processes would share their state, and the first would answer for the second.
    """
    holder = getattr(made, "process", None)
    if holder is not None and getattr(holder, "ended", holder) is None:
        raise TypeError(
            f"{type(made).__qualname__}.__new__ has returned the object of {holder.ref}; "
            "each process needs one of its own"
        )


def refuse_replaced(actor: type[Actor]) -> None:
    """Refuse an actor whose `__init__` has replaced what leads to its process.

    Raises:
        TypeError: in any case.
    """
    raise TypeError(
        f"{actor.__qualname__}.__init__ has replaced `self.process`, which leads to the runtime; "
        "give the attribute another name"
    )
