"""Faults: what a world does to its hosts and ways. Frozen records, so that a schedule is a value.

Each ends by itself, after the seconds that it holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias, get_args

import attrs

from enfilade.fields import by_annotation

if TYPE_CHECKING:
    from enfilade.actors.simulation.host import Host
    from enfilade.actors.simulation.world import World

__all__ = [
    "Block",
    "Crash",
    "DiskFailure",
    "DiskTrouble",
    "Distance",
    "Drift",
    "Flaky",
    "Freeze",
    "LostRegistry",
    "Partition",
    "ServerTrouble",
    "Skew",
    "Slow",
    "Strike",
]


Blow: TypeAlias = Literal[
    "reset",
    "cut",
    "silence",
    "one way",
    "crash sender",
    "crash receiver",
    "freeze sender",
    "freeze receiver",
    "full",
]
"""What a `Strike` does."""

_SECONDS: Final = attrs.validators.ge(0.0)  # which NaN is not, either
_ONCE: Final = attrs.validators.ge(1)
_SHARE: Final = attrs.validators.optional([_SECONDS, attrs.validators.le(1.0)])
_DELAY: Final[Any] = attrs.validators.optional(_SECONDS)  # of any number
_ENDS: Final = attrs.validators.in_(("process", "machine"))
_APART: Final = attrs.validators.in_(("silence", "reset"))
_RATE: Final = attrs.validators.and_(attrs.validators.ge(0.5), attrs.validators.le(2.0))
_DISK_OPERATIONS: Final = attrs.validators.in_(("read", "write", "sync"))
_SERVER_TROUBLES: Final = attrs.validators.in_(("killed", "power", "frozen", "retiring", "full"))


@attrs.frozen(field_transformer=by_annotation)
class Crash:
    """Crash a host, and start it again.

    Attributes:
        host: its name.
        how: with the "process" its peers hear of it; with the "machine" they hear nothing.
        back: seconds after which the next life starts; None: never.
    """

    host: str
    how: Literal["process", "machine"] = attrs.field(default="process", validator=_ENDS)
    back: float | None = attrs.field(default=1.0, validator=_DELAY)

    def __str__(self) -> str:
        back = "for good" if self.back is None else f"and comes back after {self.back:g} s"
        return f"{self.host}: the {self.how} is crashed, {back}"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        host = world.host(self.host)
        if host.is_alive:
            world.crash(host, self.how)
            if self.back is not None:
                world.start_later(host, self.back)


@attrs.frozen(field_transformer=by_annotation)
class Freeze:
    """Let `host` stand still for `seconds`."""

    host: str
    seconds: float = attrs.field(default=1.0, validator=_SECONDS)

    def __str__(self) -> str:
        return f"{self.host} stands still for {self.seconds:g} s"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        world.freeze(world.host(self.host), self.seconds)


@attrs.frozen(field_transformer=by_annotation)
class Slow:
    """Give `host` a slow processor: each step takes it `step` seconds, for `seconds`."""

    host: str
    step: float = attrs.field(default=2e-4, validator=_SECONDS)
    seconds: float = attrs.field(default=1.0, validator=_SECONDS)

    def __str__(self) -> str:
        return f"{self.host} has a slow processor for {self.seconds:g} s: {self.step:.3g} s a step"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        host = world.host(self.host)
        life = host.life
        world.slow(host, step=self.step)
        world.last(
            ("slow", life), self.seconds, lambda: world.slow(host, step=0.0) if host.life is life else None
        )


@attrs.frozen(field_transformer=by_annotation)
class Block:
    """Let `host` hold its loop for `seconds`."""

    host: str
    seconds: float = attrs.field(default=0.1, validator=_SECONDS)

    def __str__(self) -> str:
        return f"{self.host} holds its loop for {self.seconds:g} s"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        host = world.host(self.host)
        if host.life is not None:
            world.slow(host, step=host.life.step_cost, blocked=self.seconds)


@attrs.frozen(field_transformer=by_annotation)
class Partition:
    """Keep two hosts or zones apart for so many seconds.

    Attributes:
        one, other: names of hosts or zones, or tuples of them.
        seconds: how long.
        how: "silence" holds back what arrives, "reset" breaks the connections.
        one_way: whether only what travels from `one` to `other` is concerned.
    """

    one: str | tuple[str, ...]
    other: str | tuple[str, ...]
    seconds: float = attrs.field(default=1.0, validator=_SECONDS)
    how: Literal["silence", "reset"] = attrs.field(default="silence", validator=_APART)
    one_way: bool = False

    def __str__(self) -> str:
        ends = " -> " if self.one_way else " | "
        what = "in silence" if self.how == "silence" else "by broken connections"
        return (
            f"{ends.join(map(_listed, (self.one, self.other)))} are kept apart {what} for {self.seconds:g} s"
        )

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        world.keep_apart(self.one, self.other, self.seconds, how=self.how, one_way=self.one_way)


@attrs.frozen(field_transformer=by_annotation)
class Flaky:
    """Change properties of the way from one host to another for so many seconds.

    Attributes:
        one, other: names of hosts.
        seconds: how long.
        latency, jitter, full, twice, reset: as of `Way`; None leaves the property as it is.
    """

    one: str
    other: str
    seconds: float = attrs.field(default=1.0, validator=_SECONDS)
    latency: float | None = attrs.field(default=None, validator=_DELAY)
    jitter: float | None = attrs.field(default=None, validator=_DELAY)
    full: float | None = attrs.field(default=None, validator=_SHARE)
    twice: float | None = attrs.field(default=None, validator=_SHARE)
    reset: float | None = attrs.field(default=None, validator=_SHARE)

    CHANGED: ClassVar[tuple[str, ...]] = ("latency", "jitter", "full", "twice", "reset")

    def __str__(self) -> str:
        values = ((name, getattr(self, name)) for name in self.CHANGED)
        changed = ", ".join(f"{name} {value:.3g}" for name, value in values if value is not None)
        return f"the way {self.one} -> {self.other} has {changed or 'no fault'} for {self.seconds:g} s"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        changed = {name: value for name in self.CHANGED if (value := getattr(self, name)) is not None}
        end = world.way(self.one, self.other).disturb(**changed)
        world.call_at(world.now() + self.seconds, end)


@attrs.frozen(field_transformer=by_annotation)
class DiskFailure:
    """Let the next `times` operations of the kind `operation` on the disk of `host` fail, if it has one."""

    host: str
    operation: Literal["read", "write", "sync"] = attrs.field(default="sync", validator=_DISK_OPERATIONS)
    times: int = attrs.field(default=1, validator=_ONCE)

    def __str__(self) -> str:
        return f"{self.host}: the next {self.times} {self.operation}s of its disk fail"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        disk = world.host(self.host).disk
        if disk is not None:
            disk.fail(self.operation, self.times)


@attrs.frozen(field_transformer=by_annotation)
class DiskTrouble:
    """Let a host's disk, if it has one, be full or slow for so many seconds.

    Attributes:
        host: its name.
        seconds: how long.
        room: bytes that can still be written; None: as before.
        latency: seconds that each operation takes; 0: as before.
    """

    host: str
    seconds: float = attrs.field(default=1.0, validator=_SECONDS)
    room: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(0)))
    latency: float = attrs.field(default=0.0, validator=_SECONDS)

    def __str__(self) -> str:
        room = "" if self.room is None else f", room for {self.room} bytes"
        slow = f", {self.latency:.3g} s an operation" if self.latency else ""
        return f"{self.host}: its disk is in trouble for {self.seconds:g} s{room}{slow}"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        disk = world.host(self.host).disk
        if disk is None:
            return
        changed: dict[str, float] = {"latency": self.latency} if self.latency else {}
        if self.room is not None:
            changed["capacity"] = disk.used + self.room
        world.call_at(world.now() + self.seconds, disk.disturb(**changed))


@attrs.frozen(field_transformer=by_annotation)
class ServerTrouble:
    """Let a server of the mesh be in trouble for so many seconds.

    Attributes:
        server: its name.
        what: "killed" ends it, and its clients hear of that; with "power" they hear nothing; "frozen" lets it
            stand still; "retiring" sends its clients to others before it ends; "full" lets all servers
            refuse what is written to the registry.
        seconds: how long; a server that has ended is started again then.
    """

    server: str
    what: Literal["killed", "power", "frozen", "retiring", "full"] = attrs.field(
        default="killed", validator=_SERVER_TROUBLES
    )
    seconds: float = attrs.field(default=1.0, validator=_SECONDS)

    def __str__(self) -> str:
        return f"server {self.server} is {self.what} for {self.seconds:g} s"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        match self.what:
            case "killed":
                world.end_server(self.server, back=self.seconds)
            case "power":
                world.end_server(self.server, "machine", back=self.seconds)
            case "frozen":
                world.freeze_server(self.server, self.seconds)
            case "retiring":
                world.retire_server(self.server, self.seconds / 2)
                world.call_at(world.now() + self.seconds, lambda: world.start_server(self.server))
            case "full":
                world.fill_registry(self.seconds)


@attrs.frozen(field_transformer=by_annotation)
class LostRegistry:
    """End all servers of the mesh, and start them again with empty disks after `seconds`."""

    seconds: float = attrs.field(default=1.0, validator=_SECONDS)

    def __str__(self) -> str:
        return f"all servers lose their data, and are back after {self.seconds:g} s"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        world.lose_registry(self.seconds)


@attrs.frozen(field_transformer=by_annotation)
class Skew:
    """Put the wall clock of `host` forward by `seconds`, or back; or that of a mesh's server of that name."""

    host: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.host}: its wall clock is put by {self.seconds:+g} s"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        if self.host in world.servers:
            world.skew_server_clock(self.host, self.seconds)
        else:
            world.skew_clock(world.host(self.host), self.seconds)


