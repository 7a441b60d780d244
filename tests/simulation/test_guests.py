"""Guests in a world: on fuel, in virtual time, and gone with their host."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from wasmtime import wat2wasm

from enfilade.actors import Actor, Child, Down, Node, Process, Supervisor
from enfilade.actors.guests import Guest, open_guests
from enfilade.actors.simulation import World, run_simulation
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.engine import EngineConfig
from enfilade.hostcalls.kernel.runtime import Runtime
from tests.hostcalls.guests import ACTOR, CAPABILITIES

LOOPS = 60_000_000

COUNTING = bytes(
    wat2wasm(
        f"""(module (memory (export "memory") 17)
          (func (export "start") (local $n i32)
            (loop $more
              (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br_if $more (i32.lt_u (local.get $n) (i32.const {LOOPS}))))))"""
    )
)


class Clerk(Actor):
    """Notes when each message came."""

    seen: list[tuple[int, float]]

    def __init__(self, world: World, seen: list[tuple[int, float]]) -> None:
        self.now = world.now
        self.seen = seen

    def on_message(self, message: Any) -> None:
        self.seen.append((message, self.now()))


def test_sim_61_a_computing_guest_beside_messages_is_the_same_in_every_run() -> None:
    """As many turns and the same interleaving; each unit of fuel takes the host a nanosecond."""

    async def main(world: World) -> tuple[str, list[tuple[int, float]], float]:
        host = await world.open_node("east")
        seen: list[tuple[int, float]] = []

        async def work(me: Process) -> float:
            clerk = await me.node.spawn(Clerk, world, seen)
            began = world.now()
            guest = await me.node.spawn(Guest(COUNTING, limits=Limits(cpu_time=10.0)))
            watch = me.monitor(guest)
            for number in range(1_000_000):
                clerk.send(number)
                with trio.move_on_after(0.002):
                    down = await me.receive(Down)
                    assert down.monitor is watch
                    break
            return world.now() - began

        async def run() -> float:
            async with host.node.mailbox() as me:
                return await work(me)

        seconds = await world.on(host, run)
        return world.digest, seen, seconds

    first = run_simulation(main, seed=1)
    assert run_simulation(main, seed=1) == first
    _, seen, seconds = first
    assert LOOPS * 1e-9 <= seconds <= LOOPS * 20e-9
    assert len(seen) > 10


@pytest.mark.parametrize("moment", ["computing", "compiling", "parked", "frozen"])
def test_a_crash_takes_the_guests_of_its_life_along(moment: str) -> None:
    """Engine and memory are released at once; the next life has guests of its own, and so has the tenth."""

    async def main(world: World) -> None:
        engines: list[Runtime] = []

        async def compile_one() -> None:
            await engines[-1].load(COUNTING)

        async def boot(node: Node) -> None:
            engines.append(open_guests(node, engine=EngineConfig(max_guests=8)))
            if moment == "compiling":
                node.start_service(compile_one, "compiling")
                return
            child = Child(
                Guest(ACTOR, entrypoint="echo", capabilities=CAPABILITIES), id="guest", name="guest"
            )
            await node.spawn(Supervisor, [child])
            if moment == "computing":
                await node.spawn(Guest(COUNTING, limits=Limits(cpu_time=10.0)))

        host = await world.open_node("east", boot=boot)
        for _ in range(10):
            if moment == "frozen":
                world.freeze(host)
            else:
                await world.run(0.01)
            world.crash(host)
            assert engines[-1].kernel.engine.closed
            await world.restart(host, after=1.0)
        assert len({id(engine) for engine in engines}) == 11
        await world.run(1.0)

        async def ask() -> Any:
            return await host.node.named("guest").call(Guest.request, b"hello")

        if moment != "compiling":
            assert await world.on(host, ask) == b"hello"

    run_simulation(main, seed=1)
