"""Traces: the messages of some processes, as entries, until the trace ends by itself.

A traced process has an observer, which sees each message before and after it is handled. Other processes
pay nothing. What traced processes send is seen by layers over `LocalRef.send`, `cast` and `call`, while a
trace asks for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages import signals
from enfilade.actors.messages.hooks import Listener
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.layers import Layer, put_on, take_off
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.ref import Ref, RemoteRef
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.safe_text import safe_str, shown_name
from enfilade.actors.messages.trace_context import TRACE, TraceContext
from enfilade.actors.messages.traced import bare, trace_of
from enfilade.actors.observing.events.reasons import why
from enfilade.actors.observing.protocol.matching import Glob, Match
from enfilade.actors.observing.protocol.views import LIMITS
from enfilade.actors.observing.tables.rows import shown_ref
from enfilade.actors.observing.watches.contents import contents_of
from enfilade.actors.observing.watches.shots import Scene, Shot
from enfilade.actors.processes.identity import actor_name
from enfilade.actors.processes.links import Down, Exited
from enfilade.actors.processes.local_ref import LocalRef, process_of
from enfilade.actors.processes.trace_layers import begin_carrying, end_carrying
from enfilade.actors.system import install_soon, uninstall_soon

if TYPE_CHECKING:
    from enfilade.actors.observing.protocol.views import TraceView
    from enfilade.actors.processes.process import Process

__all__ = ["TracePicture"]

WAITING: Final = 10_000
"""How many entries wait for the next update; of more, the oldest are dropped, and a gap says how many."""

ENTRIES: Final = 500
"""How many entries an update carries."""

LARGEST_CONTENTS: Final = 200
"""Characters of the contents of a message."""

ACTOR: Final = "actor:"

ENDS: Final = (Down, Exited)
"""The messages that tell of the end of another process."""


Facts = tuple[str | None, Any, type | None, Any]
"""The kind of a message, its method, its class, and who has sent it, as they were found."""

NOTHING: Final[Facts] = (None, None, None, None)
"""The facts about no message."""


class TracePicture(Listener):
    """The entries since the last picture."""

    def __init__(self, scene: Scene, view: TraceView) -> None:
        self._scene = scene
        self._view = view
        self._node = scene.watching.node
        self._match = Match(view.match)
        self._ended: str | None = None
        self._now = scene.watching.now
        self._second, self._in_second = self._now(), 0
        self._until = self._second + view.seconds
        self._number = self._messages = self._shown = 0
        self._entries: deque[Entry] = deque(maxlen=WAITING)
        self._needs_words = bool(view.contents or view.match)
        self._whos: dict[int, Who] = {}
        self._traced: dict[int, _Tracer] = {}
        self._wanted = view.processes
        self._names = [Glob(each) for each in view.processes if isinstance(each, str)]
        for process in self._found():
            self._trace(process)
        self._node.hooks.add(self)
        if view.sends or view.follow:
            _SENDS.begin(self)
        if view.follow:
            begin_carrying()
        if not self._traced and not self._may_follow():
            self._end("processes")

    # Who is traced.

    def _found(self) -> Iterator[Process]:
        for each in list(self._node.processes.values()):
            if each.ended is None and self._wants(each):
                yield each

    def _wants(self, process: Process) -> bool:
        if process.serial in self._wanted:
            return True
        name = process.name
        if name is not None and any(glob.fits(name) for glob in self._names):
            return True
        return f"{ACTOR}{actor_name(process)}" in self._wanted

    def _trace(self, process: Process) -> None:
        if process.serial not in self._traced and len(self._traced) < LIMITS["traced"]:
            tracer = self._traced[process.serial] = _Tracer(self)
            install_soon(process, tracer)

    def process_started(self, process: Process) -> None:
        if self._ended is None and f"{ACTOR}{actor_name(process)}" in self._wanted:
            self._follow(process)

    def name_registered(self, process: Process, name: str) -> None:
        if self._ended is None and any(glob.fits(name) for glob in self._names):
            self._follow(process)

    def _follow(self, process: Process) -> None:
        """Trace a process that has come since the beginning."""
        self._trace(process)
        if process.serial in self._traced:
            self.note(process, "started")

    def process_crashing(self, process: Process, reason: Reason, error: BaseException | None) -> None:
        if process.serial in self._traced:
            self.note(process, "crashed", outcome=why(reason).type)

    def process_ended(self, process: Process, reason: Reason) -> None:
        if self._traced.pop(process.serial, None) is not None:
            self.note(process, "ended", outcome=why(reason).type)
            self._whos.pop(process.serial, None)
            if not self._traced and not self._may_follow():
                self._end("processes")

    def _may_follow(self) -> bool:
        """Tell whether a process may yet come that is to be traced: of a name, or of a class."""
        return any(isinstance(each, str) for each in self._wanted)

    # What they do.

    def got(self, process: Process, message: Any, facts: Facts, context: TraceContext | None) -> None:
        """Note a message that is about to be handled."""
        if self._messages >= self._view.count:
            self._end("count")
        elif self.note(process, "got", message, facts, context):
            self._messages += 1

    def done(
        self, process: Process, message: Any, facts: Facts, context: TraceContext | None, seconds: float
    ) -> None:
        """Note that a message was handled."""
        outcome = _outcome(message) if facts[0] == "call" else None
        self.note(process, "done", message, facts, context, None, seconds, outcome)
        if self._messages >= self._view.count:
            self._end("count")

    def sent(self, process: Process, kind: str, method: Any, message: Any, to: Ref[Any]) -> None:
        """Note what a traced process sends."""
        if process.serial not in self._traced:
            return
        name = None if method is None else getattr(method, "__name__", method)
        type_ = None if message is None else type(message)
        receiver = process_of(to)
        if self._view.sends:
            facts = kind, name, type_, None
            whom = safe_str(to) if receiver is None else receiver.serial
            self.note(process, "sent", message, facts, TRACE.get(), whom)
        if self._view.follow and self._ended is None and receiver is not None and receiver.node is self._node:
            self._trace(receiver)

    def note(
        self,
        process: Process,
        what: str,
        message: Any = None,
        facts: Facts = NOTHING,
        context: TraceContext | None = None,
        receiver: int | str | None = None,
        seconds: float | None = None,
        outcome: str | None = None,
    ) -> bool:
        """Make an entry, if the trace goes on and the entry matches; tell whether it does."""
        if self._ended is not None:
            return False
        now = self._now()
        if now > self._until:
            self._end("time")
            return False
        who = self._whos.get(process.serial)
        if who is None or who[2] is not process.name:
            who = self._who(process)
        contents = None
        if self._needs_words:
            contents = self._contents(process, message) if self._view.contents else None
            entry = (0, now, who, what, facts, receiver, seconds, outcome, contents, context)
            if not self._match(_shown(entry, {}).get):
                return False
        if now - self._second >= 1.0:
            self._second, self._in_second = now, 0
        self._in_second += 1
        if self._in_second > self._view.rate:
            self._end("rate")
            return False
        self._number = number = self._number + 1
        self._entries.append((number, now, who, what, facts, receiver, seconds, outcome, contents, context))
        return True

    def _who(self, process: Process) -> Who:
        """The serial, text, name and class of a process, which are put into words once for each name."""
        text = shown_ref(process.ref)
        who = self._whos[process.serial] = process.serial, text, process.name, actor_name(process)
        return who

    def _contents(self, process: Process, message: Any) -> str | None:
        if message is None:
            return None
        return contents_of(process, message, self._scene.own_texts, LARGEST_CONTENTS)

    # The end.

    def _end(self, reason: str) -> None:
        """Trace no more."""
        if self._ended is None:
            self._ended = reason
            self._release()

    def _release(self) -> None:
        self._node.hooks.remove(self)
        _SENDS.end(self)
        if self._view.follow:
            end_carrying()
        for serial, tracer in self._traced.items():
            process = self._node.processes.get(serial)
            if process is not None:
                uninstall_soon(process, tracer)
        self._traced = {}

    async def shot(self, *, is_full: bool) -> Shot:
        if self._ended is None and self._now() > self._until:
            self._end("time")
        missed = 0
        if self._entries:  # the oldest leave when there are too many
            missed = self._entries[0][0] - 1 - self._shown
            self._shown = self._entries[min(ENTRIES, len(self._entries)) - 1][0]
        titles: dict[type, str] = {}
        waiting = min(ENTRIES, len(self._entries))
        entries = [_shown(self._entries.popleft(), titles) for _ in range(waiting)]
        if missed:
            gap = {"number": entries[0]["number"] - 1, "what": "gap", "count": missed}
            entries = [gap, *entries]
        is_over = not self._entries and self._ended is not None
        data = {"entries": entries, "traced": len(self._traced), "ended": self._ended if is_over else None}
        return Shot(data, missed, has_more=bool(self._entries))

    def close(self) -> None:
        self._end("closed")


class _Tracer:
    """The observer of one process."""

    def __init__(self, trace: TracePicture) -> None:
        self._trace = trace
        self._clock = trace._node.runtime.monotonic
        self._began: float | None = None
        self._facts = NOTHING
        self._context: TraceContext | None = None

    def received(self, process: Process, message: Any) -> None:
        self._facts = facts = _facts_of(message)
        context = trace_of(message) if facts[0] == "call" else None
        self._context = context = context or TRACE.get()
        self._trace.got(process, message, facts, context)
        self._began = self._clock()

    def handled(self, process: Process, message: Any) -> None:
        began = self._began
        if began is not None:
            self._began = None
            self._trace.done(process, message, self._facts, self._context, self._clock() - began)


Who = tuple[int, str | None, str | None, str | None]
"""The serial of a process, its ref as text, its name, the name of its class."""

Entry = tuple[
    int,
    float,
    Who,
    str,
    Facts,
    int | str | None,
    float | None,
    str | None,
    str | None,
    TraceContext | None,
]
"""An entry as it is noted: number, time, process, what, the facts about the message, receiver, seconds,
outcome, contents, context. It is put into words when it is shown, which a trace of many messages has less
time for.
"""


def _facts_of(message: Any) -> Facts:
    kind = type(message)
    if kind is signals.Cast:
        return "cast", message.method, None, None
    if issubclass(kind, signals.Call):
        caller = message.caller
        return "call", message.method, None, caller if caller is None or message.peer else caller.serial
    if issubclass(kind, ENDS):
        return "down" if issubclass(kind, Down) else "exit", None, None, message.ref.serial
    return "message", None, kind, None


def _shown(entry: Entry, titles: dict[type, str]) -> dict[str, Any]:
    """An entry in words. `titles` has the names of classes that were shown before."""
    number, time, (serial, text, name, actor), what, facts, *_ = entry
    receiver, seconds, outcome, contents, context = entry[5:]
    kind, method, type_, sender = facts
    return {
        "number": number,
        "time": time,
        "process": serial,
        "text": text,
        "name": name,
        "actor": actor,
        "what": what,
        "kind": kind,
        "method": None if method is None else safe_str(method),
        "type": None if type_ is None else titles.get(type_) or titles.setdefault(type_, shown_name(type_)),
        "sender": sender if sender is None or type(sender) is int else safe_str(sender),
        "receiver": receiver,
        "seconds": None if seconds is None else round(seconds, 9),
        "outcome": outcome,
        "contents": contents,
        "context": None if context is None or context.is_mark else context.traceparent,
    }


def _outcome(message: Any) -> str | None:
    """What has become of a call: "replied", "deferred", or the type of an error."""
    if not message.settled:
        return "deferred"
    error = message.error if is_a(message, Request) else None
    return "replied" if error is None else shown_name(type(error))


class _Sends:
    """The traces that want to see what processes send: while there are any, the refs tell them.

    Attributes:
        traces: those traces.
        is_within: true within a cast that was told of: with a context it becomes a message, which is not.
    """

    def __init__(self) -> None:
        self.is_within = False
        self.traces: tuple[TracePicture, ...] = ()

    def begin(self, trace: TracePicture) -> None:
        """Tell a trace of what is sent. Not a checkpoint."""
        if not self.traces:
            for owner, name, layer in _TELLING:
                put_on(owner, name, layer)
        self.traces = (*self.traces, trace)

    def end(self, trace: TracePicture) -> None:
        """Tell a trace nothing more; after the last one the plain functions are back. Not a checkpoint."""
        had, self.traces = self.traces, tuple(other for other in self.traces if other is not trace)
        if had and not self.traces:
            for owner, name, layer in _TELLING:
                take_off(owner, name, layer)

    def told(self, ref: Ref[Any], kind: str, method: Any, message: Any) -> None:
        """Tell the traces of the running process's node that it sends something."""
        node = ref._node()
        process = node.current
        if process is not None:
            for trace in self.traces:
                trace.sent(process, kind, method, message, ref)


