"""The ways between simulated hosts: how long what travels takes, and what keeps it from arriving."""

import math
from collections.abc import Callable
from typing import Final, Protocol

import attrs

from enfilade.fields import a_number
from enfilade.transport.simulated.disturbances import Disturbances

__all__ = ["LATENCY", "Draws", "Lane", "Parcel", "Port", "Way"]

LATENCY: Final = 0.0005
"""Seconds that a way takes of which nothing else was said."""


class Draws(Protocol):
    """A stream of chance that belongs to the network alone."""

    def random(self) -> float:
        """Draw a float from 0 to 1, 1 excluded."""
        ...

    def chance(self, share: float) -> bool:
        """Draw true in that share of all cases; draws nothing when it is 0."""
        ...


def _share(_instance: object, attribute: "attrs.Attribute[float]", value: float) -> None:
    a_number(_instance, attribute, value)
    if not 0 <= value <= 1:
        raise ValueError(f"{attribute.name} must be a share from 0 to 1, got {value!r}")


def _seconds(_instance: object, attribute: "attrs.Attribute[float]", value: float) -> None:
    a_number(_instance, attribute, value)
    if not 0 <= value < math.inf:
        raise ValueError(f"{attribute.name} must be a finite number of at least 0, got {value!r}")


def _rate(_instance: object, attribute: "attrs.Attribute[float]", value: float) -> None:
    a_number(_instance, attribute, value)
    if not value > 0:
        raise ValueError(f"{attribute.name} must be more than 0 bytes in a second, got {value!r}")


@attrs.define(eq=False)
class Lane:
    """One direction of one connection: what travels in it keeps its order.

    Attributes:
        last: when the latest parcel arrives.
    """

    last: float = 0.0


@attrs.define(eq=False)
class Port:
    """A host's place on the network. It outlives the processes of the host.

    Attributes:
        name: of the host.
        zone: of the host.
        is_frozen: whether its server procedures stand still.
        is_off: whether the machine has died and has not come back: it answers nothing.
        stalled: what arrived while it was frozen.
    """

    name: str
    zone: str
    is_frozen: bool = False
    is_off: bool = False
    stalled: "list[Parcel]" = attrs.field(factory=list)


@attrs.define(eq=False)
class Way:
    """The direction from one host to another.

    Attributes:
        origin: where it begins.
        destination: where it leads.
        latency: seconds that everything takes.
        jitter: seconds of a uniform draw that are added.
        tail: the mean of an exponential draw that is added.
        bandwidth: bytes in a second; a queue stands before it.
        full: the share of batches that find no room.
        loss: the share of batches that are accepted and lost, where carriers do not promise the contrary.
        twice: the share of repeatable batches that are put in twice.
        reset: the share of batches at whose hand-over the connection breaks.
        is_silent: whether what arrives is held back until the way is healed.
        is_cut: whether connections cannot be made, and have been broken.
    """

    origin: Port
    destination: Port
    latency: float = attrs.field(default=LATENCY, validator=_seconds)
    jitter: float = attrs.field(default=0.0, validator=_seconds)
    tail: float = attrs.field(default=0.0, validator=_seconds)
    bandwidth: float = attrs.field(default=math.inf, validator=_rate)
    full: float = attrs.field(default=0.0, validator=_share)
    loss: float = attrs.field(default=0.0, validator=_share)
    twice: float = attrs.field(default=0.0, validator=_share)
    reset: float = attrs.field(default=0.0, validator=_share)
    is_silent: bool = False
    is_cut: bool = False
    held: "list[Parcel]" = attrs.field(factory=list, init=False)
    _free_at: float = attrs.field(default=0.0, init=False)
    _disturbances: Disturbances = attrs.field(
        default=attrs.Factory(Disturbances, takes_self=True), init=False
    )

    def set(self, **properties: float) -> None:
        """Change properties of the way. Where it is disturbed they count afterwards.

        Raises:
            ValueError: there is no such property, or the value is out of its range.
        """
        for name, value in properties.items():
            if name not in SETTABLE:
                raise ValueError(f"a way has no property {name!r}; it has {', '.join(SETTABLE)}")
            self._disturbances.set(name, value)

    def disturb(self, **properties: float) -> Callable[[], None]:
        """Change properties until what is returned is called. Of several disturbances the latest holds."""
        return self._disturbances.begin(properties)

    def calm(self) -> None:
        """End all disturbances, and let the way have no faults of its own."""
        self._disturbances.end()
        self.set(full=0.0, twice=0.0, reset=0.0)

    def delay(self, now: float, size: int, draws: Draws) -> float:
        """Draw the seconds that a parcel of so many bytes takes from now on."""
        seconds = self.latency
        if self.jitter:
            seconds += self.jitter * draws.random()
        if self.tail:
            seconds -= self.tail * math.log(1.0 - draws.random())
        if self.bandwidth < math.inf:
            self._free_at = max(now, self._free_at) + size / self.bandwidth
            seconds += self._free_at - now
        return seconds


SETTABLE = ("latency", "jitter", "tail", "bandwidth", "full", "loss", "twice", "reset")


@attrs.frozen(eq=False)
class Parcel:
    """Something under way: a batch, an answer, or the news that an end is gone.

    Attributes:
        way: the way it takes.
        deliver: what its arrival does.
        drop: what is to be done when it never arrives.
    """

    way: Way
    deliver: Callable[[], None]
    drop: Callable[[], None]
