"""The simulated network: every property of its ways, and what its carrier has in common with doors."""

import gc
import os
from typing import Any

import pytest
import trio

from enfilade.actors import Node, NodeDown, NodeUp, NotConnected, Process, open_node
from enfilade.actors.simulation import Flaky, HostCrashed, Strike, World, run_simulation
from enfilade.actors.simulation.machine.clock import SimulationClock
from enfilade.actors.simulation.machine.entropy import Stream
from enfilade.transport import FileDescriptor, Policy
from enfilade.transport.carrier import Carrier, CarrierError, Credentials, Inlet, Status, hand_over
from enfilade.transport.simulated.carrier import SimulatedCarrier
from enfilade.transport.simulated.network import Network
from enfilade.transport.wire import PREFIX
from tests.descriptors import open_descriptors
from tests.simulation.scenes import OPEN, QUICK, Ledger, opened

LATENCY = 0.0005


@pytest.fixture
def simulation_clock() -> SimulationClock:
    return SimulationClock()


class Wires:
    """A network of three hosts with a carrier each, without nodes."""

    def __init__(self, clock: SimulationClock, seed: int = 1) -> None:
        self.clock = clock
        self.network = Network(clock, Stream(f"{seed}"), lambda *_: None)
        me = Credentials(pid=1, uid=os.geteuid(), gid=os.getegid())
        self.carriers = [SimulatedCarrier(self.network, self.network.port(name, name), me) for name in "abc"]

    async def outlet(self, inlet: Inlet, origin: int = 1) -> Any:
        """An outlet of another host to an inlet."""
        await inlet.attach(f"/{inlet.handle}")
        return await self.carriers[origin].open(f"/{inlet.handle}")


@pytest.fixture
def wires(simulation_clock: SimulationClock) -> Wires:
    return Wires(simulation_clock)


def inlet_of(carrier: Carrier, capacity: int = 1 << 20) -> Inlet:
    return carrier.inlet(capacity=capacity, largest=1 << 16)


def batch(number: int) -> bytes:
    return PREFIX + number.to_bytes(4, "big")


async def test_sim_45_hand_over_and_answer_take_time(simulation_clock: SimulationClock, wires: Wires) -> None:
    inlet = inlet_of(wires.carriers[0])
    outlet = await wires.outlet(inlet)
    began = trio.current_time()
    assert outlet.start(batch(1)) is None
    assert outlet.answer() is None
    assert inlet.take() == []
    (arrival,) = await inlet.receive()
    assert trio.current_time() == pytest.approx(began + LATENCY)
    assert arrival.data == batch(1)
    outlet.want()
    await outlet.wait()
    assert outlet.answer() is Status.ACCEPTED
    assert trio.current_time() == pytest.approx(began + 2 * LATENCY)


async def test_sim_45_what_inlets_refuse(simulation_clock: SimulationClock, wires: Wires) -> None:
    inlet = inlet_of(wires.carriers[0], capacity=12)
    outlet = await wires.outlet(inlet)
    assert await hand_over(outlet, b"nonsense") is Status.MALFORMED
    assert await hand_over(outlet, batch(1)) is Status.ACCEPTED
    assert await hand_over(outlet, batch(2)) is Status.FULL
    inlet.close()
    with pytest.raises(CarrierError, match="gone"):
        await hand_over(outlet, batch(3))


async def test_sim_83_a_closed_inlet_raises(simulation_clock: SimulationClock, wires: Wires) -> None:
    inlet = inlet_of(wires.carriers[0])
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            with pytest.raises(CarrierError, match="closed"):
                await inlet.receive()

        nursery.start_soon(listen)
        await trio.sleep(1)
        inlet.close()
    with pytest.raises(CarrierError, match="closed"):
        inlet.take()
    with pytest.raises(CarrierError, match="closed"):
        inlet.linger(1.0)


async def test_sim_45_the_end_of_the_last_outlet_is_an_arrival(
    simulation_clock: SimulationClock, wires: Wires
) -> None:
    """A handle that travels is a right to put; so is the outlet made of it."""
    private, public = inlet_of(wires.carriers[0]), inlet_of(wires.carriers[1])
    outlet = await wires.outlet(public, origin=0)
    await hand_over(outlet, batch(1), (private.handle,))
    (arrival,) = await public.receive()
    back = wires.carriers[1].outlet(arrival.handles[0])
    await hand_over(back, batch(2))
    assert [each.data for each in await private.receive()] == [batch(2)]
    assert back.start(batch(3)) is None
    back.close()
    heard = []
    while len(heard) < 2:
        heard += [each.data for each in await private.receive()]
    assert heard == [batch(3), None]
    with pytest.raises(CarrierError, match="does not lead"):
        wires.carriers[2].outlet(private.handle)


