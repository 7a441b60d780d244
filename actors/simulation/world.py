"""A world: hosts with nodes, a network, time and chance, all of one seed, in one trio run."""

from __future__ import annotations

import gc
import inspect
import os
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any, Final, Literal, TypeVar

import attrs
import trio

from enfilade.actors.guests.guest import abandon_guests
from enfilade.actors.messages.rare import DRAW
from enfilade.actors.node.config import NodeConfig
from enfilade.actors.node.runtime import NodeRuntime
from enfilade.actors.opening import open_node
from enfilade.actors.simulation.checkers.books import Mismatch, mismatches
from enfilade.actors.simulation.checkers.history import Event, History, Over
from enfilade.actors.simulation.checkers.properties import Properties
from enfilade.actors.simulation.checkers.verdicts import Verdicts
from enfilade.actors.simulation.extremes import draw_options
from enfilade.actors.simulation.fault_schedule import Fault, Release, Schedule, check_schedule
from enfilade.actors.simulation.host import Boot, Host, HostCrashed, nothing
from enfilade.actors.simulation.log import Log
from enfilade.actors.simulation.machine.arguments import at_least_0
from enfilade.actors.simulation.machine.clock import Departures, SimulationClock
from enfilade.actors.simulation.machine.custody import LIFE, Life
from enfilade.actors.simulation.machine.drift import set_rate
from enfilade.actors.simulation.machine.entropy import Entropy, Stream
from enfilade.actors.simulation.machine.isolation import import_anew
from enfilade.actors.simulation.machine.standstill import MOST_STEPS, Instant, Stuck
from enfilade.actors.simulation.machine.substitutes import Nondeterministic
from enfilade.actors.simulation.machines import Machines
from enfilade.actors.simulation.mishaps import split
from enfilade.actors.simulation.partitions import Partitions
from enfilade.actors.simulation.passage import SETTLED, Passage
from enfilade.actors.simulation.servers import Servers
from enfilade.transport.carrier import Credentials
from enfilade.transport.mesh.settings import MeshError
from enfilade.transport.simulated.carrier import SimulatedCarrier
from enfilade.transport.simulated.network import Network

__all__ = ["World"]

T = TypeVar("T")

COLLECT: Final = 10_000
"""Steps between two collections of garbage, which come at fixed points."""

MOST_CRASHES: Final = 2000
"""Crashes in one world: each leaks the memory of a node."""

FIRST_PID: Final = 1000

AGAIN: Final = 1.0
"""Seconds after which a host is started again that could not join its mesh."""


