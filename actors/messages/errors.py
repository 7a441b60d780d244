"""Everything that the runtime raises.

`CallError` and its subclasses are what a call can end with instead of a reply; `StartError` and its
subclasses are what a spawn can end with instead of a ref. Each carries what it is about as attributes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.nearest import did_you_mean, option_meant
from enfilade.actors.messages.reasons import NO_PROCESS, TIMEOUT, Crashed, Custom, Reason
from enfilade.actors.messages.safe_text import safe_arguments, safe_repr, safe_str, shown_name
from enfilade.actors.messages.tracebacks import program_part, trace_of

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref

__all__ = [
    "AlreadyStarted",
    "BadArguments",
    "CallError",
    "CallTimeout",
    "CallingSelf",
    "CoroutineReturned",
    "Ignore",
    "ImproperError",
    "LiveArgument",
    "LiveResult",
    "MailboxFull",
    "Moved",
    "NameTaken",
    "NoProcess",
    "NoQuorum",
    "NodeStopped",
    "NotConnected",
    "NotJoined",
    "NotOwner",
    "NotPublic",
    "NurseryLeft",
    "ProcessDied",
    "ReceiveTimeout",
    "Refused",
    "Restarting",
    "RuntimeFault",
    "SenderDropped",
    "StartError",
    "StartTimeout",
    "StashOverflow",
    "StepFailed",
    "StrayCancelled",
    "UnknownMethod",
    "UnknownName",
    "WrongThread",
    "raised_by_the_runtime",
]


def raised_by_the_runtime(error: BaseException) -> bool:
    """Return true when only the runtime's own code was running when `error` was raised."""
    trace = trace_of(error)
    return trace is not None and program_part(trace) is None


LARGEST_NAME = 200
"""Characters of a name in the text of an error."""


class RuntimeFault(Exception):
    """The base of the runtime's own errors."""


class StepFailed(RuntimeFault):
    """The runtime itself failed in a step that it took for the process `ref`, and ended that process.

    `step` names the step; the cause is the error.
    """

    def __init__(self, ref: Ref[Any], step: str, error: BaseException) -> None:
        super().__init__(f"the runtime failed in a step of {ref}: {step}")
        self.ref = ref
        self.step = step
        self.__cause__ = error


class StrayCancelled(RuntimeFault):
    """A process raised a `trio.Cancelled` that was not its own: its scope is over, or is another task's.

    A result that several tasks share, for example, may be the `Cancelled` of the task that computed it. The
    cause is what was raised.
    """

    def __init__(self, raised: BaseException) -> None:
        super().__init__("the process raised a trio.Cancelled of a scope that has not cancelled it")
        self.__cause__ = raised


class NurseryLeft(RuntimeFault):
    """A handler has left a nursery open in an async generator that it has not finished, as trio forbids."""

    def __init__(self) -> None:
        super().__init__(
            "a nursery was left open in an async generator; use `async with aclosing(generator)` around it"
        )


class CallError(RuntimeFault):
    """A call ended without a reply. `target` is the ref, or the name, that was called."""

    target: Ref[Any] | str = "the process"  # unless it is told, as a peer may fail to do

    def __init__(self, target: Ref[Any] | str, *message: str) -> None:
        super().__init__(*message)
        self.target = target

    def __str__(self) -> str:
        return self.args[0] if self.args else self._text()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({safe_repr(self.args[0] if self.args else self._text(), 2_000)})"

    def _text(self) -> str:
        """Return the message of an error that is made without one, because few of its kind are shown."""
        return ""


class UnknownName(RuntimeFault):
    """A name is not known here. The text suggests the nearest that is, and is composed when it is shown.

    Most of these errors are caught and never shown, and to look takes longer than to fail. The names stay on
    this node: an error that travels has no suggestion, because a peer must neither learn them nor have this
    node look.
    """

    __slots__ = ("_known", "_wanted")  # what travels is `vars`
    _known: Iterable[str]
    _wanted: str

    def suggest(self, wanted: str, known: Iterable[str]) -> None:
        """Have the text suggest the one of `known` that is nearest to `wanted`."""
        self._wanted, self._known = wanted, known

    def __str__(self) -> str:
        text: str = self.args[0] if self.args else ""
        known = getattr(self, "_known", ())
        return text + did_you_mean(self._wanted, known) if known else text


class NoProcess(UnknownName, CallError):
    """The addressed process does not exist: it has ended, or its name is not registered.

    `names` are names that are registered; the text of the error suggests the nearest of them. `problem` says
    in words why there is none, where it is neither of these.
    """

    def __init__(self, target: Ref[Any] | str, names: Iterable[str] = (), *, problem: str = "") -> None:
        if not problem and isinstance(target, str):
            problem = f"the name {safe_repr(target)} is not registered"
        super().__init__(target, f"no process: {problem or f'{safe_str(target)} has ended'}")
        if names:
            self.suggest(safe_str(target), names)


