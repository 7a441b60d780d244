"""Children on other nodes: three nodes of one program on the memory carrier, in virtual time."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import (
    KILL,
    KILLED,
    NO_CONNECTION,
    SHUTDOWN,
    Actor,
    Child,
    ChildInfo,
    Crashed,
    Custom,
    DynamicSupervisor,
    Exit,
    FailedToStart,
    Ignore,
    Node,
    NotConnected,
    Reason,
    Ref,
    Refused,
    RemoteEntry,
    Shutdown,
    Started,
    StartError,
    StartFailed,
    Supervisor,
    open_node,
)
from enfilade.transport import Policy, Settings
from enfilade.transport.memory_carrier import MemoryNetwork

BOOM = Custom("boom")


class Emigrant(Actor):
    """A child that says where it lives, and what happens to it."""

    journal: list[str]

    def __init__(self, name: str = "child", *, trap: bool = False) -> None:
        self.name = name
        self.process.trap_exits = trap
        self.note("start")

    def note(self, what: str) -> None:
        self.journal.append(f"{what} {self.name} {self.process.node.name}")

    def home(self) -> str:
        return self.process.node.name

    def end(self, reason: Reason) -> None:
        raise Exit(reason)

    def on_stop(self, reason: Reason) -> Any:
        self.note(f"{reason}")


class Slow(Emigrant):
    """Takes a second to start, and as long to stop."""

    async def on_start(self) -> None:
        await trio.sleep(1)
        self.note("started")

    async def on_stop(self, reason: Reason) -> None:
        await trio.sleep(1)
        super().on_stop(reason)


class Stubborn(Emigrant):
    """Does not stop."""

    async def on_stop(self, reason: Reason) -> None:
        super().on_stop(reason)
        await trio.sleep_forever()


class Declining(Emigrant):
    def on_start(self) -> None:
        raise Ignore


class Failing(Emigrant):
    def on_start(self) -> None:
        raise Exit(BOOM)


class Brief(Emigrant):
    """Ends normally as soon as it has started."""

    def on_start(self) -> None:
        self.process.stop()


class Telling(Emigrant):
    """Its start has something to tell; what an `Emigrant` is called with cannot travel."""

    def on_start(self) -> Any:
        return {"something": [1, b"two"], "nothing": None, "stay": object()}[self.name]


KINDS = (Emigrant, Slow, Stubborn, Declining, Failing, Brief, Telling)
ENTRIES: dict[str, type[Actor]] = {kind.__name__: kind for kind in KINDS}


class Country:
    """The node of the supervisor, `home`, and two others, `east` and `west`, that come and go."""

    def __init__(self, nursery: trio.Nursery, home: Node, network: MemoryNetwork) -> None:
        self.nursery = nursery
        self.home = home
        self.network = network
        self.journal = Emigrant.journal = []
        self.nodes: dict[str, Node] = {}
        self.departures: dict[str, trio.Event] = {}
        self.carriers = {name: network.carrier(name) for name in ("east", "west")}

    async def arrive(self, name: str) -> None:
        """A node starts, and is connected."""
        await self.nursery.start(self._be, name)
        await self.home.connect(f"/{name}")
        await settle()

    async def _be(self, name: str, task_status: trio.TaskStatus[None]) -> None:
        left = self.departures[name] = trio.Event()
        async with open_node(
            name,
            zone="far",
            carrier=self.carriers[name],
            listen=f"/{name}",
            policy=Policy.same_user(entries=list(ENTRIES)),
            entries=ENTRIES,
        ) as self.nodes[name]:
            task_status.started()
            await left.wait()

    async def depart(self, name: str) -> None:
        """A node stops in order."""
        self.departures.pop(name).set()
        await settle()

    async def lose(self, name: str) -> None:
        """The node link is cut."""
        self.network.cut("home", name)
        await settle()

    async def lose_later(self, name: str) -> None:
        """The node link is cut while a slow child starts."""
        await trio.sleep(0.5)
        await self.lose(name)

    async def find(self, name: str) -> None:
        """The two are connected again."""
        self.network.join("home", name)
        await self.home.connect(f"/{name}")
        await settle()

    def living(self, name: str) -> int:
        """How many processes live on a node."""
        return len(self.nodes[name].processes)

    def take(self) -> list[str]:
        taken = list(self.journal)
        self.journal.clear()
        return taken


async def settle() -> None:
    await trio.sleep(0.1)


@pytest.fixture
async def country() -> AsyncIterator[Country]:
    network = MemoryNetwork()
    async with (
        trio.open_nursery() as nursery,
        open_node("home", carrier=network.carrier("home"), policy=Policy.same_user()) as home,
    ):
        made = Country(nursery, home, network)
        for name in ("east", "west"):
            await made.arrive(name)
        try:
            yield made
        finally:
            with trio.CancelScope(shield=True):
                for name in list(made.departures):
                    await made.depart(name)
    left = home.statistics()
    assert (left.processes, left.links, left.monitors, left.timers, left.starting) == (0,) * 5


def abroad(entry: str = "Emigrant", *nodes: str, absent: Any = "wait", **options: Any) -> Child:
    target = RemoteEntry(entry, *(f"{node}@far" for node in nodes or ("east",)), absent=absent)
    return Child(target, **{"id": "child", "shutdown": 3.0, **options})


async def supervise(country: Country, *children: Any, **flags: Any) -> Ref[Supervisor]:
    flags = {"intensity": 1, "period": 5.0, **flags}
    supervisor: Ref[Supervisor] = await country.home.spawn(Supervisor, list(children), **flags)
    return supervisor


async def shown(supervisor: Ref[Any]) -> tuple[ChildInfo[Any], ...]:
    return await supervisor.call(Supervisor.children)


async def only(supervisor: Ref[Any]) -> Any:
    """The ref of the only child."""
    (info,) = await shown(supervisor)
    return info.ref


@asynccontextmanager
async def ending(country: Country, ref: Ref[Any], reason: Reason) -> AsyncIterator[None]:
    """Within the block, the process ends for that reason."""
    async with country.home.mailbox() as me:
        me.monitor(ref)
        yield
        assert (await me.receive(timeout=100)).reason == reason


async def test_start_call_crash_restart(country: Country, autojump_clock: MockClock) -> None:
    """SUP-90: it is started by its entry, with its arguments; its end is known, and it is started again."""
    supervisor = await supervise(country, abroad("Emigrant", "west", "east", kwargs={"name": "x"}))
    first = await only(supervisor)
    assert await first.call(Emigrant.home) == "west"
    assert country.take() == ["start x west"]
    first.cast(Emigrant.end, BOOM)
    await settle()
    second = await only(supervisor)
    assert second != first
    assert await second.call(Emigrant.home) == "west"
    assert country.take() == ["boom x west", "start x west"]


async def test_what_a_start_tells(
    country: Country, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What `on_start` returned comes with the ref, as from a child of this node, if it can travel."""
    supervisor = await supervise(country, intensity=9)
    for name in ("something", "nothing", "stay"):
        child = abroad("Telling", id=name, kwargs={"name": name}, restart="temporary")
        answer: Any = await supervisor.call(Supervisor.start_child, child)
        if name == "something":
            assert isinstance(answer, Started)
            assert answer.info == [1, b"two"]
            answer = answer.ref
        assert isinstance(answer, Ref)
        assert await answer.call(Emigrant.home) == "east"
        assert ("cannot travel" in caplog.text) is (name == "stay")