class World(Machines, Partitions, Passage, Properties, Servers, Verdicts):
    """One simulated system. Made by `simulate` and `run_simulation`.

    Attributes:
        seed: which world it is.
        clock: its time.
        entropy: its chance.
        log: its events.
        network: what lies between its hosts.
        hosts: by name.
        steps: how often a task of any life was resumed.
        crashes: how many lives were crashed.
        history: what the nodes told, and what the test noted.
        drawn: the faults of `faults` that have struck, with their times.
        prescribed: faults in the place of those that `faults` is given.
        options: what the seed has drawn of settings and kinds of faults, in words.
        struck: how often a fault of each kind has struck.
        is_calm: whether faults have ended.
        ended_at: when it was over; None while it goes on.
        calm_since: when `calm` was called last; None if it was not.
        scope: ends the world's block when the world has failed.
    """

    def __init__(self, seed: int, clock: SimulationClock) -> None:
        super().__init__()
        self.seed = seed
        self.clock = clock
        self.entropy = Entropy(seed)
        self.log = Log()
        self.hosts: dict[str, Host] = {}
        self.steps = self.crashes = 0
        self.network = Network(Departures(clock), self.entropy.stream("network"), self._note)
        self._holder: trio.Nursery
        self.scope = trio.CancelScope()
        self._trouble: BaseException | None = None
        self._ended = trio.Event()
        self.ended_at: float | None = None
        self.history = History(self.now, self._note)
        self.prescribed: Schedule | None = None
        self.drawn: Schedule = []
        self.options = ""
        self._draws_options = self.is_calm = False
        self._questions: dict[tuple[str, str], int] = {}
        self._isolated: tuple[str, ...] = ()
        self.struck: dict[str, int] = {}
        self.calm_since: float | None = None
        self._mismatches: set[Mismatch] = set()
        self._collect_at = COLLECT
        self._instant = Instant(MOST_STEPS)

    # Looking.

    @property
    def digest(self) -> str:
        """A digest over all events so far: equal for equal runs."""
        return self.log.digest

    @property
    def events(self) -> list[Event]:
        """The events of the history so far: what the nodes told, and what the test noted."""
        return self.history.events

    def now(self) -> float:
        """The present virtual time, in seconds from the world's beginning; of one that is over, its end."""
        return self.clock.now if self.ended_at is None else self.ended_at

    def random(self, name: str) -> Stream:
        """Return the stream of draws called `name`, for the test's own use."""
        return self.entropy.stream(f"user/{name}")

    def rare(self, name: str, share: float) -> bool:
        """Draw whether `name` happens, in the `share` of cases: `enfilade.actors.rare` for tests."""
        return self._draw_rarity("", name, share, self.random(f"rare {name}"))

    def _draw_rarity(self, host: str, name: str, share: float, draws: Stream) -> bool:
        """Draw whether something rare happens on a host, or in the test."""
        self._questions[host, name] = number = self._questions.get((host, name), 0) + 1
        return self.network.tape.decides((host, name, number), share, draws, self.now())

    def tell_options(self, text: str) -> None:
        """Note in the words of `text` what the seed has drawn."""
        self.options = f"{self.options}; {text}" if self.options else text

    def record(self, kind: str, *fields: object, **named: object) -> None:
        """Note an event `kind` of the test's own in the log; its fields must be the same in every run."""
        self._note(f"user.{kind}", *fields, *(f"{name}={value}" for name, value in named.items()))

    def owners(self, name: str) -> int:
        """Count the living hosts on which a process has the name `name` now."""
        return sum(node.whereis(name) is not None for node in self.living_nodes())

    # Hosts.

    def host(self, host: Host | str) -> Host:
        """Return a host of this world; `host` is its name, or itself.

        Raises:
            ValueError: the world has no such host.
        """
        found = self.hosts.get(host) if isinstance(host, str) else host
        if not isinstance(found, Host) or self.hosts.get(found.name) is not found:
            known = ", ".join(map(repr, self.hosts)) or "none"
            raise ValueError(
                f"expected a host of the world ({known}), got {host!r}: open its node before that"
            )
        return found

    async def open_node(self, name: str, *, zone: str = "", boot: Boot | None = None, **options: Any) -> Host:
        """Make a host, start its first life, and wait until its `boot` has run.

        A checkpoint; cancelled, the life may still begin.

        Args:
            name: of the host and its node.
            zone: of both; the name by default.
            boot: the first code of each life: a coroutine function that is given the node.
            options: as of `enfilade.open_node`; `listen` is `/name` by default. With `mesh`, which
                `open_servers` returns, the node is found by its name there.

        Raises:
            ValueError: the name is taken, or an option means nothing in a world.
        """
        if name in self.hosts:
            raise ValueError(f"the world has a host {name!r} already")
        for refused in ("carrier", "workers"):
            if refused in options:
                raise ValueError(f"{refused!r} means nothing in a world: its nodes live in this process")
        draws = self.entropy.stream(f"settings/{name}")
        if self._draws_options and draws.chance(0.5):
            options, drawn = draw_options(draws, options)
            self.tell_options(f"{name}: {drawn}")
        zone = zone or name
        address = f"{name}@{zone}" if "mesh" in options else options.setdefault("listen", f"/{name}")
        port = self.network.port(name, zone)
        host = Host(name, zone, address, boot or nothing, options, port)
        self.hosts[name] = host
        try:
            await self._start(host)
        except BaseException:
            if not host.is_alive:  # it may be opened again
                del self.hosts[name]
            raise
        return host

    def draw_settings(self) -> None:
        """Let the seed draw settings for half of the hosts that are opened from now on: windows of a few
        frames, batches of one, turns of one message, short and long periods; see `extremes`.
        """
        self._draws_options = True

    def isolate(self, *modules: str) -> None:
        """Give each life that begins from now on modules of its own, so that their globals end with it.

        Args:
            modules: full names. Code must import them in the life: in `boot`, or in a function.
        """
        self._isolated += modules

    async def _start(self, host: Host) -> None:
        life = host.life = Life(host.name, host.lives, self)
        life.modules = import_anew(self._isolated)
        set_rate(life, host.rate, self.now())
        host.lives += 1
        host.ready, host.closing, host.ended = trio.Event(), trio.Event(), trio.Event()
        host.trouble = None
        pid = FIRST_PID + sum(known.lives for known in self.hosts.values())
        host.carrier = SimulatedCarrier(
            self.network, host.port, Credentials(pid, os.geteuid(), os.getegid(), zone=host.zone)
        )
        self._note("start", host.name, life.number)
        life.at_end.append(host.ready.set)
        life.at_end.append(host.ended.set)
        self._spawn(life, self._live, host, life)
        await host.ready.wait()
        if host.trouble is not None:
            raise host.trouble

    def _spawn(self, life: Life | None, run: Callable[..., Awaitable[Any]], *args: Any) -> None:
        context = copy_context()
        context.run(LIFE.set, life)
        if life is not None:
            host = life.name
            context.run(
                DRAW.set,
                lambda name, share: self._draw_rarity(host, name, share, self.random(f"{host}: rare {name}")),
            )
        context.run(self._holder.start_soon, run, *args)

    async def _live(self, host: Host, life: Life) -> None:
        """One life of a host, from its start to its orderly end."""
        options = dict(host.options)
        config = options.pop("config", None) or NodeConfig()
        config = attrs.evolve(config, runtime=self._runtime(host, life), handle_interrupt=False)
        try:
            if "mesh" not in options:
                options["carrier"] = host.carrier
            async with open_node(host.name, zone=host.zone, config=config, **options) as node:
                host.latest = node
                self.history.follow(node, life)
                for address in host.calls:
                    node.distribution.keep_connected(address)
                await host.boot(node)
                host.ready.set()
                await host.closing.wait()
        except Exception as error:
            if host.ready.is_set():
                self.fail(error)
            host.trouble = error
        finally:
            self._note("end", host.name, life.number)
            self.history.add(Over, life)
            host.ready.set()
            host.ended.set()

    def _runtime(self, host: Host, life: Life) -> NodeRuntime:
        return NodeRuntime(
            monotonic=lambda: life.local(life.within_step(self.clock.now)),
            processor_time=lambda: self.processor_time(life),
            unix_time=lambda: self.unix_time(life),
            entropy=self.chance_of(life).bytes,
            random=self.chance_of(life).random,
            spawn=self._holder.start_soon,
            run_blocking=partial(self.run_blocking, life),
            dial=self.dial_of(host),
            charge=life.spend,
            is_deterministic=True,
        )

    def start_later(self, host: Host, seconds: float) -> None:
        """Start the next life of `host` in `seconds`, unless it is started before. A host that finds no
        server of its mesh is started again, as a service manager would.
        """
        number = host.lives

        async def start() -> None:
            await trio.sleep(seconds)
            if not host.is_alive and host.lives == number and not self._ended.is_set():
                try:
                    await self._start(host)
                except MeshError:
                    self.start_later(host, AGAIN)
                except Exception as error:
                    self.fail(error)

        self._spawn(None, start)

    def start(self, run: Callable[[], Awaitable[Any]]) -> None:
        """Run `run()` as a task that belongs to no host, unless the world is over. It must end by itself."""
        if not self._ended.is_set():
            self._spawn(None, run)

    def connect(self, *hosts: Host | str, both: bool = False) -> None:
        """Keep hosts connected, each with each, now and in later lives.

        Args:
            hosts: at least two.
            both: whether both of a pair call; otherwise the later one does.
        """
        known = [self.host(host) for host in hosts]
        for place, later in enumerate(known):
            for earlier in known[:place]:
                for caller, called in ((later, earlier), (earlier, later)) if both else ((later, earlier),):
                    caller.calls[called.address] = None
                    if caller.is_alive and caller.life is not None:
                        self._spawn(caller.life, self._call, caller, called.address)

    async def _call(self, host: Host, address: str) -> None:
        if host.latest is not None:
            host.latest.distribution.keep_connected(address)

    async def on(self, host: Host | str, function: Callable[..., Any], *args: Any) -> Any:
        """Run `function(*args)` as code of `host`, and return its result. It may be a coroutine function.

        A checkpoint; cancelled, the function goes on in the host, and its result is dropped.

        Raises:
            HostCrashed: the host was crashed meanwhile, or has no life.
        """
        host = self.host(host)
        life = host.life
        if life is None or not host.is_alive:
            raise HostCrashed(f"host {host.name!r} has no life at present")
        outcome: list[Any] = []
        done = trio.Event()

        async def run() -> None:
            result: Any = None
            failure: Exception | None = None
            try:
                result = function(*args)
                if inspect.isawaitable(result):
                    result = await result
            except Exception as error:
                failure = error
            if not life.is_over:  # by this very step
                outcome.extend([result, failure])
                done.set()

        life.at_end.append(done.set)
        self._spawn(life, run)
        await done.wait()
        life.at_end.remove(done.set)
        if not outcome:
            raise HostCrashed(f"host {host.name!r} was crashed")
        result, error = outcome
        if error is not None:
            raise error
        return result

    # Faults.

    def crash(self, host: Host | str, how: Literal["process", "machine"] = "process") -> None:
        """End a host's life at this instant, as `kill -9` does: no line of its code runs any more.

        Args:
            host: which.
            how: with "process" the kernel closes what the node held, and its peers hear of that; with
                "machine" they hear nothing.

        Raises:
            RuntimeError: this world has seen too many crashes, each of which leaks a node.
            ValueError: there is no such host, or `how` is neither of the two.
        """
        host = self.host(host)
        if how not in ("process", "machine"):
            raise ValueError(f"expected 'process' or 'machine', got {how!r}")
        life = host.life
        if life is None or not host.is_alive:
            return
        if self.crashes >= MOST_CRASHES:
            raise RuntimeError(
                f"a world can have {MOST_CRASHES} crashes, because each leaks a node: use several worlds"
            )
        self.crashes += 1
        self._note("crash", host.name, how)
        self._bury(host, life, silently=how == "machine")

    def _bury(self, host: Host, life: Life, *, silently: bool) -> None:
        self.history.add(Over, life)
        life.crash()
        if host.latest is not None:
            host.latest.traces.close()
            host.latest.dispatcher.clear()  # which resumes its tasks no more, so that they can be buried
            abandon_guests(host.latest)
        if host.carrier is not None:
            self.network.end(host.carrier, silently=silently)
        if host.disk is not None:
            host.disk.lose_unsynced() if silently else host.disk.end_life()

    async def restart(self, host: Host | str, after: float = 0.0) -> None:
        """Start the next life of a host; crash the present one first, if there is one.

        A checkpoint; cancelled, the next life may still begin.

        Args:
            host: which.
            after: seconds between the crash and the start.

        Raises:
            ValueError: the world has no such host, or `after` is negative.
        """
        host = self.host(host)
        at_least_0(after)
        self.crash(host)
        await trio.sleep(after)
        if not host.is_alive:
            await self._start(host)

    async def close(self, host: Host | str) -> None:
        """End the life of `host` in order, as leaving the block of `open_node` does. A checkpoint; cancelled,
        the life still ends.
        """
        host = self.host(host)
        host.closing.set()
        await host.ended.wait()
        if host.carrier is not None and not host.carrier.is_dead:
            self.network.end(host.carrier, silently=False)

    async def close_nodes(self) -> None:
        """End all lives in order, one host after another. A checkpoint, and cancelled, as `close`."""
        for host in self.hosts.values():
            if host.is_alive:
                await self.close(host)

    def at(self, seconds: float, fault: Fault) -> None:
        """Let `fault` strike `seconds` after the beginning of the world.

        Raises:
            TypeError: it is no fault, or no time.
            ValueError: the time is NaN.
        """
        check_schedule([(seconds, fault)])
        self.call_at(seconds, lambda: self._strike(fault))

    def faults(self, faults: Schedule | Release) -> None:
        """Let faults strike: those of a schedule, or such as `swarm()` draws, until the world is calm.

        Each strikes in its turn, when the world comes to its time and nothing else can run: none while it
        is given. What is due already comes next.

        Raises:
            TypeError: it is neither a list of times with faults, nor what `swarm()` returns.
            ValueError: a time is NaN.
        """
        if not hasattr(faults, "release"):
            check_schedule(faults)
        if self.prescribed is not None:
            faults, self.prescribed = self.prescribed, []
        if isinstance(faults, list):
            for seconds, fault in faults:
                self.call_at(seconds, partial(self.strike, fault))
        else:
            faults.release(self)

    def prescribe(self, schedule: Schedule) -> None:
        """Play the faults of `schedule` instead of those that `faults` is given; what chance decides among
        them holds from now on.
        """
        mishaps, self.prescribed = split(schedule)
        for _, mishap in mishaps:
            mishap.strike(self)

    def strike(self, fault: Fault) -> None:
        """Let `fault` strike now, one of those that `faults` was given."""
        if not self.is_calm:
            self.drawn.append((self.now(), fault))
            self._strike(fault)

    def _strike(self, fault: Fault) -> None:
        if not self.is_calm:
            kind = type(fault).__name__
            self.struck[kind] = self.struck.get(kind, 0) + 1
            self._note(f"fault.{kind}")
            fault.strike(self)

    async def calm(self, seconds: float, core: Sequence[Host | str] | None = None) -> None:
        """End all faults, and let so many seconds pass in which the system must recover.

        A checkpoint; cancelled, the faults stay over.

        Args:
            seconds: how long; longer if a property of `eventually` has more time, and needs it.
            core: only these hosts, and what lies between them, become healthy; the others stay as they are.

        Raises:
            ValueError: the world has no such host, or the time is less than 0, or NaN.
        """
        at_least_0(seconds)
        healthy = list(self.hosts.values()) if core is None else list(map(self.host, core))
        self.is_calm = core is None
        self.calm_since = self.now()
        names = [*(host.name for host in healthy), *self.recover_servers()]
        self._note("calm", *names)
        for way in self.network.ways(names, names):
            self._heal(way)
            way.calm()
        self.network.strikes.clear()
        for host in healthy:
            self.thaw(host)
            if host.disk is not None:
                host.disk.recover()
            if host.rate != 1.0:
                self.drift_clock(host, 1.0)
            if host.is_alive:
                self.slow(host, step=0.0)
            elif host.life is None or host.life.is_over:
                await self._start(host)
        self.await_properties()
        await self.run(max(0.0, seconds - SETTLED))
        self._mismatches = mismatches(self.living_nodes())
        await self.run(min(seconds, SETTLED))
        while self.is_awaiting:
            await self.run(SETTLED / 10)

    # For lives and substitutes.

    def stepped(self, life: Life) -> None:
        """Note that a task of `life` has run."""
        self.steps += 1
        if self.steps >= self._collect_at:
            self._collect_at += COLLECT
            gc.collect()
            if self._instant.never_ends(self.now(), self.steps):
                self.fail(Stuck(f"time stands still at {self.now():g} s: a task of {life} never waits"))
        self.examine()

    def refused(self, error: Nondeterministic) -> None:
        """Fail the world with `error`: code of a life asked for something real, whatever it makes of that."""
        self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End the world's block with `error`: the first one counts."""
        if self._trouble is None:
            self._trouble = error
            self.scope.cancel()

    def _note(self, kind: str, *fields: object) -> None:
        self.log.write(self.now(), self.steps, kind, *fields)

    # The world's own beginning and end.

    async def hold_lives(self, begun: trio.Event, over: trio.Event) -> None:
        """Hold the tasks of all lives, out of reach of what surrounds the world. A checkpoint until it has
        ended; cancelled, it fails. The events `begun` and `over` are set.
        """
        try:
            async with trio.open_nursery() as self._holder:
                begun.set()
                await self._ended.wait()
        except BaseException as error:
            self.fail(error)
        finally:
            over.set()

    def stuck(self) -> None:
        """Nothing can ever run again."""
        waiting = [f"{life}: {task.name}" for life in self._lives() for task in life.tasks]
        lines = "\n  ".join(waiting) or "no host has a task"
        if isinstance(self._trouble, Stuck):
            raise self._trouble
        self.fail(Stuck(f"nothing can ever run again at {self.now():g} s; these tasks wait:\n  {lines}"))

    def _lives(self) -> list[Life]:
        return [host.life for host in self.hosts.values() if host.life is not None]

    def end(self) -> None:
        """Crash what lives."""
        for host in self.hosts.values():
            if host.life is not None and host.is_alive:
                self._bury(host, host.life, silently=False)
        self.end_servers()
        self.ended_at = self.clock.now  # its clock goes on: trio's, with deadlines of the dead
        self._ended.set()

    def raise_trouble(self) -> None:
        """Raise what has failed the world, with a note that names the seed."""
        if self._trouble is not None:
            raise self._trouble
