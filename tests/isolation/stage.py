"""The stage on which a hostile object meets the runtime, and the one property that is checked afterwards.

There are bystanders of each tier, a victim that deals with the object, and who watches it. However the victim
fares: bystanders answer, timers fire, processes can be spawned, the monitor of the victim hears of its end
exactly once or the victim answers, whoever waits hears before his time limit, and the node closes in time.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Final

import attrs
import trio
from trio.testing import MockClock

from enfilade.actors import (
    Actor,
    CallTimeout,
    Down,
    Node,
    NodeConfig,
    NoProcess,
    Process,
    ProcessDied,
    ReceiveTimeout,
    Ref,
    Restarting,
    RuntimeFault,
    open_node,
)
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.payload import RemoteError
from tests.isolation.values import OF_AN_OBJECT
from tests.isolation.victims import Async, Sync, Victim, function

__all__ = ["Combination", "Stage", "problems"]

PATIENCE: Final = 30.0
"""Seconds of processor time after which a run hangs: a busy machine may not give it any for as long."""

DILIGENCE: Final = 5.0
"""Seconds of processor time that one combination may take, beyond the making of the object."""

USUAL: Final = 1.0
"""Virtual seconds in which a node without unwilling processes closes."""

COUNTERS: Final = {"dead_letters", "dropped", "unkillable"}


class Hung(BaseException):
    """The run makes no progress."""


@attrs.frozen
class Combination:
    """One thing to try.

    Attributes:
        place: where the object meets the runtime.
        tier: what kind of process deals with it.
        far: whether the caller lives on another node.
        hostile: the name of the object.
        act: does it.
        make: makes the object.
        debug: whether the nodes check that processes share nothing.
    """

    place: str
    tier: str
    far: bool
    hostile: str
    act: Callable[[Stage], Awaitable[None]]
    make: Callable[[], Any]
    debug: bool = False

    def __str__(self) -> str:
        return f"{self.place}-{self.tier}-{'far' if self.far else 'near'}-{self.hostile}"


class Echo(Actor):
    def ping(self) -> str:
        return "pong"


class AsyncEcho(Actor):
    async def ping(self) -> str:
        await trio.lowlevel.checkpoint()
        return "pong"


class Stage:
    """A caller's node, the victim's, which may be the same, and what lives there.

    Attributes:
        near: the node of the caller.
        home: the node of the victim.
        me: the calling process.
        entries: what the caller's node may spawn on the victim's.
        tier: what kind of process the victim is.
        make: makes the hostile object.
        ref: the victim, as the caller sees it, if there is one.
        ping: the method that it answers, and the arguments that it takes.
    """

    def __init__(
        self, combination: Combination, near: Node, home: Node, me: Process, entries: dict[str, Any]
    ) -> None:
        self.near = near
        self.home = home
        self.me = me
        self.entries = entries
        self.tier = combination.tier
        self.made = [combination.make()]
        self.make = lambda: self.made.pop() if self.made else combination.make()
        self.ref: Ref[Any] | None = None
        self.ping: tuple[Any, ...] = (Sync.ping,)
        self.watched: list[Ref[Any]] = []
        self.problems: list[str] = []

    @property
    def far(self) -> bool:
        """Whether the caller lives on another node than the victim."""
        return self.near is not self.home

    def kind(self, where: str = "", **attributes: Any) -> Any:
        """What to spawn: a victim that raises at `where`."""
        if self.tier == "function":
            return function(where, self.make)
        base = Async if self.tier == "async" else Sync
        return type("Armed", (base,), {"where": where, "make": staticmethod(self.make), **attributes})

    async def victim(self, where: str = "", *args: Any, **options: Any) -> Ref[Any]:
        """Spawn the victim; return it as the caller sees it."""
        return await self.cast(await self.home.spawn(self.kind(where), *args, name="victim", **options))

    async def cast(self, ref: Ref[Any], *ping: Any) -> Ref[Any]:
        """Give the role of the victim to `ref`, which answers `ping`, and watch it."""
        self.ping = ping or self.ping
        if self.far:
            if self.home.whereis("victim") is None:
                self.home.register("victim", ref)
            found = await self.near.whereis_on(self.home.full_name, "victim")
            assert found is not None
            ref = found
        self.ref = ref
        self.watch(ref)
        await trio.sleep(0.1)
        return ref

    def watch(self, ref: Ref[Any], tag: Any = None) -> None:
        """Expect exactly one `Down` for this if `ref` ends."""
        self.me.monitor(ref, tag=tag)
        self.watched.append(ref)

    async def attempt(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `fn`, which may fail in the way that a program expects: by an exception, and in time."""
        try:
            result = fn(*args, **kwargs)
            return await result if hasattr(type(result), "__await__") else result
        except CallTimeout as error:
            self.problems.append(f"the caller waited for its time limit: {error}")
        except RuntimeFault as error:
            self.check_text(error)
        except Exception:
            pass
        except BaseException as error:  # out of an object that the caller has used himself
            if OF_AN_OBJECT not in getattr(error, "__notes__", ()):
                raise
        return None

    def check_text(self, error: BaseException) -> None:
        """The runtime's own errors have a text, of reasonable length."""
        try:
            longest = max(len(str(error)), len(repr(error)))
        except BaseException as failure:
            self.problems.append(f"{type(error).__name__} has no text: {failure!r}")
        else:
            if longest > 100_000 and type(error).__module__.startswith("enfilade"):
                self.problems.append(f"the text of {type(error).__name__} has {longest} characters")

    async def verify(self, bystanders: list[tuple[Ref[Any], Any]]) -> None:
        """Check the property."""
        for ref, method in bystanders:
            try:
                assert await ref.within(2).call(method) == "pong"
                assert await self.me.request(ref, method).receive(2) == "pong"  # by the mailbox
            except BaseException as error:
                self.problems.append(f"a bystander does not answer: {type(error).__name__}")
                if not isinstance(error, Exception):
                    raise
        await self.check_timers()
        await self.check_spawns()
        await self.check_victim()

    async def check_timers(self) -> None:
        token = object()
        self.me.send_after(1.0, self.me.ref, token)
        with trio.move_on_after(5) as scope:
            await self.me.receive(lambda message: message is token)
        if scope.cancelled_caught:
            self.problems.append("a timer does not fire")

    async def check_spawns(self) -> None:
        for node in {self.near, self.home}:
            for kind in (Echo, AsyncEcho):
                with trio.move_on_after(5) as scope:
                    try:
                        ref = await node.spawn(kind)
                        assert await ref.within(2).call(kind.ping) == "pong"
                    except Exception as error:
                        self.problems.append(f"nothing can be spawned: {error!r}")
                if scope.cancelled_caught:
                    self.problems.append("a spawn hangs")

    async def check_victim(self) -> None:
        await trio.sleep(1)
        downs: dict[Ref[Any], int] = dict.fromkeys(self.watched, 0)
        with contextlib.suppress(ReceiveTimeout):
            while True:
                message = await self.me.receive(timeout=0)
                if type(message) is Down and message.ref in downs:
                    downs[message.ref] += 1
                    self.check_reason(message.reason)
        for ref, heard in downs.items():
            lives = ref.serial in (self.home if ref.node_name == self.home.full_name else self.near).processes
            if heard != (0 if lives else self.watched.count(ref)):
                self.problems.append(f"{'lives' if lives else 'ended'}, and its monitor heard {heard} times")
            if lives and ref == self.ref:
                try:
                    await ref.within(2).call(*self.ping)
                except RemoteError:
                    pass  # an answer that cannot travel is an answer
                except (CallTimeout, NoProcess, ProcessDied, Restarting) as error:
                    self.problems.append(f"the victim lives and does not answer: {type(error).__name__}")

    def check_reason(self, reason: Any) -> None:
        try:
            if len(str(reason)) > 100_000:
                self.problems.append("the text of a reason is too long")
        except BaseException as failure:
            self.problems.append(f"a reason has no text: {type(failure).__name__}")


