"""Random guests against a model of docs/guests.md, "The ABI", written as plainly as that reads."""

from __future__ import annotations

import struct
from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from enfilade.hostcalls.engine import DROPPED, TAKEN, Engine, EngineConfig, Step
from tests.hostcalls.engine.script import (
    DRAIN,
    FAILED,
    GRANTED,
    PENDING,
    RESULT,
    YIELD,
    Instruction,
    Op,
    ScriptRunner,
    create,
    drop,
    poll,
)


class Model:
    """What a guest sees, and what the host must be told."""

    def __init__(self) -> None:
        self.states: dict[int, str] = {}
        self.payloads: dict[int, bytes] = {}
        self.wakers: dict[int, int] = {}
        self.freed: list[int] = []
        self.used = 0
        self.ring: deque[int] = deque()
        self.waiting: deque[int] = deque()
        self.flag = 0
        self.task = 0
        self.told: list[
            tuple[int, int]
        ] = []  # futures and what became of them, that the host has not taken yet

    def deliver(self) -> None:
        while self.waiting and len(self.ring) < 256:
            self.ring.append(self.waiting.popleft())
            self.flag = 1

    def wake(self, task: int) -> None:
        self.waiting.append(task)
        self.deliver()

    def create(self, state: str) -> int:
        self.deliver()
        future = self.freed.pop() if self.freed else self.used
        self.used = max(self.used, future + 1)
        self.states[future] = state
        if state == "pending":
            self.told.append((future, GRANTED))
        return future

    def remove(self, future: int) -> None:
        del self.states[future]
        self.wakers.pop(future, None)
        self.freed.append(future)

    def poll(self, future: int, task: int) -> int:
        self.deliver()
        state = self.states.get(future)
        if state is None:
            return FAILED
        if state == "pending":
            self.wakers[future] = task
            return PENDING
        if state == "denied":
            self.remove(future)
            return FAILED
        self.wake(task)
        if state == "offered":
            self.told.append((future, TAKEN))
        self.remove(future)
        return FAILED if state == "failed" else len(self.payloads[future])

    def drop(self, future: int) -> int:
        self.deliver()
        if future not in self.states:
            return FAILED
        if self.states[future] in ("pending", "offered"):
            self.told.append((future, DROPPED))
        self.remove(future)
        return 0

    def resolve(self, future: int, state: str, payload: bytes) -> None:
        self.states[future] = state
        self.payloads[future] = payload
        if future in self.wakers:
            self.wake(self.wakers.pop(future))

    def drain(self) -> int:
        count = len(self.ring)
        self.ring.clear()
        self.flag = 0
        return count


ids = st.integers(0, 12)
outcomes = st.sampled_from(["ready", "offered", "failed"])
steps = st.one_of(
    st.tuples(st.just("create")),
    st.tuples(st.just("denied")),
    st.tuples(st.just("poll"), ids),
    st.tuples(st.just("drop"), ids),
    st.tuples(st.just("drain")),
    st.tuples(st.just("yield"), st.lists(st.tuples(ids, outcomes, st.binary(max_size=20)), max_size=6)),
)


@settings(max_examples=150)
@given(st.lists(steps, min_size=1, max_size=60))
def test_a_random_guest_sees_what_the_model_sees(plan: list[tuple[object, ...]]) -> None:
    program: list[Instruction] = []
    task = 1000
    for step in plan:
        task += 1
        match step:
            case ("create",):
                program.append(create(0, 4))
            case ("denied",):
                program.append((Op.CREATE_DENIED,))
            case ("poll", int(future)):
                program.append(poll(future, task, RESULT, 64))
            case ("drop", int(future)):
                program.append(drop(future, RESULT, 64))
            case ("drain",):
                program.append(DRAIN)
            case _:
                program.append(YIELD)
    with Engine(config=EngineConfig(max_guests=1, workers=0)) as engine:
        check(ScriptRunner(engine), plan, program)


def check(runner: ScriptRunner, plan: list[tuple[object, ...]], program: list[Instruction]) -> None:
    run = runner(program)
    model = Model()
    expected: list[int] = []
    keys: dict[int, int] = {}  # of the futures that are pending in the model
    step = run.run()
    for instruction, operands in zip(plan, program, strict=True):
        match instruction:
            case ("create",):
                expected.append(model.create("pending"))
            case ("denied",):
                expected.append(model.create("denied"))
            case ("poll", int(future)):
                expected.append(model.poll(future, operands[2]))
            case ("drop", int(future)):
                expected.append(model.drop(future))
            case ("drain",):
                expected.append(model.drain())
            case ("yield", list(answers)):
                expected.append(0)
                model.deliver()
                if model.flag:
                    continue
                assert step is Step.PARKED
                taken = run.instance.submissions()
                assert [(key & 0xFFFF_FFFF, index) for key, index, _ in taken] == model.told
                keys.update((key & 0xFFFF_FFFF, key) for key, index, _ in taken if index == GRANTED)
                model.told.clear()
                for future, outcome, payload in answers:
                    if model.states.get(future) == "pending" and future in keys:
                        model.resolve(future, outcome, payload)
                        if outcome == "ready":
                            run.instance.complete(keys[future], payload)
                        elif outcome == "offered":
                            run.instance.offer(keys[future], payload)
                        else:
                            run.instance.fail(keys[future], payload.hex())
                assert run.ring() == list(model.ring)
                assert run.instance.runnable == bool(model.flag)
                if not model.flag:
                    run.instance.release()
                step = run.run()
    assert step is Step.FINISHED
    assert run.results() == expected
    assert run.ring() == list(model.ring)
    flag, head, tail = struct.unpack("<3I", run.instance.read(4, 12))
    assert (flag, tail - head) == (model.flag, len(model.ring))
