"""Tracebacks that hold nothing: what is kept of an error once its process has ended.

A traceback holds frames, and a frame holds every local variable of its function and of the functions that
called it: the actor, its state, the message, deferred replies. An exit reason lives as long as anybody has
a ref to the dead process. So the traceback is replaced by one of *outlines*: frames that show the same file,
line and function, and have never run. One outline serves every crash at that place, so that this costs less
than a microsecond for a frame.

`formatted` shows an error to people, with all of its causes, within a few kilobytes.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any, Final

from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.kinds import module_of
from enfilade.actors.messages.safe_text import safe_repr, safe_str, shown_name

__all__ = ["formatted", "hide_frame", "members_of", "outline", "program_part", "set_trace", "trace_of"]


OUTERMOST: Final = 16
INNERMOST: Final = 48
"""How many frames of a traceback are kept: so many at its beginning, and so many at its end."""

ERRORS: Final = 1_000
"""How many errors of one tree of causes and groups are looked at."""

OUTLINES: Final = 4_096
"""How many outlines of functions are kept for the next crash."""

CAUSES: Final = 10
MEMBERS: Final = 5
LEVELS: Final = 4
SHOWN: Final = 30
"""How much of a tree of errors is shown: causes of each, members of each group, groups in groups, in all."""

LARGEST_MESSAGE: Final = 2_000
LARGEST: Final = 30_000
"""Characters of an error's message, and of the whole."""

_RUNTIME: Final = __name__.removesuffix(".messages.tracebacks")
_PROGRAMS: Final = (f"{_RUNTIME}.cli.", f"{_RUNTIME}.testing.")

_IS_OUTLINE: Final = "__outline__"
_KEPT: Final = ("__name__", "__package__", "__file__", "__loader__")

_outlines: dict[int, tuple[CodeType, FrameType]] = {}


def _slot(kind: type, name: str) -> tuple[Callable[[object], Any], Callable[[object, Any], None]]:
    """Return getter and setter of an attribute that no subclass can override."""
    descriptor = kind.__dict__[name]
    return descriptor.__get__, descriptor.__set__


trace_of, set_trace = _slot(BaseException, "__traceback__")
_cause_of = _slot(BaseException, "__cause__")[0]
_context_of = _slot(BaseException, "__context__")[0]
_is_context_suppressed = _slot(BaseException, "__suppress_context__")[0]
members_of = BaseExceptionGroup.__dict__["exceptions"].__get__
_set_subject = _slot(AttributeError, "obj")[1]


def hide_frame(error: BaseException) -> None:
    """Take the outermost frame out of the traceback of `error`. Never raises."""
    trace = trace_of(error)
    if trace is not None:
        set_trace(error, trace.tb_next)


def program_part(trace: TracebackType) -> TracebackType | None:
    """Return a traceback from its first frame that is not the runtime's; None if all of them are."""
    step: TracebackType | None = trace
    while step is not None and _is_the_runtimes(step.tb_frame):
        step = step.tb_next
    return step


def _is_the_runtimes(frame: FrameType) -> bool:
    """Return true for code of the runtime, false for that of the programs that come with it."""
    package = frame.f_globals.get("__package__", __package__)  # what attrs generates belongs to none
    inside = f"{package}."
    return inside.startswith(f"{_RUNTIME}.") and not inside.startswith(_PROGRAMS)


@attempt(None)
def outline(error: BaseException) -> None:
    """Make `error`, its causes and its members let go of the frames that they came through. Never raises."""
    pending = [error]
    seen: set[int] = set()
    while pending:
        error = pending.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        trace = trace_of(error)
        if len(seen) > ERRORS:
            set_trace(error, None)
            continue
        if trace is not None:
            set_trace(error, _outlined(trace))
        kind = type(error)
        if issubclass(kind, AttributeError):
            _set_subject(error, None)  # the object that lacks the attribute: often the actor itself
        others = (_cause_of(error), _context_of(error))
        pending.extend(other for other in others if other is not None)
        if issubclass(kind, BaseExceptionGroup):
            pending.extend(members_of(error)[:ERRORS])


def _outlined(trace: TracebackType) -> TracebackType | None:
    """Return the same traceback without its frames; the middle of a long one is left out."""
    places: list[tuple[FrameType, int]] = []
    step: TracebackType | None = trace
    is_new = False
    while step is not None:
        frame = step.tb_frame
        is_new = is_new or _IS_OUTLINE not in frame.f_globals
        places.append((frame, step.tb_lineno))
        step = step.tb_next
    if len(places) > OUTERMOST + INNERMOST:
        del places[OUTERMOST:-INNERMOST]
    elif not is_new:
        return trace
    result: TracebackType | None = None
    for frame, line in reversed(places):
        result = TracebackType(result, _outline_of(frame), -1, line)
    return result


