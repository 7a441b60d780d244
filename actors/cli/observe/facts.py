"""Processes and events in full, as lines: what is shown of them wherever there is room for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from enfilade.actors.cli.observe import words

__all__ = ["Fact", "event_facts", "process_facts"]

Fields = Mapping[str, Any]

REF: Final = re.compile(r"^<([^:<>]+):(\d+)[ >]")

SECONDS: Final = ("seconds", "period", "next_in", "uptime")
"""The fields of events that are lengths of time."""


@attrs.frozen
class Fact:
    """A line.

    Attributes:
        text: what it says.
        label: what that is, in a word or two; "" where the line speaks for itself.
        note: an addition, such as a place in the code.
        mood: "title" for a heading; "bad" or "dim"; or "".
        leads_to: the process that it speaks of, if that can be looked at; None.
    """

    text: str
    label: str = ""
    note: str = ""
    mood: str = ""
    leads_to: int | None = None


def process_facts(fields: Fields, node_name: str | None) -> list[Fact]:
    """The details of a process, but for its title.

    Args:
        fields: those of a process view.
        node_name: the full name of its node; processes of other nodes cannot be followed.
    """
    return list(_Process(fields, node_name).facts())


class _Process:
    def __init__(self, fields: Fields, node_name: str | None) -> None:
        self._fields = fields
        self._node_name = node_name

    def facts(self) -> Iterator[Fact]:
        get = self._fields.get
        if get("ended"):
            yield Fact(f"it has ended: {words.why(get('ended'))}", mood="bad")
        yield _fact("kind", get("kind"))
        yield _fact("name", get("name"))
        if get("label"):
            yield _fact("label", get("label"))
        child = "" if get("child_id") is None else f"child {words.one_line(get('child_id'))!r} of "
        if get("supervisor") is not None:
            yield _fact("supervisor", f"{child}process {get('supervisor')}", get("supervisor"))
            yield _fact("restarts", get("restarts") or 0)
        elif get("parent"):
            yield _fact("started by", f"process {get('parent')}", get("parent"))
        if get("started_at") is not None:
            yield _fact("started", words.moment(get("started_at") or 0.0))
        yield _fact("memory", f"about {words.size(get('memory'))}")
        if get("busy") is not None:
            handled = words.number(get("handled"))
            yield _fact("handled", f"{handled} messages, busy {words.share(get('busy'))} of the time")
        if get("method"):
            yield _fact("handles", get("method"))
        if get("waits_for"):
            yield _fact("waits for", get("waits_for"), self._serial(get("waits_for")))
        yield from self._mailbox()
        yield from self._refs("links", get("link_refs"))
        yield from self._refs("monitors", get("monitor_refs"))
        yield from self._refs("is monitored by", get("watcher_refs"))
        yield from self._refs("started for", get("callers"))
        yield from self._arena()
        yield from self._timers()
        yield from self._rest()
        yield from self._methods()
        yield from self._log()
        yield from self._stack()
        yield from self._state()

    def _mailbox(self) -> Iterator[Fact]:
        get = self._fields.get
        queued, capacity = get("queued") or 0, get("capacity")
        room = "" if capacity is None else f" of {capacity:,}, then {get('overflow')}"
        yield Fact(f"mailbox: {queued:,}{room}", mood="title")
        messages = get("messages") or []
        for number, message in enumerate(messages, 1):
            yield Fact(f"{number:>4}  {words.message_shown(message)}")
        if queued > len(messages):
            yield Fact(f"      and {queued - len(messages):,} more", mood="dim")
        if not queued:
            yield Fact("  no message waits", mood="dim")
        if get("oldest_age") is not None:
            yield _fact("the oldest", f"has waited for {words.age(get('oldest_age'))}")
        for field in ("deferred", "stashed"):
            if get(field):
                yield _fact(field, get(field))

    def _refs(self, title: str, refs: Any) -> Iterator[Fact]:
        if not refs:
            return
        yield Fact(f"{title}: {len(refs)}", mood="title")
        for ref in refs:
            yield Fact(f"  {words.ref_shown(ref)}", leads_to=self._serial(ref))

    def _arena(self) -> Iterator[Fact]:
        count, refs = self._fields.get("arena"), self._fields.get("arena_refs") or []
        if not count:
            return
        yield Fact(f"ends no sooner than {count:,} in its arena", mood="title")
        for ref in refs:
            yield Fact(f"  {words.ref_shown(ref)}", leads_to=self._serial(ref))
        if count > len(refs):
            yield Fact(f"  and {count - len(refs):,} more", mood="dim")

    def _timers(self) -> Iterator[Fact]:
        timers = self._fields.get("timer_rows") or []
        if timers:
            yield Fact(f"timers: {self._fields.get('timers'):,}", mood="title")
        for timer in timers:
            yield Fact(f"  {words.timer_shown(timer)}")

    def _methods(self) -> Iterator[Fact]:
        methods = self._fields.get("by_method") or []
        if methods:
            yield Fact("its statistics, by method", mood="title")
        for each in methods:
            mean, largest = f"{each['mean'] * 1e3:.3f}", f"{each['largest'] * 1e3:.3f}"
            text = f"{each['count']:,} times, {mean} ms on average, {largest} ms at most"
            yield _fact(words.one_line(each["what"]), text)

    def _log(self) -> Iterator[Fact]:
        lines = self._fields.get("log") or []
        if lines:
            yield Fact("the last lines of its log", mood="title")
        for line in lines:
            yield Fact(f"  {line['level']:<7} {words.one_line(line['message'])}")

    def _rest(self) -> Iterator[Fact]:
        get = self._fields.get
        facts = []
        if get("groups"):
            facts.append(_fact("groups", ", ".join(map(words.one_line, get("groups") or ()))))
        facts += [_fact(field, get(field)) for field in ("aliases",) if get(field)]
        if get("trap_exits"):
            facts.append(_fact("exit signals", "are turned into messages"))
        if facts:
            yield Fact("more", mood="title")
            yield from facts

    def _stack(self) -> Iterator[Fact]:
        stack = self._fields.get("stack")
        if stack:
            yield Fact("stack, the innermost last", mood="title")
            yield from map(_frame, stack)

    def _state(self) -> Iterator[Fact]:
        hidden, status = self._fields.get("hidden"), self._fields.get("status")
        if hidden or status is not None:
            yield Fact("state", mood="title")
        if hidden:
            yield Fact("  hidden: it needs the right to inspect", mood="dim")
        elif status is not None:
            yield Fact(f"  {words.one_line(status)}")

    def _serial(self, ref: Any) -> int | None:
        """The serial of a ref that is shown as text, if it is of this node."""
        found = REF.match(ref) if isinstance(ref, str) else None
        return int(found[2]) if found and found[1] == self._node_name else None


def event_facts(event: Fields, ago: float) -> list[Fact]:
    """An event in full; a crash report with its frames, message and state.

    Args:
        event: the event.
        ago: its age, in seconds.
    """
    return list(_event_facts(event, ago))


def _event_facts(event: Fields, ago: float) -> Iterator[Fact]:
    yield _fact("when", f"{words.age(int(ago))} ago, event {event['number']:,}")
    yield _fact("kind", event["kind"])
    for field in ("ref", "actor", "name", "label", "supervisor", "child_id", "old", "peer", "restarts"):
        if event.get(field) is not None:
            yield _fact(field.replace("_", " "), words.ref_shown(event[field]))
    if event.get("reason") is not None:
        yield _fact("reason", words.why(event["reason"]))
    message = event.get("message")
    if isinstance(message, Mapping):
        sender = "" if message.get("sender") is None else f" from {words.ref_shown(message['sender'])}"
        yield _fact("it handled", f"{message['kind']} {words.one_line(message.get('what') or '')}{sender}")
    if event.get("queued") is not None:
        yield _fact("waiting", f"{event['queued']:,} messages")
    yield from _error(event)
    if event.get("state"):
        yield Fact("")
        yield _fact("state", event["state"])
    known = {"ref", "actor", "name", "label", "supervisor", "child_id", "old", "peer", "reason", "message"}
    known |= {"kind", "number", "at", "node", "queued", "exception", "state", "hidden", "restarts"}
    for field, value in event.items():
        if field not in known and value is not None:
            shown = words.age(value) if field in SECONDS else words.ref_shown(value)
            yield _fact(field.replace("_", " "), shown)


def _error(event: Fields) -> Iterator[Fact]:
    error = event.get("exception")
    if not isinstance(error, Mapping):
        return
    yield Fact("")
    yield Fact(words.failure(event), mood="bad")
    yield from map(_frame, error.get("frames") or ())
    for note in error.get("notes") or ():
        yield Fact(f"  note: {words.one_line(note)}")
    if error.get("hidden"):
        yield Fact("  its text is hidden: it needs the right to inspect", mood="dim")


def _frame(frame: Fields) -> Fact:
    place = f"{words.one_line(frame['file'])}:{frame['line']}"
    return Fact(f"  {words.one_line(frame['function'])}", note=place)


def _fact(label: str, value: Any, leads_to: int | None = None) -> Fact:
    return Fact("-" if value is None else words.one_line(value), label, leads_to=leads_to)