@pytest.mark.parametrize("restart", ["transient", "temporary"])
async def test_restart_types(country: Country, autojump_clock: MockClock, restart: Any) -> None:
    """SUP-90: a normal end there is a normal end."""
    supervisor = await supervise(country, abroad(restart=restart))
    (await only(supervisor)).cast(Emigrant.end, SHUTDOWN)
    await settle()
    assert [info.ref for info in await shown(supervisor)] == ([None] if restart == "transient" else [])


async def test_shutdown_ladder(country: Country, autojump_clock: MockClock) -> None:
    """SUP-91: asked to stop, given its time, killed; and the supervisor waits for each, in reverse order."""
    children = [
        abroad("Emigrant", "east", id="plain", kwargs={"name": "plain"}),
        abroad("Slow", "east", id="slow", kwargs={"name": "slow", "trap": True}),
        abroad("Stubborn", "west", id="stubborn", kwargs={"name": "stubborn", "trap": True}),
        abroad("Slow", "west", id="brutal", kwargs={"name": "brutal"}, shutdown="brutal_kill"),
        abroad("Emigrant", "west", id="last", kwargs={"name": "last", "trap": True}, shutdown=math.inf),
    ]
    supervisor = await supervise(country, *children)
    country.take()
    began = trio.current_time()
    await supervisor.stop(SHUTDOWN)
    assert country.take() == ["shutdown last west", "shutdown stubborn west", "shutdown slow east"]
    assert 4.0 <= trio.current_time() - began < 5.0
    assert country.living("east") == country.living("west") == 0


