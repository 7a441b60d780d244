"""Guards: what is asked before each turn of a process, and ends it."""

import pytest
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import Actor, Node, ProcessDied, open_node
from enfilade.actors.messages.reasons import KILL, LeaseLost, Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.processes.local_ref import process_of


class Counter(Actor):
    def __init__(self) -> None:
        self.count = 0

    def add(self, number: int) -> int:
        self.count += number
        return self.count

    def fail(self) -> None:
        raise ValueError("no")

    def kill_yourself(self) -> int:
        self.process.ref.exit(KILL)
        return self.count

    def on_message(self, message: int) -> None:
        self.count += message


class Slow(Counter):
    async def add(self, number: int) -> int:  # type: ignore[override]
        self.count += number
        return self.count


class Guard:
    """A guard that counts how often it is asked."""

    def __init__(self, ref: Ref[Counter]) -> None:
        self.asked = 0
        self.reason: Reason | None = None
        process = process_of(ref)
        assert process is not None
        self.process = process
        process.guard_by(self)

    def __call__(self) -> Reason | None:
        self.asked += 1
        return self.reason


async def guarded(node: Node, kind: type[Counter]) -> tuple[Ref[Counter], Guard]:
    ref: Ref[Counter] = await node.spawn(kind)
    return ref, Guard(ref)


@pytest.mark.parametrize("kind", [Counter, Slow])
async def test_the_guard_is_asked_before_each_turn(kind: type[Counter]) -> None:
    """Calls and messages stay in order, and the turn that the guard refuses does not happen."""
    async with open_node("n") as node:
        ref, guard = await guarded(node, kind)
        for number in range(1, 4):
            asked = guard.asked
            assert await ref.call(kind.add, 1) == number
            assert guard.asked > asked
        ref.send(10)
        assert await ref.call(kind.add, 1) == 14
        await wait_all_tasks_blocked()
        guard.reason = LeaseLost("x")
        with pytest.raises(ProcessDied, match="lease lost"):
            await ref.call(kind.add, 1)
        assert guard.process.ended == LeaseLost("x")
        assert guard.process.ended is not None


async def test_a_crash_and_a_kill_in_a_turn_end_a_guarded_process() -> None:
    async with open_node("n") as node:
        ref, guard = await guarded(node, Counter)
        with pytest.raises(ProcessDied, match="no"):
            await ref.call(Counter.fail)
        assert guard.process.ended is not None
        ref, guard = await guarded(node, Counter)
        assert await ref.call(Counter.kill_yourself) == 0
        await wait_all_tasks_blocked()
        assert guard.process.ended is not None


async def test_a_call_to_a_guarded_process_needs_no_turn_of_the_loop() -> None:
    """It is handed off, as to any other, once the guard has been asked."""
    async with open_node("n") as node:
        ref, guard = await guarded(node, Counter)
        await ref.call(Counter.add, 1)
        await wait_all_tasks_blocked()
        call = ref.call(Counter.add, 1)
        with pytest.raises(StopIteration) as returned:
            call.send(None)
        assert returned.value.value == 2
        assert guard.process.attention, "the guard goes on"