async def play(combination: Combination, found: list[str]) -> None:
    """Run one combination; what is wrong is added to `found`."""
    entries: dict[str, Any] = {"armed": None}
    config = NodeConfig(debug=combination.debug)
    async with AsyncExitStack() as stack:
        if combination.far:
            network = MemoryNetwork()
            policy = Policy.same_user(exports="*", entries="*")
            near = await stack.enter_async_context(
                open_node(
                    "near",
                    zone="a",
                    config=config,
                    carrier=network.carrier("near"),
                    policy=policy,
                    listen="/near",
                )
            )
            home = await stack.enter_async_context(
                open_node(
                    "home",
                    zone="b",
                    config=config,
                    carrier=network.carrier("home"),
                    policy=policy,
                    listen="/home",
                    entries=entries,
                )
            )
            await near.connect("/home")
        else:
            near = home = await stack.enter_async_context(open_node("near", config=config))
        async with near.mailbox() as me:
            stage = Stage(combination, near, home, me, entries)
            started = time.process_time()
            bystanders = [
                (await node.spawn(kind), kind.ping)
                for node in {near, home}
                for kind in (Echo, AsyncEcho, Sync, Async)
            ]
            bystanders.append((await home.spawn(function("", Victim)), Sync.ping))
            await combination.act(stage)
            await trio.sleep(0.5)
            await stage.verify(bystanders)
            found += stage.problems
        closing = trio.current_time()
        if time.process_time() - started > DILIGENCE:
            found.append(f"took {time.process_time() - started:.1f} s of processor time")
    if trio.current_time() - closing > USUAL:
        found.append(f"the node took {trio.current_time() - closing:.1f} s to close")
    for node in {near, home}:
        left = {
            key: value
            for key, value in attrs.asdict(node.statistics()).items()
            if key not in COUNTERS and value
        }
        if left:
            found.append(f"left over: {left}")