async def test_sim_46_batches_of_one_outlet_keep_their_order(
    simulation_clock: SimulationClock, wires: Wires
) -> None:
    """Those of different pairs do not."""
    network = wires.network
    for one, other in (("b", "a"), ("c", "a"), ("a", "b"), ("a", "c")):
        network.way(one, other).set(tail=0.01, jitter=0.005)
    inlet = inlet_of(wires.carriers[0])
    await inlet.attach("/meet")
    sent: list[int] = []
    taken: list[int] = []

    async def pour(origin: int) -> None:
        outlet = await wires.carriers[origin].open("/meet")
        for number in range(500):
            sent.append(1000 * origin + number)
            await hand_over(outlet, batch(sent[-1]))

    async with trio.open_nursery() as nursery:
        for origin in (1, 2):
            nursery.start_soon(pour, origin)
        while len(taken) < 1000:
            for arrival in await inlet.receive():
                assert arrival.data is not None
                taken.append(int.from_bytes(arrival.data[len(PREFIX) :], "big"))
    for origin in (1, 2):
        assert [number for number in taken if number // 1000 == origin] == [
            number for number in sent if number // 1000 == origin
        ]
    assert taken != sent


async def test_bandwidth_delays(simulation_clock: SimulationClock, wires: Wires) -> None:
    wires.network.way("b", "a").set(bandwidth=1000.0)
    inlet = inlet_of(wires.carriers[0])
    outlet = await wires.outlet(inlet)
    began = trio.current_time()
    await hand_over(outlet, PREFIX + bytes(1000 - len(PREFIX)))
    assert trio.current_time() == pytest.approx(began + 1.0 + 2 * LATENCY)


async def test_silence_holds_back_and_keeps_order(simulation_clock: SimulationClock, wires: Wires) -> None:
    inlet = inlet_of(wires.carriers[0])
    outlet = await wires.outlet(inlet)
    way = wires.network.way("b", "a")
    wires.network.silence(way)
    outlet.start(batch(1))
    await trio.sleep(5)
    assert inlet.take() == []
    wires.network.heal(way)
    assert [arrival.data for arrival in inlet.take()] == [batch(1)]


async def test_one_way_silence_loses_answers_only(simulation_clock: SimulationClock, wires: Wires) -> None:
    inlet = inlet_of(wires.carriers[0])
    outlet = await wires.outlet(inlet)
    wires.network.silence(wires.network.way("a", "b"))
    outlet.start(batch(1))
    await trio.sleep(5)
    assert len(inlet.take()) == 1
    assert outlet.answer() is None
    wires.network.heal(wires.network.way("a", "b"))
    assert outlet.answer() is Status.ACCEPTED


async def test_a_cut_breaks_what_is_open_and_refuses_what_is_new(
    simulation_clock: SimulationClock, wires: Wires
) -> None:
    inlet = inlet_of(wires.carriers[0])
    outlet = await wires.outlet(inlet)
    way = wires.network.way("b", "a")
    wires.network.cut(way)
    with pytest.raises(CarrierError, match="reset"):
        outlet.start(batch(1))
    with pytest.raises(CarrierError, match="cannot be reached"):
        await wires.carriers[1].open(f"/{inlet.handle}")
    wires.network.heal(way)
    assert await hand_over(await wires.carriers[1].open(f"/{inlet.handle}"), batch(2)) is Status.ACCEPTED


async def test_what_travels_is_duplicated_and_closed(simulation_clock: SimulationClock, wires: Wires) -> None:
    """Also when the batch never arrives."""
    before = open_descriptors()
    inlet = inlet_of(wires.carriers[0])
    outlet = await wires.outlet(inlet)
    reading, writing = os.pipe()
    await hand_over(outlet, batch(1), (writing,))
    (arrival,) = await inlet.receive()
    os.write(arrival.handles[0], b"through")
    assert os.read(reading, 10) == b"through"
    os.close(arrival.handles[0])
    outlet.start(batch(2), (writing,))
    wires.network.end(wires.carriers[0], silently=False)
    await trio.sleep(1)
    os.close(reading)
    os.close(writing)
    assert open_descriptors() == before


