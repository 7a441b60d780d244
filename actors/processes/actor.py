"""`Actor`, a class whose public methods are the protocol of a process.

What a class lets others call is worked out once, when the class is first spawned, and kept as its
`Protocol`: the public methods by name, and whether any of them, or any hook, is a coroutine function. One
is enough for the process to need a task of its own; without any it runs in the dispatcher.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.methods import HOOKS
from enfilade.actors.messages.safe_text import is_interrupt, safe_repr

if TYPE_CHECKING:
    from enfilade.actors.messages.reasons import Reason
    from enfilade.actors.processes.links import Down, Exited
    from enfilade.actors.processes.process import Process

__all__ = ["Actor", "Protocol", "construct", "formatted_status", "protocol_of"]


class Actor:
    """The base of all actors.

    A subclass's public methods can be called with `ref.call` and `ref.cast`; names that begin with `_`, and
    the hooks below, cannot. `__init__` runs inside the new process, and `spawn` returns once it and
    `on_start` are done. When all methods are sync, the actor runs in the dispatcher; with an `async def`
    among them it has a task of its own and handles one message at a time.

    Attributes:
        process: the process record, there before `__init__` runs.
    """

    __slots__ = ("process",)

    process: Process

    protocol_: ClassVar[Protocol]
    body_: ClassVar[Any] = None  # what runs it, where that is neither of the usual two bodies

    def on_start(self) -> Any:
        """Runs after `__init__`; may be async. To go on after `spawn` has returned:
        `self.process.continue_with(...)`.

        A return value other than None goes to the caller that had a supervisor start it: see `Started`.
        """

    def on_message(self, message: Any) -> Any:
        """Handle a message that came by `send`; may be async. The default logs a warning and drops it."""
        log(
            logging.WARNING, "%s (%s) dropped an unhandled message: %r", self.process.ref, type(self), message
        )

    def on_exit(self, exited: Exited) -> Any:
        """Handle a trapped exit signal; may be async. The default passes it to `on_message`.

        Not called when it is the parent's: then the actor stops with that reason. Source: `gen_server`.
        """
        return self.on_message(exited)

    def on_down(self, down: Down) -> Any:
        """Handle the end of a monitored process; may be async. The default passes it to `on_message`."""
        return self.on_message(down)

    def on_stop(self, reason: Reason) -> Any:
        """Runs last, when the actor stops by its own decision, is asked to, crashed, or its parent ended
        while it traps exits; may be async. Not for other exit signals, nor for `KILL`. If it raises, that
        becomes the reason.
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


@attrs.frozen(eq=False)
class Protocol:
    """The public methods and hooks of an actor class.

    Attributes:
        handlers: the public methods by name.
        is_async: whether any method or hook is a coroutine function.
    """

    handlers: Mapping[str, Callable[..., Any]]
    is_async: bool
    on_message: Callable[[Any, Any], Any]
    on_exit: Callable[[Any, Any], Any]
    on_down: Callable[[Any, Any], Any]
    on_stop: Callable[[Any, Any], Any]
    on_start: Callable[[Any], Any]


def protocol_of(actor: type[Actor]) -> Protocol:
    """The protocol of an actor class, made at its first use."""
    known = actor.__dict__.get("protocol_")
    if known is not None:
        return known  # type: ignore[no-any-return]
    handlers: dict[str, Callable[..., Any]] = {}
    is_async = False
    for name in dir(actor):
        found = inspect.getattr_static(actor, name)
        if isinstance(found, staticmethod | classmethod) or not inspect.isfunction(found):
            continue
        if name in HOOKS or name[0] != "_":
            is_async = is_async or inspect.iscoroutinefunction(found)
        if name not in HOOKS and name[0] != "_":
            handlers[name] = found
    made = Protocol(
        handlers,
        is_async,
        on_message=actor.on_message,
        on_exit=actor.on_exit,
        on_down=actor.on_down,
        on_stop=actor.on_stop,
        on_start=actor.on_start,
    )
    actor.protocol_ = made
    return made


def construct(
    actor: type[Actor], process: Process, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Actor:
    """Make the actor object of `process`: it knows its process before `__init__` runs."""
    made = actor.__new__(actor)
    made.process = process
    made.__init__(*args, **kwargs)  # type: ignore[misc]
    return made