_SENDS: Final = _Sends()


def _telling_send(plain: Callable[..., Any]) -> Callable[..., Any]:
    def send(self: LocalRef[Any], message: Any) -> None:
        if not _SENDS.is_within:
            inner = bare(message)
            if type(inner) is signals.Cast:
                _SENDS.told(self, "cast", inner.method, None)
            else:
                _SENDS.told(self, "message", None, inner)
        plain(self, message)

    return send


def _telling_cast(plain: Callable[..., Any]) -> Callable[..., Any]:
    def cast(self: LocalRef[Any], method: Any, /, *args: Any, **kwargs: Any) -> None:
        _SENDS.told(self, "cast", method, None)
        _SENDS.is_within = True
        try:
            plain(self, method, *args, **kwargs)
        finally:
            _SENDS.is_within = False

    return cast


def _telling_call(plain: Callable[..., Any]) -> Callable[..., Any]:
    async def call(self: Ref[Any], method: Any, /, *args: Any, **kwargs: Any) -> Any:
        _SENDS.told(self, "call", method, None)
        return await plain(self, method, *args, **kwargs)

    return call


def _telling_deliver(plain: Callable[..., Any]) -> Callable[..., Any]:
    def deliver(self: RemoteRef[Any], signal: Any) -> None:
        if isinstance(signal, signals.Send):
            _SENDS.told(self, "message", None, bare(signal.message))
        elif type(signal) is signals.Cast:
            _SENDS.told(self, "cast", signal.method, None)
        plain(self, signal)

    return deliver


_TELLING: Final[tuple[tuple[type, str, Layer], ...]] = (
    (LocalRef, "send", _telling_send),
    (LocalRef, "cast", _telling_cast),
    (LocalRef, "call", _telling_call),
    (RemoteRef, "deliver", _telling_deliver),
    (RemoteRef, "call", _telling_call),
)
