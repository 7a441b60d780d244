"""The family of an employer and its workers: what they may do with one another, and how one ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Final

import attrs

from enfilade.transport.policy import Identity, Limits, Policy, Rights

__all__ = ["STOP_SECONDS", "WORD", "FamilyPolicy"]


STOP_SECONDS: Final = 2.0
"""How long each step of the ladder (end of input, SIGTERM, SIGKILL) may take."""

WORD: Final = b"."
"""What an employer says to have a worker stop; one that ends without has died."""

FAMILY: Final = Rights(exports="*", entries="*", groups="*", limits=Limits(silence=math.inf))
"""What an employer and its workers may do with one another: everything, and be silent while they compute."""


@attrs.frozen(kw_only=True)
class FamilyPolicy(Policy):
    """The processes of one program, which the kernel vouches for, have all rights; the rules are for others.

    Attributes:
        family: the process ids that belong to it at this moment.
    """

    family: Callable[[], Collection[int]]

    def admit(self, peer: Identity) -> Rights:
        """See `Policy.admit`."""
        return FAMILY if peer.credentials.pid in self.family() else super().admit(peer)
