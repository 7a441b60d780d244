"""The family of an employer and its workers: their rights on one another, and the order to stop."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Collection
from typing import Final

import attrs

from enfilade.transport.policy import Identity, Limits, Policy, Rights

__all__ = ["STOP_SECONDS", "WORD", "FamilyPolicy"]


STOP_SECONDS: Final = 2.0
"""Time limit of each step of the ladder: end of input, SIGTERM, SIGKILL."""

WORD: Final = b"."
"""The employer's order to stop. An end of input without it means that the employer has died."""

FAMILY: Final = Rights(
    exports="*",
    ends="*",
    entries="*",
    groups="*",
    trace_context=True,
    limits=Limits(silence=math.inf, payload=sys.maxsize, decoding=math.inf),
)
"""Rights within the family: everything, with no limit on silence, because workers compute, or on decoding."""


@attrs.frozen(kw_only=True)
class FamilyPolicy(Policy):
    """A policy that gives all rights to the family, known by process id; the rules are for others.

    Attributes:
        family: returns the process ids of the family at the moment.
    """

    family: Callable[[], Collection[int]]

    def admit(self, peer: Identity) -> Rights:
        """See `Policy.admit`."""
        return FAMILY if peer.credentials.pid in self.family() else super().admit(peer)