@pytest.mark.parametrize("silently", [False, True])
async def test_what_peers_hear_of_a_dead_process(
    simulation_clock: SimulationClock, wires: Wires, silently: bool
) -> None:
    """Its kernel tells them; nobody tells them of a dead machine."""
    inlet = inlet_of(wires.carriers[0])
    outlet = await wires.outlet(inlet)
    wires.network.end(wires.carriers[0], silently=silently)
    with trio.move_on_after(10) as limit:
        if not silently:
            await trio.sleep(1)
        with pytest.raises(CarrierError, match="gone"):
            await hand_over(outlet, batch(1))
    assert limit.cancelled_caught is silently


def test_ways_have_the_properties_that_they_have() -> None:
    clock = SimulationClock()
    network = Network(clock, Stream("1"), lambda *_: None)
    for name in "ab":
        network.port(name, "zone")
    way = network.way("a", "b")
    with pytest.raises(ValueError, match="no property 'speed'"):
        way.set(speed=1.0)
    with pytest.raises(ValueError, match="share from 0 to 1"):
        way.set(full=2.0)
    with pytest.raises(ValueError, match="at least 0"):
        way.set(latency=-1.0)
    with pytest.raises(ValueError, match=r"got 'c'; the hosts are a, b"):
        list(network.ways("a", ["c"]))
    assert {(each.origin.name, each.destination.name) for each in network.ways(["zone"], ["zone"])} == {
        ("a", "b"),
        ("b", "a"),
    }


# With nodes.


@pytest.mark.parametrize("how", ["reset", "silence"])
def test_sim_48_who_hears_of_a_partition(how: Any) -> None:
    """Of broken connections both at once; of silence neither before the period."""

    async def main(world: World) -> list[float]:
        heard: list[float] = []
        hosts = await opened(world, "east", "west")

        async def watch(me: Process) -> None:
            me.node.distribution.monitor_nodes(me.ref)
            await me.receive()
            heard.append(world.now())

        await world.run(1)
        for host in hosts:
            await world.on(host, host.node.spawn, watch)
        cut = world.now()
        world.partition("east", "west", how=how)
        await world.run(10)
        return [when - cut for when in heard]

    first, second = run_simulation(main, seed=1)
    if how == "reset":
        assert max(first, second) <= LATENCY
    else:
        assert min(first, second) > QUICK.period * 0.5


def test_sim_49_a_batch_that_comes_twice_is_taken_once() -> None:
    async def main(world: World) -> tuple[int, int]:
        east, west = await opened(world, "east", "west")
        await world.run(1)
        world.way(east, west).set(twice=0.5)

        async def pour() -> None:
            for _ in range(200):
                east.node.remote("ledger", "west@west").cast(Ledger.add, 1)
                await trio.sleep(0.001)

        await world.on(east, pour)
        await world.run(1)
        total = await world.on(west, west.node.named("ledger").call, Ledger.add, 0)
        return total, sum(" twice " in line for line in world.log.lines())

    total, doubled = run_simulation(main, seed=1)
    assert total == 200
    assert doubled > 20


KINDS = (
    "reset",
    "cut",
    "one way",
    "silence",
    "freeze sender",
    "freeze receiver",
    "crash sender",
    "crash receiver",
    "full",
)


SECRET = b"open sesame"


@pytest.mark.parametrize(
    ("both", "secret"),
    [
        pytest.param(False, None, id="one calls"),
        pytest.param(True, SECRET, id="both call with a secret"),
        pytest.param(True, None, id="both call", marks=pytest.mark.soak),
        pytest.param(False, SECRET, id="one calls with a secret", marks=pytest.mark.soak),
    ],
)
@pytest.mark.parametrize("what", KINDS)
def test_sim_51_a_strike_at_each_hand_over_of_a_handshake(
    what: Any, both: bool, secret: bytes | None
) -> None:
    """30 s later the two are connected, once, and no conversation is left."""
    for place in range(1, 16):

        async def main(world: World, place: int = place) -> None:
            policy = Policy(rules=OPEN.rules, secret=secret)
            hosts = [await world.open_node(name, policy=policy, settings=QUICK) for name in ("east", "west")]
            world.at(0.0, Strike(place, what))
            world.connect(*hosts, both=both)
            await world.run(30)
            for host, other in (hosts, hosts[::-1]):
                assert host.node.peers == (other.full_name,)
                assert host.node.distribution.rendezvous.handshakes == 0  # type: ignore[attr-defined]
            # Each has its rendezvous, and one inlet for the node link.
            assert len(world.network.inlets) == 4

        run_simulation(main, seed=place)