@attrs.frozen(field_transformer=by_annotation)
class Drift:
    """Let the monotonic clock of a host go at another rate for so many seconds: all that it times itself.

    Attributes:
        host: its name.
        rate: seconds that its clock counts in one second of the world.
        seconds: how long.
    """

    host: str
    rate: float = attrs.field(validator=_RATE)
    seconds: float = attrs.field(default=10.0, validator=_SECONDS)

    def __str__(self) -> str:
        return f"{self.host}: its clock counts {self.rate:.3g} s a second for {self.seconds:g} s"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        host = world.host(self.host)
        world.drift_clock(host, self.rate)
        world.call_at(world.now() + self.seconds, lambda: self._end(world, host))

    def _end(self, world: World, host: Host) -> None:
        if host.rate == self.rate:  # no other fault has changed it meanwhile
            world.drift_clock(host, 1.0)


@attrs.frozen(field_transformer=by_annotation)
class Distance:
    """Let everything that travels between hosts, or to servers, take `latency` seconds from now on, even to
    those that are opened later.
    """

    latency: float = attrs.field(validator=_SECONDS)

    def __str__(self) -> str:
        return f"each way takes {self.latency:g} s from now on"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        world.network.keep_apart(self.latency)


@attrs.frozen(field_transformer=by_annotation)
class Strike:
    """Hit a place: do something within the hand-over of a number, counted from the beginning of the world.

    Attributes:
        place: the number of the hand-over, from 1.
        what: "reset" breaks the connection within the hand-over; "cut" breaks it and keeps the hosts apart
            for a second; "silence" keeps them apart in silence, and "one way" only what travels that way;
            "crash sender" and "crash receiver" crash a host, which comes back after a second; "freeze sender"
            and "freeze receiver" let one stand still for a second; "full" lets the next second's batches on
            this way find no room.
    """

    place: int = attrs.field(validator=_ONCE)
    what: Blow = attrs.field(default="reset", validator=attrs.validators.in_(get_args(Blow)))

    def __str__(self) -> str:
        return f"at the hand-over of number {self.place}: {self.what}"

    def strike(self, world: World) -> None:
        """Set the trap in `world`: see `Fault`."""
        world.strike_at(self.place, self.hit)

    def hit(self, world: World, sender: str, receiver: str) -> None:
        """Strike `world` at the hand-over from `sender` to `receiver`, which has come. A stranger has no host
        that could be crashed, or stand still.
        """
        victim = sender if self.what.endswith("sender") else receiver
        if self.what.startswith(("crash", "freeze")) and victim not in world.hosts:
            return
        match self.what:
            case "reset":
                world.reset(sender, receiver)
            case "cut":
                Partition(sender, receiver, how="reset").strike(world)
            case "silence":
                Partition(sender, receiver).strike(world)
            case "one way":
                Partition(sender, receiver, one_way=True).strike(world)
            case "crash sender":
                Crash(sender).strike(world)
            case "crash receiver":
                Crash(receiver).strike(world)
            case "freeze sender":
                Freeze(sender).strike(world)
            case "freeze receiver":
                Freeze(receiver).strike(world)
            case "full":
                Flaky(sender, receiver, full=1.0).strike(world)


def _listed(names: str | tuple[str, ...]) -> str:
    return names if isinstance(names, str) else ", ".join(names)
