"""A node reaches clocks, chance, tasks and threads through its runtime alone."""

import ast
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import Actor, Backoff, Child, NodeConfig, Supervisor, open_node, system
from enfilade.actors.node.runtime import REAL, NodeRuntime
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.policy import Rule
from enfilade.transport.seal import NONCE_BYTES

ROOT = Path(__file__).resolve().parents[2]


class Ground:
    """A runtime that a test can look into."""

    def __init__(self) -> None:
        self.now = 5.0
        self.drawn: list[int] = []
        self.spawned: list[str] = []
        self.shares: list[float] = []
        self.runtime = NodeRuntime(
            monotonic=lambda: self.now, entropy=self.entropy, random=self.random, spawn=self.spawn
        )

    def entropy(self, count: int) -> bytes:
        self.drawn.append(count)
        return bytes([len(self.drawn)]) * count

    def random(self) -> float:
        self.shares.append(0.5)
        return 0.5

    def spawn(self, run: Callable[..., Awaitable[Any]], *args: Any, name: str | None = None) -> object:
        self.spawned.append(str(name))
        return trio.lowlevel.spawn_system_task(run, *args, name=name)


class Sleepy(Actor):
    """Takes its time, on the clock of its runtime."""

    def __init__(self, ground: Ground | None = None) -> None:
        self.ground = ground

    def work(self, seconds: float) -> None:
        assert self.ground is not None
        self.ground.now += seconds

    def fail(self) -> None:
        raise ValueError("on purpose")


async def test_sim_44_incarnation_and_tokens_are_drawn_from_the_runtime() -> None:
    ground = Ground()
    carrier = MemoryNetwork().carrier("a")
    config = NodeConfig(runtime=ground.runtime)
    async with open_node("a", config=config, carrier=carrier) as node:
        assert node.incarnation == int.from_bytes(bytes([1]) * 8, "big")
        assert ground.drawn == [8, 32]  # and the key of its tokens
        assert ground.spawned == ["node a@local"]


async def test_sim_44_nonces_are_drawn_from_the_runtime(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    grounds = Ground(), Ground()
    policy = Policy(rules=[Rule()], secret=b"open sesame")
    async with (
        open_node(
            "a",
            config=NodeConfig(runtime=grounds[0].runtime),
            carrier=network.carrier("a"),
            policy=policy,
        ) as a,
        open_node(
            "b",
            config=NodeConfig(runtime=grounds[1].runtime),
            carrier=network.carrier("b"),
            listen="/b",
            policy=policy,
        ),
    ):
        await a.connect("/b")
    assert [ground.drawn for ground in grounds] == [[8, 32, NONCE_BYTES]] * 2


async def test_sim_44_pauses_between_attempts_are_drawn_from_the_runtime(autojump_clock: MockClock) -> None:
    ground = Ground()
    carrier = MemoryNetwork().carrier("a")
    async with open_node("a", config=NodeConfig(runtime=ground.runtime), carrier=carrier) as node:
        node.distribution.keep_connected("/nowhere")
        await trio.sleep(0.1 * 0.75 + 0.2 * 0.75 + 0.01)
        assert len(ground.shares) == 3


async def test_sim_44_back_offs_are_drawn_from_the_runtime(autojump_clock: MockClock) -> None:
    ground = Ground()
    async with open_node("a", config=NodeConfig(runtime=ground.runtime, reports_per_second=0)) as node:
        patient = Child(Sleepy, id="child", name="child", backoff=Backoff(first=8.0, maximum=8.0, jitter=0.5))
        await node.spawn(Supervisor, [patient])
        node.named("child").cast(Sleepy.fail)
        await trio.sleep(5.99)
        assert node.whereis("child") is None
        await trio.sleep(0.02)
        assert node.whereis("child") is not None
        assert ground.shares == [0.5]


async def test_handlers_are_timed_by_the_runtime(caplog: pytest.LogCaptureFixture) -> None:
    """A handler is slow that takes long on the runtime's clock, and so do statistics count."""
    ground = Ground()
    async with open_node("a", config=NodeConfig(runtime=ground.runtime)) as node:
        ref = await node.spawn(Sleepy, ground)
        await system.statistics(ref, True)
        for _ in range(2):  # single messages are timed once a group of them was slow
            ref.cast(Sleepy.work, 3.0)
            await ref.call(Sleepy.work, 0.0)
        counted = await system.statistics(ref)
        assert counted is not None
        assert counted.busy == counted.seconds == 6.0


def test_the_default_is_the_machine() -> None:
    assert NodeConfig().runtime is REAL
    assert REAL.random is random.random
    with pytest.raises(TypeError, match="runtime"):
        attrs.evolve(NodeConfig(), runtime=None)


# The kernel of the system is asked there, or by what has no node: the doors, programs, tools, tests.
GROUNDS = {
    "actors/node/runtime.py",
    "actors/node/watchdog.py",
    "transport/rendezvous.py",
    "transport/mesh/keeper.py",  # `enfilade mesh up`, which runs a server and no node
    "transport/mesh/shared_server.py",  # the server is a program of the machine, and so is its token's chance
}
ELSEWHERE = ("actors/cli", "actors/testing", "actors/simulation", "transport/doors")
CHANCE = {"random", "secrets"}
CLOCKS = {"clock_gettime", "clock_gettime_ns", "sleep"}
CALLS = {"os.urandom", "time.time", "time.monotonic", "time.perf_counter", "uuid.uuid4", "uuid.uuid1"}


def direct_uses(path: Path) -> list[str]:
    """The places where a file reads a clock of the machine or draws from its chance."""
    found = []
    tree = ast.parse(path.read_text())
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="time")) if id(node) not in called and node.attr in CLOCKS:
                found.append(
                    f"{ast.unparse(node)}, kept: a world has put its own into `time` when it is called"
                )
            case ast.Import(names=names) if CHANCE & {alias.name for alias in names}:
                found.append(ast.unparse(node))
            case ast.ImportFrom(module="time" | "random" | "secrets"):
                found.append(ast.unparse(node))
            case ast.Attribute() if ast.unparse(node) in CALLS:
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("package", ["actors", "transport"])
def test_sim_44_nothing_else_asks_the_machine(package: str) -> None:
    violations = [
        f"{name}: {use}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in [path.relative_to(ROOT).as_posix()]
        if name not in GROUNDS and not name.startswith(ELSEWHERE)
        for use in direct_uses(path)
    ]
    assert violations == []


def test_direct_uses_are_found() -> None:
    assert direct_uses(ROOT / "actors/node/runtime.py") == [
        "import random",
        "time.perf_counter",
        "time.time",
        "os.urandom",
    ]