class Log(logging.Handler):
    """A log of the usual kind, which makes the text of every record; and what others than we have logged."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.strange: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # Trio says so where a generator is left, and asyncio which selector a loop of the program has.
        if not record.name.startswith(("enfilade", "trio.async_generator", "asyncio")):
            self.strange.append(f"{record.name} logged {record.msg!r}")
        self.format(record)


@contextmanager
def watching(found: list[str]) -> Iterator[None]:
    """Watch what Python tells nobody: what is raised where it cannot be caught, and what is logged."""

    def unraisable(what: Any) -> None:
        # The destructors of the hostile objects themselves raise: that is theirs.
        if getattr(what.object, "__qualname__", "").endswith("DelRaises.__del__"):
            return
        text = "".join(traceback.format_tb(what.exc_traceback))
        found.append(
            f"raised where nobody can catch it: {what.exc_type.__name__} in {what.object!r:.80} {text}"
        )

    def alarm(*_: object) -> None:
        raise Hung("".join(traceback.format_stack(sys._getframe(1))))

    log = Log()
    root = logging.getLogger()
    level, hook, handlers = root.level, sys.unraisablehook, root.handlers[:]
    root.handlers[:] = [log]
    root.setLevel(logging.DEBUG)
    sys.unraisablehook = unraisable
    before = signal.signal(signal.SIGPROF, alarm)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
            gc.collect(0)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        sys.unraisablehook = hook
        root.setLevel(level)
        root.handlers[:] = handlers
        found += log.strange


def problems(combination: Combination) -> list[str]:
    """Try one combination, in virtual time, and return what is wrong."""
    found: list[str] = []
    with watching(found):
        try:
            trio.run(limited, combination, found, clock=MockClock(autojump_threshold=0))
        except BaseException as error:
            cause = error.__cause__
            found.append(f"the run ended with {type(error).__name__}: {described(cause or error)}")
    return found


async def limited(combination: Combination, found: list[str]) -> None:
    with trio.move_on_after(300) as scope:
        await play(combination, found)
    if scope.cancelled_caught:
        found.append("something waited for ever")


def described(error: BaseException) -> str:
    """Where an error was raised, in few words, for it may be hostile."""
    try:
        lines = [
            f"{frame.filename.rsplit('/', 2)[-2]}/{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}"
            for frame in traceback.extract_tb(BaseException.__traceback__.__get__(error))  # type: ignore[attr-defined]
        ]
        return f"{type(error).__name__} at {' < '.join(lines[-4:][::-1])}"
    except BaseException:
        return "an error without a text"
