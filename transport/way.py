"""One of the ways by which a node meets others: a carrier, and what all node links over it have in common."""

from collections.abc import Callable
from functools import partial

import attrs
import trio

from enfilade.transport.carrier import Carrier, Inlet
from enfilade.transport.chunks import Room
from enfilade.transport.node_link import NodeLink
from enfilade.transport.policy import Limits
from enfilade.transport.resuming_link import ResumingLink, Tally
from enfilade.transport.seal import Seal
from enfilade.transport.settings import Settings
from enfilade.transport.terms import version_of
from enfilade.transport.wire import BATCH_LIMIT, FRAME_LIMIT

__all__ = ["Way"]


class Way:
    """A carrier, as a rendezvous uses it.

    Args:
        carrier: makes inlets and outlets.
        settings: times and sizes of node links.
        has_secret: whether the node asks its peers for a secret.

    Attributes:
        carrier: as given.
        version: the version that the node speaks over it.
        room: for long payloads of all peers.
        tally: of what its node links have made up for.
    """

    def __init__(self, carrier: Carrier, settings: Settings, *, has_secret: bool) -> None:
        traits = carrier.traits
        self.carrier = carrier
        self.version = version_of(has_secret=has_secret, is_lossless=traits.lossless)
        self.room = Room(traits.assembly)
        self.tally = Tally()
        self._settings = settings
        self._cuts = not traits.descriptors
        self.resumes = not traits.lossless
        """True when batches may be lost, so that a caller cannot be known to have given up."""

    def window(self) -> int:
        """Return the bytes that may be under way to this node over a node link that is made now."""
        most = self.carrier.traits.window
        return self._settings.window if most is None else min(most, self._settings.window)

    def inlet(self) -> Inlet:
        """Make an inlet for one side of a node link."""
        largest = BATCH_LIMIT + FRAME_LIMIT
        return self.carrier.inlet(capacity=self._settings.window + largest, largest=largest)

    def link(
        self, window: int, peer_window: int, limits: Limits, seal: Seal | None, *, mixes: bool
    ) -> NodeLink:
        """Make a node link.

        Args:
            window: bytes that this node has told the peer that it takes.
            peer_window: bytes that the peer takes before it has accounted for them.
            limits: of the peer.
            seal: of all that is said, with a secret.
            mixes: whether the peer takes in other frames between the chunks of one.
        """
        make: Callable[..., NodeLink] = partial(ResumingLink, tally=self.tally) if self.resumes else NodeLink
        return make(
            settings=attrs.evolve(self._settings, window=window),
            peer_window=peer_window,
            limits=limits,
            clock=trio.current_time,
            seal=seal,
            cuts=self._cuts,
            mixes=mixes,
        )
