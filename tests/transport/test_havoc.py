"""Real processes, really stopped, killed and starved, in a long random run against a model.

Whatever is done to them: nothing is delivered twice or out of order, every monitor fires exactly once, every
call ends, and nothing is left over. The run prints what it did, with its seed.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from enfilade.actors import CallError, Node, NotConnected, Ref, Refused, open_node
from enfilade.transport import Policy, Settings
from tests.transport.havoc import Account, Agent

ROOT = Path(__file__).resolve().parents[2]
PERIOD = 1.5
NAMES = ("a", "b", "c")
SPARE_DESCRIPTORS = 12
"""More than at the beginning a node may have open when all its node links have ended."""

PATIENCE = 60.0
"""Seconds after which what is still under way when all is calm is taken for left over."""


class Process:
    """A node in a process of its own."""

    def __init__(self, directory: Path, name: str) -> None:
        self.path = str(directory / f"{name}.door")
        self.name = f"{name}@z"
        self.thaws_at = 0.0
        self._arguments = (self.path, name, str(PERIOD))
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.transport.havoc", *self._arguments]
        return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    async def ready(self) -> None:
        assert self.process.stdout is not None
        line = await trio.to_thread.run_sync(self.process.stdout.readline)
        assert line == b"ready\n"

    async def restart(self) -> None:
        """Kill it, and start it again."""
        self.end()
        self.process = self._start()
        await self.ready()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


class Judge:
    """Has things done to nodes, and does things to their processes."""

    def __init__(self, node: Node, processes: dict[str, Process], seed: int) -> None:
        self.node = node
        self.processes = processes
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.before: dict[str, int] = {}  # how many descriptors each process had open at first

    def agent(self, process: Process) -> Ref[Agent]:
        return self.node.remote("agent", process.name).within(5 * PERIOD)

    async def introduce(self, process: Process) -> None:
        """Have a node connect to all others, and be connected to it."""
        others = [other.path for other in self.processes.values() if other is not process]
        while True:
            with suppress(NotConnected, CallError, Refused):
                await self.agent(process).call(Agent.know, others)
                return
            await trio.sleep(0.05)

    async def run(self, seconds: float) -> None:
        """Let things happen for a while."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._thaw)
            deadline = trio.current_time() + seconds
            while trio.current_time() < deadline:
                await self._step()
                await trio.sleep(self.random.uniform(0, 0.1))
            nursery.cancel_scope.cancel()

    async def _step(self) -> None:
        one, other = self.random.sample(list(self.processes.values()), 2)
        what = self.random.choices(
            ["burst", "watch", "ask", "large", "cut", "pulse", "freeze", "starve", "kill"],
            [30, 20, 20, 5, 4, 8, 3, 3, 2],
        )[0]
        self.done[what] += 1
        match what:
            case "kill":
                await one.restart()
                await self.introduce(one)
            case "freeze" | "pulse":
                one.process.send_signal(signal.SIGSTOP)
                longest = 2 * PERIOD if what == "freeze" else PERIOD / 50
                one.thaws_at = trio.current_time() + self.random.uniform(0, longest)
            case _:
                try:
                    self._tell(what, one, other)
                except NotConnected:
                    self.done["in vain"] += 1

    def _tell(self, what: str, one: Process, other: Process) -> None:
        agent = self.agent(one)
        match what:
            case "burst":
                agent.cast(Agent.burst, other.name, self.random.randint(1, 300))
            case "watch":
                agent.cast(Agent.watch, other.name)
            case "ask":
                agent.cast(Agent.ask, other.name, self.random.randint(0, 1000))
            case "large":
                agent.cast(Agent.ask, other.name, self.random.randint(10**5, 10**6))
            case "cut":
                agent.cast(Agent.cut, other.name)
            case "starve":
                agent.cast(Agent.starve, self.random.choice([0, 1, 3]), self.random.uniform(0, 2 * PERIOD))

    async def _thaw(self) -> None:
        while True:
            await trio.sleep(0.005)
            self.thaw(trio.current_time())

    def thaw(self, now: float) -> None:
        """Let those go on whose time has come."""
        for process in self.processes.values():
            if 0 < process.thaws_at <= now:
                process.thaws_at = 0
                process.process.send_signal(signal.SIGCONT)

    async def calm(self) -> dict[str, Account]:
        """End all faults, wait, end all node links but our own, and collect the accounts, when nothing is
        under way any more.
        """
        self.thaw(float("inf"))
        await trio.sleep(5 * PERIOD)
        for process in self.processes.values():
            for other in self.processes.values():
                if other is not process:
                    await self._insist(process, Agent.cut, other.name)
        accounts: dict[str, Account] = {}
        for name, process in self.processes.items():
            deadline = trio.current_time() + PATIENCE
            while True:
                accounts[name] = account = await self._insist(process, Agent.report)
                more = account.descriptors - self.before[name]
                if not account.faults() and more <= SPARE_DESCRIPTORS:
                    break
                if trio.current_time() > deadline:
                    assert more <= SPARE_DESCRIPTORS, f"{name} has {more} more descriptors open than at first"
                    break
                await trio.sleep(PERIOD)
        return accounts

    async def _insist(self, process: Process, method: object, *args: object) -> Account:
        """Call until there is an answer: the node link may have to be made anew."""
        while True:
            try:
                return await self.agent(process).call(method, *args)  # type: ignore[arg-type,no-any-return]
            except (NotConnected, CallError):
                await trio.sleep(0.1)


