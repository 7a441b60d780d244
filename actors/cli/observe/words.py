"""Numbers, times, reasons and events in words: the same wherever a node is shown."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from enfilade.actors.cli.operator import one_line

__all__ = [
    "age",
    "described",
    "headline",
    "message_shown",
    "moment",
    "number",
    "one_line",
    "ref_shown",
    "share",
    "size",
    "timer_shown",
    "why",
    "yes_no",
]

NOTHING: Final = "-"

UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def number(value: float | None) -> str:
    """A count or a rate, in few characters: `7`, `1,024`, `3.2`, `48k`, `1.5M`."""
    if value is None:
        return NOTHING
    if value < 10 and value != int(value):
        return f"{value:.1f}"
    if value < 100_000:
        return f"{value:,.0f}"
    return f"{value / 1e3:,.0f}k" if value < 1e6 else f"{value / 1e6:,.1f}M"


def size(value: float | None) -> str:
    """Bytes: `812 B`, `3.4 MiB`."""
    if value is None:
        return NOTHING
    power = min(len(UNITS) - 1, int(math.log2(max(value, 1)) // 10))
    scaled = value / 1024**power
    return f"{scaled:.1f} {UNITS[power]}" if power and scaled < 100 else f"{scaled:.0f} {UNITS[power]}"


def share(value: float | None) -> str:
    """A share of 1 as a percentage: `0%`, `<1%`, `42%`."""
    if value is None:
        return NOTHING
    return "<1%" if 0 < value < 0.01 else f"{value:.0%}"


def moment(at: float) -> str:
    """A moment of Unix time: `2026-03-01 12:30:05 UTC`."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def age(seconds: float | None) -> str:
    """A length of time, in at most two units: `40ms`, `12s`, `3m04s`, `5h12m`, `9d`."""
    if seconds is None:
        return NOTHING
    if seconds <= 0:
        return "0s"
    if seconds < 0.001:
        return "<1ms"
    if seconds < 1:
        return f"{seconds * 1e3:.0f}ms"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        large, small, unit = whole // 60, whole % 60, ("m", "s")
    elif whole < 86_400:
        large, small, unit = whole // 3600, whole % 3600 // 60, ("h", "m")
    else:
        large, small, unit = whole // 86_400, whole % 86_400 // 3600, ("d", "h")
    return f"{large}{unit[0]}{small:02}{unit[1]}" if small else f"{large}{unit[0]}"


def yes_no(value: bool | None) -> str:
    """A yes or no."""
    return NOTHING if value is None else "yes" if value else "no"


def ref_shown(value: Any) -> str:
    """A ref of an event: `<bank@east:12 ledger>`."""
    text = value.get("text") if isinstance(value, Mapping) else value
    return NOTHING if text is None else one_line(text)


def why(value: Any) -> str:
    """A reason: its text, or its type where the text is hidden."""
    if not isinstance(value, Mapping):
        return NOTHING if value is None else one_line(value)
    text = value.get("text")
    return one_line(text) if text else f"{one_line(value.get('type', ''))} (text hidden)"


def message_shown(message: Mapping[str, Any]) -> str:
    """A message in a mailbox: `cast pay(…)`, `message Invoice`, and its contents where they may be seen."""
    what = one_line(message["method"] or message["type"] or "")
    text = f"{message['kind']} {what}"
    if message.get("hidden"):
        return f"{text}({'…' if message['arguments'] else ''})" if message["method"] else text
    return text if message.get("contents") is None else f"{text}  {one_line(message['contents'])}"


def timer_shown(timer: Mapping[str, Any]) -> str:
    """A timer of a process: `keyed 'flush', in 3s, again and again: Flush`."""
    key = "" if timer["key"] is None else f" {one_line(timer['key'])!r}"
    again = ", again and again" if timer["periodic"] else ""
    message = "" if timer["message"] is None else f": {one_line(timer['message'])}"
    return f"{timer['kind']}{key}, in {age(timer['due_in'])}{again}{message}"


def described(event: Mapping[str, Any]) -> str:
    """The text of an event, in one line, without its time."""
    kind, get = event["kind"], event.get
    child = _child(event)
    texts: dict[str, Callable[[], str]] = {
        "child.started": lambda: f"{child} started",
        "child.terminated": lambda: (
            f"{child} ended: {why(get('reason'))}" + ("" if get("will_restart") else ", not restarted")
        ),
        "child.restarted": lambda: (
            f"{child} restarted, {get('in_period')} of {get('intensity')}"
            + ("" if get("seconds") is None else f", after {age(get('seconds'))}")
        ),
        "child.start_failed": lambda: (
            f"{child} did not start: {why(get('reason'))}"
            + ("" if get("next_in") is None else f", next attempt in {age(get('next_in'))}")
        ),
        "child.removed": lambda: f"{child} removed",
        "supervisor.gave_up": lambda: (
            f"gave up over {child}: {get('restarts')} restarts within {age(get('period'))}"
        ),
        "process.crashed": lambda: f"{headline(event)} crashed: {failure(event)}",
        "process.unkillable": lambda: f"{ref_shown(get('ref'))} does not end though it was killed",
        "process.slow": lambda: f"{ref_shown(get('ref'))} held the loop for {age(get('seconds'))}",
        "loop.held": lambda: (
            f"{_held_by(event)} held the loop for {age(get('seconds'))}, in {one_line(get('place'))}"
        ),
        "process.deadlock": lambda: "calls in a circle: " + ", ".join(map(one_line, get("calls") or ())),
        "node.up": lambda: f"connected to {one_line(get('peer'))}",
        "node.down": lambda: f"lost {one_line(get('peer'))}: {one_line(get('reason'))}",
        "node.refused": lambda: f"refused a node: {one_line(get('reason'))}",
        "node.opened": lambda: "the node is open",
        "node.stopping": lambda: f"the node stops: {why(get('reason'))}",
        "node.stopped": lambda: "the node has stopped",
    }
    if kind in texts:
        return texts[kind]()
    rest = {name: value for name, value in event.items() if name not in ("kind", "number", "at", "node")}
    return ", ".join(f"{name} {ref_shown(value)}" for name, value in rest.items() if value is not None)


def headline(event: Mapping[str, Any]) -> str:
    """Name the process of a crash: `Ledger 'ledger'`, else `Ledger` and its ref."""
    actor = one_line(event.get("actor") or "process")
    name = event.get("name") or event.get("label")
    return f"{actor} {one_line(name)!r}" if name else f"{actor} {ref_shown(event.get('ref'))}"


def failure(event: Mapping[str, Any]) -> str:
    """The cause of a crash: the exception, else the reason."""
    error = event.get("exception")
    if not error:
        return why(event.get("reason"))
    text = error.get("text")
    return one_line(f"{error['type']}: {text}" if text else error["type"])


def _held_by(event: Mapping[str, Any]) -> str:
    return "a task" if event.get("ref") is None else ref_shown(event["ref"])


def _child(event: Mapping[str, Any]) -> str:
    child_id = event.get("child_id")
    return ref_shown(event.get("ref")) if child_id is None else one_line(child_id)