async def test_terminate_and_restart_by_request(country: Country, autojump_clock: MockClock) -> None:
    """SUP-91: requests are for children elsewhere too."""
    supervisor = await supervise(country)
    started = await supervisor.call(Supervisor.start_child, abroad())
    assert isinstance(started, Ref)
    assert await started.call(Emigrant.home) == "east"
    await supervisor.call(Supervisor.terminate_child, "child")
    assert country.living("east") == 0
    again = await supervisor.call(Supervisor.restart_child, "child")
    assert isinstance(again, Ref)
    assert await again.call(Emigrant.home) == "east"


async def test_dynamic_children(country: Country, autojump_clock: MockClock) -> None:
    """SUP-90: under a dynamic supervisor too, known by their refs."""
    pool = await country.home.spawn(DynamicSupervisor, abroad("Emigrant", "east", "west"))
    refs: list[Any] = [await pool.call(DynamicSupervisor.start_from_template, str(number)) for number in "ab"]
    await pool.call(DynamicSupervisor.terminate_child, refs[0])
    assert (await pool.call(Supervisor.count_children)).active == 1
    refs[1].cast(Emigrant.end, BOOM)
    await settle()
    assert country.take() == ["start a east", "start b east", "boom b east", "start b east"]
    await pool.stop(SHUTDOWN)
    assert country.living("east") == 0


async def test_dynamic_child_that_waits(country: Country, autojump_clock: MockClock) -> None:
    """SUP-92: it is known by the ref that it had, comes back with its node, or not when it was terminated."""
    pool = await country.home.spawn(DynamicSupervisor, abroad("Emigrant", "east"), intensity=9)
    refs: list[Any] = [await pool.call(DynamicSupervisor.start_from_template, name) for name in "ab"]
    await country.lose("east")
    assert [info.ref for info in await shown(pool)] == ["restarting"] * 2
    with pytest.raises(StartFailed):
        await pool.call(DynamicSupervisor.start_from_template, "c")
    await pool.call(DynamicSupervisor.terminate_child, refs[0])
    country.take()
    await country.find("east")
    assert country.take() == ["start b east"]
    assert (await pool.call(Supervisor.count_children)).workers == 1


async def test_its_node_is_lost_and_comes_back(country: Country, autojump_clock: MockClock) -> None:
    """SUP-92: it ends there, is restarting here, and starts when the node is back; that counts once."""
    supervisor = await supervise(country, abroad(kwargs={"trap": True}), intensity=1)
    first = await only(supervisor)
    await country.lose("east")
    assert country.take() == ["start child east", "no connection child east"]
    assert country.living("east") == 0
    assert await only(supervisor) == "restarting"
    assert (await supervisor.call(Supervisor.count_children)).active == 0
    await trio.sleep(100)
    await country.find("east")
    second = await only(supervisor)
    assert second != first
    assert await second.call(Emigrant.home) == "east"
    async with ending(country, supervisor, SHUTDOWN):
        await country.lose("east")
        await country.find("east")


async def test_it_moves_to_another_node(country: Country, autojump_clock: MockClock) -> None:
    """SUP-93: the next node in order of preference takes over, and keeps it when the first one is back."""
    supervisor = await supervise(country, abroad("Emigrant", "east", "west"), intensity=1)
    await country.lose("east")
    moved = await only(supervisor)
    assert await moved.call(Emigrant.home) == "west"
    await country.find("east")
    assert await only(supervisor) == moved
    assert country.living("east") == 0


async def test_its_node_stops_in_order(country: Country, autojump_clock: MockClock) -> None:
    """SUP-92: a node on its way out starts nothing; its next incarnation does, and that is one restart."""
    supervisor = await supervise(country, abroad(), intensity=1)
    await country.depart("east")
    assert await only(supervisor) == "restarting"
    await country.arrive("east")
    assert await (await only(supervisor)).call(Emigrant.home) == "east"


async def test_its_node_stops_in_order_and_another_takes_over(
    country: Country, autojump_clock: MockClock
) -> None:
    """SUP-93: one restart, whatever the first node answered."""
    supervisor = await supervise(country, abroad("Emigrant", "east", "west"), intensity=1)
    await country.depart("east")
    assert await (await only(supervisor)).call(Emigrant.home) == "west"


