"""The times and sizes of a node's node links."""

from __future__ import annotations

from typing import Any

import attrs

from enfilade.fields import by_annotation
from enfilade.transport.wire import BATCH_LIMIT, HANDLES_LIMIT

__all__ = ["Settings"]


def _positive(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be more than 0, got {value!r}")


def _up_to(most: int) -> Any:
    def check(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
        if not 1 <= value <= most:
            raise ValueError(f"{attribute.name} must be from 1 to {most}, got {value!r}")

    return check


@attrs.frozen(kw_only=True, field_transformer=by_annotation)
class Settings:
    """Times and sizes of a node's node links; times are in seconds. All are more than 0.

    Attributes:
        period: silence after which a peer is dead. Of two nodes' periods the shorter holds for both.
        window: bytes of frames that may be under way from one peer to this node and not yet taken in.
        batch: bytes of frames that leave together, at most 65,536; a longer frame leaves by itself.
        handles: handles that leave together, at most 200; a frame with more leaves by itself.
        high_water: bytes that may wait to leave before senders that are willing to wait have to.
        handshake: longest time for a handshake.
        peers: node links at a time; further nodes are refused.
        goodbye: longest time for an orderly goodbye.
        first_retry: the first pause between attempts to reconnect.
        last_retry: the longest such pause; each is twice the one before, less up to a half at random.

    Raises:
        ValueError: a value is out of its range.
    """

    period: float = attrs.field(default=15.0, validator=_positive)
    window: int = attrs.field(default=1024 * 1024, validator=_positive)
    batch: int = attrs.field(default=BATCH_LIMIT, validator=_up_to(BATCH_LIMIT))
    handles: int = attrs.field(default=HANDLES_LIMIT, validator=_up_to(HANDLES_LIMIT))
    high_water: int = attrs.field(default=512 * 1024, validator=_positive)
    handshake: float = attrs.field(default=5.0, validator=_positive)
    peers: int = attrs.field(default=1024, validator=_positive)
    goodbye: float = attrs.field(default=1.0, validator=_positive)
    first_retry: float = attrs.field(default=0.1, validator=_positive)
    last_retry: float = attrs.field(default=10.0, validator=_positive)