@asynccontextmanager
async def havoc(directory: Path, seed: int) -> AsyncIterator[Judge]:
    """Three nodes in processes of their own, connected to each other and to the judge."""
    processes = {name: Process(directory, name) for name in NAMES}
    settings = Settings(period=PERIOD, handshake=PERIOD, last_retry=PERIOD / 4)
    try:
        async with open_node("judge", zone="z", policy=Policy.same_user(), settings=settings) as node:
            judge = Judge(node, processes, seed)
            for process in processes.values():
                await process.ready()
                node.distribution.keep_connected(process.path)
            for process in processes.values():
                await judge.introduce(process)
            yield judge
    finally:
        for process in processes.values():
            process.end()


async def wreak(directory: Path, seed: int, seconds: float) -> tuple[Counter[str], dict[str, Account]]:
    """One run: what was done, and what the nodes that were there at the end say about it.

    On a slow machine little is done in so many seconds; the run goes on then.
    """
    with trio.fail_after(240 + 3 * seconds):
        async with havoc(directory, seed) as judge:
            for name, process in judge.processes.items():
                judge.before[name] = (await judge._insist(process, Agent.report)).descriptors
            accounts: dict[str, Account] = {}
            while not (
                judge.done["burst"] > 10
                and any(account.downs for account in accounts.values())
                and any(account.came for account in accounts.values())
            ):
                await judge.run(seconds)
                accounts = await judge.calm()
            return judge.done, accounts


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_every_promise_holds_in_havoc(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`ENFILADE_SOAK_SECONDS` and `ENFILADE_SOAK_SEED` say how long, and which run."""
    seed = int(os.environ.get("ENFILADE_SOAK_SEED", time.time_ns() % 2**32))
    seconds = float(os.environ.get("ENFILADE_SOAK_SECONDS", 300))
    done, accounts = await wreak(tmp_path, seed, seconds)
    with capsys.disabled():
        print(
            f"\nhavoc of {seconds:g} s with seed {seed}:",
            *(f"{n} x {what}" for what, n in done.items()),
            sep="\n  ",
        )
        for name, account in accounts.items():
            came = sum(map(len, account.came.values()))
            print(
                f"  node {name}: {came} messages came from {len(account.came)} senders, {len(account.downs)} "
                f"monitors fired, {account.ended} calls ended, {account.descriptors} descriptors are open"
            )
    assert not {name: account.faults() for name, account in accounts.items() if account.faults()}
