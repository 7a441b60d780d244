"""Calls, made and settled by the compiled core and by its twin."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest
import trio

from enfilade.actors import (
    Actor,
    Crashed,
    Deferred,
    Mailbox,
    NoProcess,
    NotPublic,
    Ref,
    Request,
    open_node,
    system,
)
from enfilade.actors.messages.layers import put_on, take_off
from enfilade.actors.messages.loop_bypass import IS_AVAILABLE
from enfilade.actors.processes.body import DispatchedBody
from enfilade.actors.processes.dispatcher import Dispatcher
from enfilade.actors.processes.local_ref import LocalRef
from enfilade.actors.processes.process import Process
from enfilade.actors.processes.record import Record
from tests.actors.test_core import Notebook, core, settled

__all__ = ["core"]


async def test_every_field_of_a_call(core: str) -> None:
    """By position or by name, from a process, from a mailbox that has closed, or from none."""
    fields = ("node", "target", "method", "args", "kwargs")
    async with open_node("n") as node:
        ref = await node.spawn(Notebook)
        async with node.mailbox() as me:
            own = me.ref
            by_position = Request(node, ref, "two", (1, 2), {"third": 3}, me)
        by_name = Request(node, ref, "two", args=(1, 2), kwargs={"third": 3}, caller=me)
        of_nobody = Request(node=node, target=ref, method="two", args=(), kwargs={}, caller=None)
        for call in (by_position, by_name):
            assert [getattr(call, name) for name in fields] == [node, ref, "two", (1, 2), {"third": 3}]
            assert call.caller == own
        assert of_nobody.caller is None
        for call in (by_position, by_name, of_nobody):
            assert (call.settled, call.value, call.error, call.waiter, call.observer) == (False, *[None] * 4)
        with pytest.raises(TypeError):
            Request(node, ref, "two", (), {})  # type: ignore[call-arg]


async def test_the_first_reply_counts_whoever_is_told(core: str) -> None:
    told: list[Any] = []
    async with open_node("n") as node:
        ref = await node.spawn(Notebook)
        alone: Request[int] = Request(node, ref, "two", (), {}, None)
        watched: Request[int] = Request(node, ref, "two", (), {}, None)
        awaited: Request[int] = Request(node, ref, "two", (), {}, None)
        watched.observe(lambda request: told.append(request.result()))
        async with trio.open_nursery() as nursery:

            async def waits() -> None:
                told.append(await awaited.receive(5))

            nursery.start_soon(waits)
            await settled()
            for request in (alone, watched, awaited):
                request.reply(1)
                request.reply(2)
                request.fail(LookupError("late"))
        assert [request.result() for request in (alone, watched, awaited)] == [1, 1, 1]
        assert told == [1, 1]


class Awaited(Actor):
    async def two(self, first: int, second: int) -> tuple[int, int]:
        return first, second


async def test_a_call_passes_through_the_layers_over_its_parts(core: str) -> None:
    """In C a call is made in one piece; while somebody watches a part of it, the twin calls that."""
    seen: list[str] = []

    def watching(name: str) -> Any:
        def layer(plain: Any) -> Any:
            def watched(*args: Any) -> Any:
                seen.append(name)
                return plain(*args)

            return watched

        return layer

    places = (DispatchedBody, "hand_off"), (Dispatcher, "step_with")
    layers = [(*place, watching(place[1])) for place in places]
    before = LocalRef.ask
    async with open_node("n") as node:
        sync, awaited = await node.spawn(Notebook), await node.spawn(Awaited)
        await settled()
        for layer in layers:
            put_on(*layer)
        try:
            assert await sync.call(Notebook.two, 1, 2) == (1, 2)
            assert await awaited.call(Awaited.two, 1, 2) == (1, 2)
        finally:
            for layer in reversed(layers):
                take_off(*layer)
        assert seen == (["hand_off", "step_with"] if IS_AVAILABLE else ["hand_off"])
        assert await sync.call(Notebook.two, 1, 2) == (1, 2)
    assert LocalRef.ask is before
    assert len(seen) <= 2


async def test_requests_pass_through_the_layers_over_what_queues_them(core: str) -> None:
    """Whichever layer came first: that over the part, or another over the whole."""
    seen: list[str] = []

    def seeing(name: str) -> Any:
        def layer(plain: Any) -> Any:
            def seen_to(*args: Any) -> Any:
                seen.append(name)
                return plain(*args)

            return seen_to

        return layer

    layers = [(Process, "request", seeing("request")), (Record, "put", seeing("put"))]
    before = Process.request
    async with open_node("n") as node, node.mailbox() as me:
        ref = await node.spawn(Notebook)
        for order in (layers, layers[::-1]):
            seen.clear()
            for layer in order:
                put_on(*layer)
            try:
                assert await me.request(ref, Notebook.two, 1, 2).receive() == (1, 2)
            finally:
                for layer in order:
                    take_off(*layer)
            assert seen == ["request", "put"]
    assert Process.request is before


async def test_requests_of_every_kind(core: str) -> None:
    """With and without arguments, of an actor with a bound, of one that has ended, and what is no method."""
    async with open_node("n") as node, node.mailbox() as me:
        ref: Ref[Any] = await node.spawn(Notebook)
        bounded: Ref[Any] = await node.spawn(Notebook, mailbox=Mailbox(2))
        ended: Ref[Any] = await node.spawn(Notebook)
        ended.cast(Notebook.fails)
        await settled()
        requests = [
            me.request(ref, Notebook.note),
            me.request(ref, Notebook.note, 1),
            me.request(ref, Notebook.note, 1, 2),
            me.request(ref, Notebook.note, 1, named=2),
            me.request(bounded, Notebook.two, 1, 2),
        ]
        assert [await request.receive() for request in requests] == [1, 2, 3, 4, (1, 2)]
        assert [(r.method, r.args, dict(r.kwargs)) for r in requests[:4]] == [
            ("note", (), {}),
            ("note", (1,), {}),
            ("note", (1, 2), {}),
            ("note", (1,), {"named": 2}),
        ]
        assert {request.caller for request in requests} == {me.ref}
        assert await ref.call(Notebook.all) == [(), (1,), (1, 2), (1, ("named", 2))]
        with pytest.raises(NoProcess):
            await me.request(ended, Notebook.note).receive()
        for wrong in ([], Notebook.on_message, object()):
            with pytest.raises(NotPublic):
                me.request(ref, wrong)
        with pytest.raises(TypeError):
            me.request("ref", Notebook.note)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            me.request(ref)  # type: ignore[call-arg]


class Broken:
    """Looks like a method until it is compared with one."""

    def __hash__(self) -> int:
        return hash(Notebook.note)

    def __eq__(self, other: object) -> bool:
        raise LookupError("on purpose")


async def test_what_cannot_be_compared_is_the_callers_mistake(core: str) -> None:
    async with open_node("n") as node, node.mailbox() as me:
        ref: Ref[Any] = await node.spawn(Notebook)
        with pytest.raises(LookupError):
            me.request(ref, Broken())
        with pytest.raises(LookupError):
            ref.cast(Broken())
        with pytest.raises(LookupError):
            await ref.call(Broken())
        assert await ref.call(Notebook.note) == 1


async def _nothing() -> None:
    """Is never awaited."""


class Relay(Actor):
    """Answers when another has."""

    def __init__(self, other: Ref[Any] | None) -> None:
        self.other = other
        self.notes: list[Any] = []

    def on_message(self, message: Any) -> None:
        self.notes.append(message)

    def ask(self, *values: Any) -> Deferred[Any]:
        reply = self.process.defer()
        assert self.other is not None
        self.process.request(self.other, Notebook.note, *values).then(self._told, reply)
        return reply

    def _told(self, request: Request[Any], reply: Deferred[Any]) -> None:
        self.notes.append("told")
        reply.reply(request.result())

    def goes_on(self, what: str, times: int = 1) -> None:
        for _ in range(times):
            self.process.continue_with(getattr(self, f"_{what}"))
        self.notes.append("went")

    def all(self) -> list[Any]:
        return self.notes

    def _notes(self) -> None:
        self.notes.append("noted")

    def _asks_for_more(self) -> None:
        self.process.continue_with(self._notes)

    def _fails(self) -> None:
        raise LookupError("on purpose")

    def _stops(self) -> None:
        self.process.stop()

    def _gives(self) -> object:
        return object()

    def _gives_coroutine(self) -> Any:
        return _nothing()


async def test_replies_that_wait_for_another(core: str) -> None:
    """Hundreds at a time, each answered with its own, and nothing is owed in the end."""
    async with open_node("n") as node, node.mailbox() as me:
        last: Ref[Any] = await node.spawn(Notebook)
        relay = await node.spawn(Relay, last)
        requests = [me.request(relay, Relay.ask, number) for number in range(300)]
        assert [await request.receive() for request in requests] == list(range(1, 301))
        record = relay._process
        assert record.extras_or_none is not None
        assert not record.extras_or_none.deferred
        assert await relay.call(Relay.all) == ["told"] * 300


@pytest.mark.parametrize(
    ("what", "notes"),
    [
        ("notes", ["went", "noted", "message"]),
        ("asks_for_more", ["went", "noted", "message"]),
        ("gives", ["went", "message"]),
    ],
)
async def test_what_continues_comes_before_the_next_message(core: str, what: str, notes: list[str]) -> None:
    async with open_node("n") as node:
        ref = await node.spawn(Relay, None)
        ref.cast(Relay.goes_on, what)
        ref.send("message")
        assert await ref.call(Relay.all) == notes
        ref.cast(Relay.goes_on, what, 3)
        await settled()
        assert (await ref.call(Relay.all))[len(notes) :] == ["went", *[n for n in notes if n == "noted"] * 3]


@pytest.mark.parametrize("what", ["fails", "gives_coroutine", "stops"])
async def test_what_continues_may_end_the_actor(core: str, what: str) -> None:
    async with open_node("n") as node, node.mailbox() as me:
        ref = await node.spawn(Relay, None)
        me.monitor(ref)
        ref.cast(Relay.goes_on, what, 2)
        ref.send("message")
        reason = (await me.receive()).reason
        assert (type(reason) is Crashed) == (what != "stops")
        if what == "fails":
            assert isinstance(reason.error, LookupError)


async def test_what_continues_waits_while_the_actor_is_suspended(core: str) -> None:
    async with open_node("n") as node:
        ref = await node.spawn(Relay, None)
        await system.suspend(ref)
        ref.cast(Relay.goes_on, "notes")
        await settled()
        await system.resume(ref)
        assert await ref.call(Relay.all) == ["went", "noted"]


async def test_an_observer_that_raises_ends_who_asked(core: str) -> None:
    """It is told within the callee's turn, and is the caller's own."""

    def raises(_: Request[Any]) -> None:
        raise LookupError("on purpose")

    async with open_node("n") as node, node.mailbox() as me:
        callee: Ref[Any] = await node.spawn(Notebook)
        caller = await node.spawn(Relay, None)
        me.monitor(caller)
        request = caller._process.request(callee, Notebook.note)
        request.observe(raises)
        reason = (await me.receive()).reason
        assert isinstance(reason, Crashed)
        assert isinstance(reason.error.__cause__, LookupError)
        assert await callee.call(Notebook.note) == 2


async def test_no_reference_is_lost_or_kept_by_replies(core: str) -> None:
    value = object()
    async with open_node("n") as node, node.mailbox() as me:
        relay = await node.spawn(Relay, await node.spawn(Notebook))
        other: Ref[Any] = await node.spawn(Notebook)

        async def round_() -> None:
            requests = [me.request(relay, Relay.ask) for _ in range(50)]
            requests += [me.request(other, Notebook.two, value, value) for _ in range(50)]
            relay.cast(Relay.goes_on, "notes", 50)
            for request in requests:
                await request.receive()
            await relay.call(Relay.all)
            relay._process.actor.notes.clear()
            del requests

        counts = []
        for _ in range(4):
            await round_()
            gc.collect()
            counted = (value, relay._process, other._process, Notebook.two, None.__class__, Deferred, Request)
            counts.append([sys.getrefcount(each) for each in counted])
        assert counts[-1] == counts[-2] == counts[-3]


class Owing(Actor):
    """Defers, and continues, where that is a mistake."""

    def twice(self) -> Deferred[Any]:
        deferred = self.process.defer()
        with pytest.raises(RuntimeError):
            self.process.defer()
        deferred.reply("once")
        with pytest.raises(RuntimeError):
            self.process.defer()
        return deferred

    def in_cast(self, notes: list[str]) -> None:
        try:
            self.process.defer()
        except RuntimeError:
            notes.append("refused")

    def continues(self) -> str:
        for wrong in ((), (None,)):
            with pytest.raises(TypeError):
                self.process.continue_with(*wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            self.process.continue_with(fails, named=1)  # type: ignore[call-arg]
        return "refused"


def fails() -> None:
    raise LookupError("on purpose")


async def test_mistakes_of_who_defers_and_continues(core: str) -> None:
    notes: list[str] = []
    async with open_node("n") as node, node.mailbox() as me:
        ref = await node.spawn(Owing)
        assert await me.request(ref, Owing.twice).receive() == "once"
        assert await ref.call(Owing.twice) == "once"
        ref.cast(Owing.in_cast, notes)
        assert await me.request(ref, Owing.continues).receive() == "refused"
        assert notes == ["refused"]


class Last:
    """Does something when the last reference to it is gone."""

    def __init__(self, does: Callable[[], None]) -> None:
        self.does = does

    def __del__(self) -> None:
        self.does()


class Finalized(Actor):
    """Continues with what a finalizer follows."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    def goes_on(self, then: str) -> None:
        does = {
            "continues": lambda: self.process.continue_with(self.notes.append, "at the end"),
            "sends": lambda: self.process.ref.send("at the end"),
            "stops": self.process.stop,
        }[then]
        self.process.continue_with(self._notes, Last(does))

    def _notes(self, last: Last) -> None:
        self.notes.append("went on")

    def on_message(self, message: str) -> None:
        self.notes.append(message)


@pytest.mark.parametrize(
    ("then", "noted"),
    [
        ("continues", ["went on", "at the end", "message"]),
        ("sends", ["went on", "message", "at the end"]),
        ("stops", ["went on"]),
    ],
)
async def test_what_a_finalizer_does_in_the_middle(core: str, then: str, noted: list[str]) -> None:
    notes: list[str] = []
    async with open_node("n") as node:
        ref = await node.spawn(Finalized, notes)
        ref.cast(Finalized.goes_on, then)
        ref.send("message")
        await settled()
        assert notes == noted
