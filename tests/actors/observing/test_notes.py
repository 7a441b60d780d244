"""Notes of events: read later, they say what a subscriber is told at once."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import KILL, Actor, Child, Node, Supervisor, open_node, system
from enfilade.actors.messages.hooks import call
from enfilade.actors.messages.reasons import KILLED, Crashed
from enfilade.actors.observing.events.notes import note_of, note_of_reason, read
from enfilade.actors.observing.events.reasons import why
from enfilade.actors.observing.events.records import NodeLinkDown, NodeLinkUp, NodeRefused
from enfilade.actors.processes.ended_process import EndedProcess


class Till(Actor):
    def touch(self) -> None:
        raise ValueError("broken")


async def tend(node: Node) -> None:
    """Whatever supervisors do: starts, restarts after a crash and a kill, a failure to start, the end."""
    children = [Child(Till, id="a", name="till", label="left"), Child(Till, id=2, restart="temporary")]
    supervisor = await node.spawn(Supervisor, children, intensity=2)
    a, b = [info.ref for info in await supervisor.call(Supervisor.children)]
    a.cast(Till.touch)
    await wait_all_tasks_blocked()
    b.exit(KILL)
    await wait_all_tasks_blocked()
    with pytest.raises(Exception, match="broken"):
        await supervisor.call(Supervisor.start_child, Child(Broken, id="c"))
    for _ in range(2):
        node.named("till").cast(Till.touch)
        await wait_all_tasks_blocked()
    assert supervisor.serial not in node.processes
    await wait_all_tasks_blocked()


class Broken(Actor):
    def __init__(self) -> None:
        raise ValueError("broken")


def shown(event: Any) -> dict[str, Any]:
    fields = attrs.asdict(event, recurse=False)
    del fields["at"]
    fields.pop("seconds", None)
    return {"kind": event.kind, **{name: repr(value) for name, value in fields.items()}}


async def test_the_reasons_of_node_links_are_texts() -> None:
    """They take one place of a note, and those of processes three."""
    async with open_node("shop") as node:
        call(node.hooks.node_up, "bank@east")
        call(node.hooks.node_down, "bank@east", "it hung up")
        call(node.hooks.node_refused, "a stranger")
        _, up, down, refused = node.timeline
    assert isinstance(up, NodeLinkUp)
    assert isinstance(down, NodeLinkDown)
    assert isinstance(refused, NodeRefused)
    assert (up.peer, down.peer, down.reason, refused.reason) == (
        "bank@east",
        "bank@east",
        "it hung up",
        "a stranger",
    )


async def test_a_note_says_what_a_subscriber_is_told() -> None:
    """The same events in the same order, with the same numbers and fields."""
    async with open_node("shop") as node:
        await tend(node)
        noted = [shown(event) for event in node.timeline]
    async with open_node("shop") as node:
        told: list[Any] = []
        node.attach("all", ("child.*", "supervisor.*"), lambda event, _: told.append(event))
        await tend(node)
        assert [shown(event) for event in node.timeline] == noted
        assert [shown(event) for event in told] == noted[1:]
    assert noted[0]["kind"] == "node.opened"
    kinds = [event["kind"] for event in noted]
    assert kinds.count("child.restarted") == 2
    assert {"child.started", "child.terminated", "child.start_failed", "child.removed"} < set(kinds)
    assert kinds.count("supervisor.gave_up") == 1


async def test_a_note_holds_no_process() -> None:
    async with open_node("shop") as node:
        ref = await node.spawn(Till, name="till")
        note = note_of(ref)
        await system.terminate(ref, KILLED)
        assert isinstance(ref._process, EndedProcess)
        assert note == (ref.serial, "till")
        fields = *note, *note_of_reason(KILLED), ("not", "a note")
        event = read((_ChildLike, 1, 2.0, fields), node)  # type: ignore[arg-type]
        assert event.ref == ref
        assert event.reason == why(KILLED)
        assert event.child_id == ("not", "a note")


@attrs.frozen
class _ChildLike:
    number: int
    at: float
    node: str
    ref: Any
    reason: Any
    child_id: Any


def test_a_reason_that_holds_something_is_put_into_words_at_once() -> None:
    crashed = Crashed(ValueError("broken"))
    assert note_of_reason(crashed) == (why(crashed), None, None)