class Moved(NoProcess):
    """The actor of a key is not on the node that was asked, and the call was not carried out.

    A ref to a key asks anew; only what is made without it can end with this.
    """

    def __init__(self, target: Ref[Any]) -> None:
        super().__init__(target, problem=f"{safe_str(target)} is on another node")


class Restarting(CallError):
    """The addressed process has ended and its supervisor is restarting it: try again later."""

    def __init__(self, target: Ref[Any] | str) -> None:
        super().__init__(target, f"{safe_str(target)} is being restarted by its supervisor; call again later")


class ProcessDied(CallError):
    """The process that was called ended before it replied. `reason` is its exit reason."""

    reason: Reason = NO_PROCESS  # as `target`

    def __init__(self, target: Ref[Any] | str, reason: Reason) -> None:
        super().__init__(target)
        self.reason = reason
        if isinstance(reason, Crashed):
            self.__cause__ = reason.error

    def _text(self) -> str:
        return f"{safe_str(self.target)} ended before it replied: {self.reason}"


class CallTimeout(CallError):
    """No reply came within the time limit, `seconds`. A reply that comes later is dropped."""

    def __init__(self, target: Ref[Any] | str, seconds: float) -> None:
        super().__init__(target, f"{safe_str(target)} did not reply within {seconds} s")
        self.seconds = seconds


class CallingSelf(CallError):
    """A process called itself, directly or by way of others, and would have waited for ever."""

    def __init__(self, target: Ref[Any] | str, circle: Iterable[str] = ()) -> None:
        way = ", ".join(circle)
        super().__init__(
            target,
            f"this call closes a circle that no time limit would end: {way}; send a cast, or set a limit"
            if way
            else f"{safe_str(target)} called itself; call the method directly, or send a cast",
        )


class SenderDropped(CallError):
    """The callee dropped the deferred reply without replying."""

    def __init__(self, target: Ref[Any] | str) -> None:
        super().__init__(target, f"{safe_str(target)} dropped the deferred reply without answering")


class ImproperError(CallError):
    """The callee failed the call with `error`, which is not an `Exception` and would harm the caller.

    A `trio.Cancelled` of the callee, say, or a `GeneratorExit`. An exception is the cause, too.
    """

    def __init__(self, target: Ref[Any] | str, error: object) -> None:
        super().__init__(target)
        self.error = error
        if issubclass(type(error), BaseException):
            self.__cause__ = error  # type: ignore[assignment]

    def _text(self) -> str:
        return f"{safe_str(self.target)} failed the call with {safe_repr(self.error)}, expected an Exception"


class NotConnected(CallError):
    """The addressed node is not connected, or the connection was lost before it answered.

    The request may or may not have been carried out. `target` is the name of the node.
    """

    def __init__(self, target: str, message: str | None = None) -> None:
        super().__init__(
            target, message or f"the node link to {safe_repr(target)} was lost before the answer came"
        )


class NoQuorum(CallError):
    """The registry of the mesh does not answer, or has no majority of its servers, or gives nothing away now.

    Whether something was written is not known; if it was, it is taken back. `target` is what was asked for.
    """

    def __init__(self, target: Ref[Any] | str, why: str) -> None:
        super().__init__(target, f"no answer from the registry about {safe_repr(target)}: {why}")


class NotPublic(RuntimeFault, TypeError):
    """`method` may not be called from outside: a hook, a name that starts with `_`, or not a method."""

    def __init__(self, method: object, problem: str | None = None, meant: str | None = None) -> None:
        which = "" if problem is None else f", which is {problem}"
        if type(method) is str and method.isidentifier():
            meant = meant or f"Counter.{method[:LARGEST_NAME]}"
            which = f"; name the method by its class, as in `call({meant}, ...)`"
        super().__init__(f"expected a public method of the actor's class, got {shown_name(method)}{which}")
        self.method = method


class UnknownMethod(UnknownName):
    """An actor was sent a call or cast of `method`, which its class does not have.

    `known` are the methods that it has; the text of the error suggests the nearest of them.
    """

    def __init__(self, method: str, actor: str, known: Collection[str] = ()) -> None:
        super().__init__(f"{safe_str(actor)} has no public method {safe_repr(method)}")
        owner, _, name = method.rpartition(".")
        if owner and name in known:  # which is another class's
            self.suggest(f"{actor}.{name}", [f"{actor}.{name}"])
        else:
            self.suggest(name, known)
        self.method = method


class UpgradeFailed(RuntimeFault):
    """A guest could not be moved to another module, and goes on as it was."""


class Refused(RuntimeFault):
    """The policy of another node does not allow the request."""


class BadArguments(RuntimeFault, TypeError):
    """A method was called, or cast, with arguments that it does not take. The callee lives on.

    `method` is the method's qualified name.
    """

    def __init__(
        self,
        method: str,
        signature: inspect.Signature,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        problem: str,
    ) -> None:
        shown = f"{method}{safe_str(signature, 500)}"
        super().__init__(f"{shown} got ({safe_arguments(args, kwargs)}): {safe_str(problem)}")
        self.method = method