async def test_absent_at_the_start(country: Country, autojump_clock: MockClock) -> None:
    """SUP-94: the supervisor starts without it; when it comes, those that depend on it are restarted."""
    await country.lose("east")
    second = Child(Emigrant, "second", id="second")
    supervisor = await supervise(country, abroad(), second, strategy="rest_for_one")
    assert [isinstance(info.ref, Ref) for info in await shown(supervisor)] == [False, True]
    assert country.take() == ["start second home"]
    await country.find("east")
    assert all(isinstance(info.ref, Ref) for info in await shown(supervisor))
    assert country.take() == ["start child east", "start second home"]


async def test_absent_as_a_failure(country: Country, autojump_clock: MockClock) -> None:
    """SUP-94: with `absent="fail"` it is a start that failed, with the reason `NO_CONNECTION`."""
    await country.lose("east")
    with pytest.raises(StartError) as failed:
        await supervise(country, abroad(absent="fail"))
    assert failed.value.reason == Shutdown(FailedToStart("child", NO_CONNECTION))
    await country.find("east")
    supervisor = await supervise(country, abroad(absent="fail"))
    async with ending(country, supervisor, SHUTDOWN):
        await country.lose("east")


async def test_absent_when_asked_for(country: Country, autojump_clock: MockClock) -> None:
    """SUP-94: who asks for a child is told; the supervisor waits only where nobody asks."""
    await country.lose("east")
    supervisor = await supervise(country)
    with pytest.raises(StartFailed) as failed:
        await supervisor.call(Supervisor.start_child, abroad())
    assert failed.value.reason == NO_CONNECTION
    assert await shown(supervisor) == ()


async def test_terminated_while_it_waits(country: Country, autojump_clock: MockClock) -> None:
    """SUP-94: it does not come back with its node."""
    supervisor = await supervise(country, abroad())
    await country.lose("east")
    await supervisor.call(Supervisor.terminate_child, "child")
    await country.find("east")
    assert await only(supervisor) is None
    assert country.living("east") == 0


@pytest.mark.parametrize("reason", [KILL, SHUTDOWN])
async def test_the_supervisor_ends(country: Country, autojump_clock: MockClock, reason: Reason) -> None:
    """SUP-95: its children elsewhere end with it; killed, it does not wait for them."""
    supervisor = await supervise(country, abroad(kwargs={"trap": True}))
    supervisor.exit(reason)
    await settle()
    expected = KILLED if reason == KILL else SHUTDOWN
    assert country.take() == ["start child east", f"{expected} child east"]
    assert country.living("east") == 0


async def test_the_supervisors_node_dies(country: Country, autojump_clock: MockClock) -> None:
    """SUP-95: no orphan is left, whether it traps exits or not."""
    children = [abroad(id=number, kwargs={"trap": bool(number)}) for number in (0, 1)]
    await supervise(country, *children, abroad("Stubborn", "east", id="stubborn", kwargs={"trap": True}))
    assert country.living("east") == 3
    country.network.cut("home", "east")
    await trio.sleep(20)
    assert country.living("east") == 0


@pytest.mark.parametrize("shutdown", [3.0, "brutal_kill"])
async def test_stopped_before_the_answer(country: Country, autojump_clock: MockClock, shutdown: Any) -> None:
    """SUP-95: a start that is given up leaves no process there, however late the answer."""
    country.carriers["east"].delay = 2.0
    async with trio.open_nursery() as nursery:
        supervisor: Any = None

        async def start() -> None:
            with pytest.raises(StartError):
                await country.home.spawn(
                    Supervisor, [abroad("Slow", shutdown=shutdown)], name="tree", timeout=None
                )

        nursery.start_soon(start)
        await trio.sleep(0.5)
        supervisor = country.home.whereis("tree")
        supervisor.exit(SHUTDOWN)
    await trio.sleep(10)
    assert country.living("east") == 0


@pytest.mark.parametrize("delay", [0.0, 2.0])
async def test_killed_before_the_answer(country: Country, autojump_clock: MockClock, delay: float) -> None:
    """SUP-95: nor does one whose supervisor was killed meanwhile."""
    supervisor = await supervise(country)
    country.carriers["east"].delay = delay
    supervisor.cast(Supervisor.start_child, abroad("Slow"))
    await trio.sleep(0.5)
    supervisor.exit(KILL)
    await trio.sleep(10)
    assert country.living("east") == 0