@pytest.mark.parametrize("what", ["reset", "cut"])
def test_news_of_a_node_link_that_its_own_first_send_ends_comes_in_order(what: Any) -> None:
    """The members of groups are told when a node link comes up, and that may end it."""

    async def main(world: World, place: int) -> bool:
        told: list[tuple[type, str]] = []

        async def boot(node: Node) -> None:
            async def member(me: Process) -> None:
                node.distribution.monitor_nodes(me.ref)
                while True:
                    news = await me.receive()
                    told.append((type(news), f"{node.name}: {news.name}"))

            node.scope().join("members", await node.spawn(member))

        hosts = [
            await world.open_node(name, boot=boot, policy=OPEN, settings=QUICK) for name in ("east", "west")
        ]
        world.at(0.0, Strike(place, what))
        world.connect(*hosts)
        await world.run(10)
        world.check()
        for end in ("east: west@west", "west: east@east"):
            kinds = [kind for kind, who in told if who == end]
            assert kinds == [NodeUp, NodeDown] * (len(kinds) // 2) + [NodeUp]
        return len(told) > 2

    seen = [run_simulation(main, place, seed=place) for place in range(1, 12)]
    assert any(seen)


class Recorder(Ledger):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def on_message(self, message: Any) -> None:
        self.seen.append(message)

    def shown(self) -> list[int]:
        return self.seen


@pytest.mark.parametrize("place", range(12))
def test_sim_26_a_crash_at_any_place_leaves_a_prefix(place: int) -> None:
    """The other side has a batch or not, and never a part of it, or one behind it."""

    async def main(world: World) -> int:
        async def boot(node: Any) -> None:
            await node.spawn(Recorder, name="recorder")

        east, west = await opened(world, "east", "west", boot=boot)
        await world.run(1)
        Strike(world.network.hand_overs + 1 + place, "crash sender").strike(world)

        async def pour() -> None:
            for number in range(150):
                east.node.remote("recorder", "west@west").send(number)
                if number % 5 == 4:
                    await trio.sleep(0.002)

        with pytest.raises((HostCrashed, NotConnected)):  # of either side, as the hand-over is its
            await world.on(east, pour)
        await world.run(2)
        seen = await world.on(west, west.node.named("recorder").call, Recorder.shown)
        assert seen == list(range(len(seen)))
        return len(seen)

    assert run_simulation(main, seed=place) < 150


def test_sim_54_descriptors_travel_between_hosts() -> None:
    async def main(world: World) -> None:
        class Reader(Ledger):
            def read(self, file: Any) -> bytes:
                return os.pread(file.fileno(), 100, 0)

        async def boot(node: Any) -> None:
            await node.spawn(Reader, name="reader")

        east, west = await opened(world, "east", "west", boot=boot)
        await world.run(1)

        async def send() -> bytes:
            descriptor = os.memfd_create("sent")
            os.write(descriptor, b"across")
            file = FileDescriptor(descriptor)
            try:
                read: bytes = await east.node.remote("reader", west.full_name).call(Reader.read, file)
            finally:
                os.close(descriptor)
            return read

        assert await world.on(east, send) == b"across"
        await world.run(1)
        await world.close_nodes()

    before = open_descriptors()
    run_simulation(main, seed=1)
    gc.collect()
    print([os.readlink(f"/proc/self/fd/{x}") for x in open_descriptors() - before])
    assert open_descriptors() == before


def test_a_node_outside_a_world_is_none_of_its_business() -> None:
    """Only what belongs to a life is taken into custody."""

    async def main(world: World) -> str:
        async with open_node("outside") as node:
            ref = await node.spawn(Ledger)
            assert await ref.call(Ledger.add, 1) == 1
            return node.full_name

    assert run_simulation(main, seed=1) == "outside@local"


def test_disturbances_of_a_way_that_overlap_leave_nothing() -> None:
    """The latest holds, whichever ends first; what is set meanwhile counts afterwards; a calm ends all."""

    async def main(world: World) -> list[float]:
        for name in ("a", "b"):
            await world.open_node(name)
        way = world.way("a", "b")
        seen = []

        def look() -> None:
            seen.append(way.jitter)

        for when, seconds, jitter in ((1.0, 2.0, 0.1), (2.0, 2.0, 0.2), (6.0, 100.0, 0.3)):
            world.faults([(when, Flaky("a", "b", seconds, jitter=jitter))])
        for when in (0.5, 1.5, 2.5, 3.5, 4.5, 6.5):
            world.call_at(when, look)
        world.call_at(2.7, lambda: way.set(jitter=0.05))
        await world.run(7.0)
        await world.calm(1.0)
        look()
        await world.run(200.0)
        look()
        return seen

    assert run_simulation(main, seed=1) == [0.0, 0.1, 0.2, 0.2, 0.05, 0.3, 0.05, 0.05]