class CoroutineReturned(RuntimeFault, TypeError):
    """A method of a sync actor returned a coroutine, which cannot be awaited. `method` is the function."""

    def __init__(self, method: Callable[..., Any]) -> None:
        super().__init__(
            f"{shown_name(method)} returned a coroutine, and a sync actor has no task to await it in; "
            "make it `async def`"
        )
        self.method = method


RUNS_IN_CALLER: Final = "which has yet to run, and would run in the caller; return a list of its items"


class LiveResult(RuntimeFault, TypeError):
    """A method answered with what has yet to run, such as a generator, or with the deferred reply of another
    call. `method` is the function, or the name of the method that a deferred reply answers for.
    """

    def __init__(self, method: Callable[..., Any] | str, kind: str, advice: str = RUNS_IN_CALLER) -> None:
        shown = (method or "the method") if isinstance(method, str) else shown_name(method)
        super().__init__(f"{shown} returned {'an' if kind[0] in 'aeiou' else 'a'} {kind}, {advice}")
        self.method = method


class LiveArgument(RuntimeFault, TypeError):
    """A generator, iterator or coroutine was to be passed to another process, which would run the sender's
    code.
    """

    def __init__(self, what: str, value: object) -> None:
        super().__init__(
            f"{what} is a {type(value).__name__}, which has yet to run; send a list of its items"
        )


class MailboxFull(RuntimeFault):
    """The mailbox of the receiver, `ref`, has `capacity` messages, and its policy is to refuse more."""

    def __init__(self, ref: Ref[Any], capacity: int) -> None:
        super().__init__(f"the mailbox of {ref} is full ({capacity} messages)")
        self.ref = ref
        self.capacity = capacity


class WrongThread(RuntimeFault, RuntimeError):
    """A ref was used outside of the thread of its node, where it would have to wake a process."""

    def __init__(self) -> None:
        super().__init__(
            "nothing was sent: refs must be used in the thread of their node; from other threads use "
            "trio.from_thread.run_sync(ref.send, message)"
        )


class StashOverflow(RuntimeFault):
    """The stash holds `capacity` messages, and one more was to be stashed."""

    def __init__(self, capacity: int) -> None:
        super().__init__(f"the stash is full ({capacity} messages); unstash some, or raise its capacity")
        self.capacity = capacity


class ReceiveTimeout(RuntimeFault):
    """No matching message came within `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no matching message within {seconds} s")
        self.seconds = seconds


class NameTaken(RuntimeFault):
    """The name `name` belongs to `holder`, or `holder` already has another name."""

    def __init__(self, name: str, holder: Ref[Any], message: str | None = None) -> None:
        super().__init__(message or f"the name {safe_repr(name)} is taken by {holder}")
        self.name = name
        self.holder = holder


class StartError(RuntimeFault):
    """A process could not be started. `reason` says why. `parameters` are those of what was started: one that
    was misspelt is explained.

    Its cause is the error that the process's own code raised. Errors that the runtime found by itself, such
    as an unknown flag of a supervisor, have no cause.

    An actor may raise it in `__init__` or `on_start` to refuse the start quietly: the process ends with the
    reason normal, and the starter gets this error.
    """

    def __init__(self, reason: Reason, message: str | None = None, parameters: Iterable[str] = ()) -> None:
        meant = _of_option(reason, parameters)
        super().__init__(message or f"the process could not be started: {reason}{meant}")
        self.reason = reason
        if isinstance(reason, Crashed):
            self.__cause__ = None if raised_by_the_runtime(reason.error) else reason.error


def _of_option(reason: Reason, parameters: Iterable[str]) -> str:
    """Return what the start's error says of an argument by name that was misspelt; "" if none was."""
    error = reason.error if isinstance(reason, Crashed) else None
    meant = option_meant(safe_str(error), parameters) if type(error) is TypeError else None
    return f"; {meant}" if meant else ""


class StartTimeout(StartError):
    """The start was not acknowledged within `seconds`; the process was killed."""

    def __init__(self, seconds: float) -> None:
        super().__init__(TIMEOUT, f"the process did not finish starting within {seconds} s and was killed")
        self.seconds = seconds


class AlreadyStarted(StartError):
    """The process `ref` is already running as `name`; or it was, and its supervisor is restarting it."""

    def __init__(self, name: str, ref: Ref[Any], message: str | None = None) -> None:
        message = message or f"{safe_repr(name)} is already started: {ref}"
        super().__init__(Custom(message), message)
        self.name = name
        self.ref = ref


class Ignore(RuntimeFault):
    """An actor raises it in `__init__` or `on_start`: there is nothing to start, which is not a failure.

    The process ends normally, and `spawn` raises this in the starter.
    """


class NodeStopped(RuntimeFault):
    """The node `node` is stopping or has stopped: nothing can be spawned on it."""

    def __init__(self, node: str) -> None:
        super().__init__(f"node {safe_repr(node)} is stopping or has stopped; nothing can be spawned on it")
        self.node = node


class NotOwner(RuntimeFault):
    """Only the process that set up a monitor or alias may remove it."""


class NotJoined(RuntimeFault):
    """The process is not a member of that group."""