async def test_what_is_given_up_is_the_latest_attempt(
    country: Country, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request to one node ends the node link to it before it has left, and the next node is asked within
    that: giving the start up withdraws the second request.
    """
    given_up: list[str] = []

    def start_on(node: str, entry: str, parent: Any, args: Any, kwargs: Any, then: Any) -> Any:
        if node == "east@far":
            then(NO_CONNECTION)
        return lambda: given_up.append(node)

    monkeypatch.setattr(country.home.distribution, "start_on", start_on)
    async with trio.open_nursery() as nursery:

        async def start() -> None:
            with pytest.raises(StartError):
                await country.home.spawn(
                    Supervisor, [abroad("Emigrant", "east", "west")], name="tree", timeout=None
                )

        nursery.start_soon(start)
        await settle()
        supervisor = country.home.whereis("tree")
        assert supervisor is not None
        supervisor.exit(SHUTDOWN)
    assert given_up == ["west@far"]


async def test_lost_during_the_start(country: Country, autojump_clock: MockClock) -> None:
    """SUP-95: the process is gone there, and the start has failed here."""
    supervisor = await supervise(country)
    async with trio.open_nursery() as nursery:

        async def start() -> None:
            with pytest.raises(StartFailed) as failed:
                await supervisor.call(Supervisor.start_child, abroad("Slow"))
            assert failed.value.reason == NO_CONNECTION

        nursery.start_soon(start)
        await trio.sleep(0.5)
        await country.lose("east")
    assert country.living("east") == 0


async def test_lost_during_the_first_start(country: Country, autojump_clock: MockClock) -> None:
    """SUP-94: the supervisor starts without it, as without one whose node was never there."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(country.lose_later, "east")
        supervisor = await supervise(country, abroad("Slow"), Child(Emigrant, "second", id="second"))
    assert [isinstance(info.ref, Ref) for info in await shown(supervisor)] == [False, True]
    await country.find("east")
    await trio.sleep(2)
    assert all(isinstance(info.ref, Ref) for info in await shown(supervisor))


async def test_lost_while_it_is_stopped(country: Country, autojump_clock: MockClock) -> None:
    """SUP-91: nobody waits for what cannot be reached."""
    supervisor = await supervise(country, abroad("Stubborn", kwargs={"trap": True}, shutdown=math.inf))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.stop, SHUTDOWN)
        await settle()
        await country.lose("east")
    await trio.sleep(20)
    assert country.living("east") == 0


async def test_starts_that_fail(country: Country, autojump_clock: MockClock) -> None:
    """SUP-96: what the other node answers is what a start at home would have come to."""
    supervisor = await supervise(country)
    assert await supervisor.call(Supervisor.start_child, abroad("Declining")) is None
    await supervisor.call(Supervisor.delete_child, "child")
    with pytest.raises(StartFailed) as failed:
        await supervisor.call(Supervisor.start_child, abroad("Failing"))
    assert failed.value.reason == BOOM
    with pytest.raises(StartFailed) as refused:
        await supervisor.call(Supervisor.start_child, abroad("Secret"))
    assert isinstance(refused.value.reason, Crashed)
    assert isinstance(refused.value.reason.error, Refused)
    with pytest.raises(StartFailed, match="object") as unsendable:
        await supervisor.call(Supervisor.start_child, abroad(kwargs={"name": object()}))
    assert isinstance(unsendable.value.reason, Crashed)
    assert await shown(supervisor) == ()


async def test_child_that_ends_at_once(country: Country, autojump_clock: MockClock) -> None:
    """SUP-90: its own reason arrives, even when it ends before its supervisor knows that it runs."""
    supervisor = await supervise(country, *(abroad("Brief", id=n, restart="transient") for n in range(100)))
    await settle()
    assert {info.ref for info in await shown(supervisor)} == {None}
    assert country.living("east") == 0


async def test_a_node_without_peers(autojump_clock: MockClock) -> None:
    """SUP-96: the reason says what is missing."""
    async with open_node("alone") as node:
        with pytest.raises(StartError) as failed:
            await node.spawn(Supervisor, [abroad()])
        reason = failed.value.reason
        assert isinstance(reason, Shutdown)
        assert isinstance(reason.detail.reason.error, NotConnected)
        assert "has no peers" in str(reason)


async def test_a_frozen_node(country: Country, autojump_clock: MockClock) -> None:
    """SUP-92: silence is taken for absence after the heartbeat's time, and what lived there ends too."""
    supervisor = await supervise(country, abroad("Emigrant", "east", "west"))
    country.carriers["east"].freeze()
    await trio.sleep(2 * Settings().period)
    assert await (await only(supervisor)).call(Emigrant.home) == "west"
    country.carriers["east"].thaw()
    await trio.sleep(2 * Settings().period)
    assert country.living("east") == 0
