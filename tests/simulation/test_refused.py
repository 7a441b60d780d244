"""What a simulated host cannot have: each is refused with the host and the place, and fails the world."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import queue
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import trio

from enfilade.actors import Node, Process
from enfilade.actors.simulation import Nondeterministic, World, run_simulation
from tests.simulation.test_edges import state

REAL: dict[str, Callable[[], Any]] = {
    "thread": lambda: threading.Thread(target=print).start(),
    "timer": lambda: threading.Timer(1.0, print).start(),
    "pool": lambda: ThreadPoolExecutor(1).submit(print),
    "process": lambda: subprocess.run(["true"]),
    "multiprocessing": lambda: multiprocessing.get_context("fork").Process(target=print).start(),
    "fork": lambda: os.fork(),
    "system": lambda: os.system("true"),
    "socket": lambda: socket.socket(),
    "socketpair": lambda: socket.socketpair(),
    "connect": lambda: socket.create_connection(("127.0.0.1", 9)),
    "name": lambda: socket.getaddrinfo("localhost", 80),
    "select": lambda: select.select([0], [], [], 0),
    "poll": lambda: select.poll(),
    "kill": lambda: os.kill(os.getpid(), 0),
    "alarm": lambda: signal.alarm(0),
    "queue": lambda: queue.Queue().get(timeout=0.01),
    "event": lambda: threading.Event().wait(0.01),
    "asyncio": lambda: asyncio.run(asyncio.sleep(0)),
    "from thread": lambda: trio.from_thread.run_sync(print),
    "popen": lambda: os.popen("true"),
}


@pytest.mark.parametrize("use", REAL.values(), ids=REAL)
def test_what_is_real_is_refused_with_the_host_and_the_place(use: Callable[[], Any]) -> None:
    async def main(world: World) -> None:
        host = await world.open_node("bank")
        await world.on(host, use)

    before = state()
    with pytest.raises(Nondeterministic, match="host 'bank'") as caught:
        run_simulation(main, seed=1)
    assert any(str(entry.path) == __file__ for entry in caught.traceback[1:]), "the place"
    assert state() == before


@pytest.mark.parametrize("use", REAL.values(), ids=REAL)
def test_a_process_that_hides_the_refusal_fails_the_world_all_the_same(use: Callable[[], Any]) -> None:
    async def main(world: World) -> None:
        async def boot(node: Node) -> None:
            async def hide(me: Process) -> None:
                with suppress(BaseException):
                    use()

            await node.spawn(hide)

        await world.open_node("bank", boot=boot)
        await world.run(1)

    with pytest.raises(Nondeterministic, match="host 'bank'"):
        run_simulation(main, seed=1)


def test_wait_readable_of_a_real_descriptor() -> None:
    read, write = os.pipe()

    async def main(world: World) -> None:
        host = await world.open_node("bank")
        await world.on(host, trio.lowlevel.wait_readable, read)

    try:
        with pytest.raises(Nondeterministic, match="descriptor"):
            run_simulation(main, seed=1)
    finally:
        os.close(read)
        os.close(write)


def test_trio_processes_and_sockets_are_refused() -> None:
    uses: list[Callable[[], Any]] = [
        lambda: trio.run_process(["true"]),  # noqa: ASYNC105
        lambda: trio.open_tcp_stream("127.0.0.1", 9),  # noqa: ASYNC105
        lambda: trio.open_tcp_listeners(0),  # noqa: ASYNC105
    ]
    for use in uses:

        async def main(world: World, use: Callable[[], Any] = use) -> None:
            host = await world.open_node("bank")
            await world.on(host, use)

        with pytest.raises(Nondeterministic, match="'bank'"):
            run_simulation(main, seed=1)