def _outline_of(frame: FrameType) -> FrameType:
    """Return a frame of the same function that has no variables and no caller."""
    if _IS_OUTLINE in frame.f_globals:
        return frame
    code = frame.f_code
    known = _outlines.get(id(code))
    if known is not None:
        return known[1]
    within: dict[str, Any] = {key: frame.f_globals[key] for key in _KEPT if key in frame.f_globals}
    within[_IS_OUTLINE] = True
    drawn = _empty.__code__.replace(
        co_filename=code.co_filename,
        co_name=code.co_name,
        co_qualname=code.co_qualname,
        co_firstlineno=code.co_firstlineno,
    )
    made: FrameType = FunctionType(drawn, within)().gi_frame  # which, unlike other frames, has no caller
    if len(_outlines) >= OUTLINES:
        _outlines.clear()
    _outlines[id(code)] = (code, made)
    return made


def _empty() -> Iterator[None]:
    yield


def formatted(error: BaseException) -> str:
    """Return the traceback of `error`, as Python shows it, in at most some kilobytes. Never raises.

    Where the program's code ran, it begins there: how the runtime came to call that helps nobody.
    No line of it can be taken for one of the log: messages are on one line, behind the name of their class.
    """
    return _formatted(error) or safe_repr(error)


@attempt(None)
def _formatted(error: BaseException) -> str | None:
    text = "\n".join(_lines(error, 0, [SHOWN]))
    return text if len(text) <= LARGEST else f"{text[:LARGEST]}\n  ..."


def _lines(error: BaseException, level: int, left: list[int]) -> Iterator[str]:
    """Yield the lines of an error; `left`: how many more errors may be shown."""
    chain: list[tuple[BaseException, str]] = []
    seen: set[int] = set()
    link = ""
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        if left[0] <= 0 or len(chain) >= CAUSES:
            yield "  ... and more errors"
            break
        left[0] -= 1
        seen.add(id(following))
        chain.append((following, link))
        cause = _cause_of(following)
        if cause is not None:
            following, link = cause, "The above exception was the direct cause of the following exception:"
        elif _is_context_suppressed(following):
            break
        else:
            following = _context_of(following)
            link = "During handling of the above exception, another exception occurred:"
    for each, link in reversed(chain):
        yield from _one_error(each, level, left)
        if link:
            yield from ("", link, "")


def _one_error(error: BaseException, level: int, left: list[int]) -> Iterator[str]:
    trace = trace_of(error)
    if trace is not None:
        yield "Traceback (most recent call last):"
        yield from _frames(trace)
    kind = type(error)
    name = shown_name(kind)
    module = module_of(kind)
    if module not in ("builtins", "__main__"):
        name = f"{safe_str(module)}.{name}"
    message = safe_str(error, LARGEST_MESSAGE)
    yield f"{name}: {message}" if message else name
    for note in _notes(error):
        yield f"  {note}"
    if issubclass(kind, BaseExceptionGroup):
        members = members_of(error)
        for number, member in enumerate(members[:MEMBERS], 1):
            yield f"  member {number} of {len(members)}:"
            if level == LEVELS or left[0] <= 0:
                yield f"    {safe_repr(member)}"
                break
            yield from (f"    {line}" for line in _lines(member, level + 1, left))
        if len(members) > MEMBERS:
            yield f"  ... and {len(members) - MEMBERS} more members"


def _frames(trace: TracebackType) -> Iterator[str]:
    step: TracebackType | None = _outlined(program_part(trace) or trace)
    while step is not None:
        frame = step.tb_frame
        file, line = frame.f_code.co_filename, step.tb_lineno
        yield f'  File "{safe_str(file, 500)}", line {line}, in {safe_str(frame.f_code.co_name)}'
        source = linecache.getline(file, line, frame.f_globals).strip()
        if source:
            yield f"    {safe_str(source)}"
        step = step.tb_next


@attempt(())
def _notes(error: BaseException) -> Sequence[str]:
    notes: Any = getattr(error, "__notes__", None)
    if type(notes) not in (list, tuple):
        return ()
    return [safe_str(note, LARGEST_MESSAGE) for note in notes[:20]]
