"""A node's settings."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["NodeConfig"]


def _positive(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be more than 0 seconds, not {value!r}")


def _not_negative(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{attribute.name} must be at least 0, not {value!r}")


@attrs.frozen(kw_only=True)
class NodeConfig:
    """The settings of one node.

    Attributes:
        call_timeout: how many seconds a call waits for its reply when its ref does not say; `math.inf` for
            ever.
        grace: how many seconds an ordered shutdown may take before what is left is killed.
        kill_grace: how many seconds a killed process may take to be gone before it is reported as unkillable.
        slow_handler: how many seconds a sync handler may hold the loop before a warning.
        reports_per_second: how many abnormal exits, and how many dead letters, are logged in a second; the
            rest is counted.
        handle_interrupt: whether SIGINT is taken over while the node runs, when it is opened in the main
            thread.
    """

    call_timeout: float = attrs.field(default=5.0, validator=_positive)
    grace: float = attrs.field(default=30.0, validator=_not_negative)
    kill_grace: float = attrs.field(default=5.0, validator=_positive)
    slow_handler: float = attrs.field(default=0.01, validator=_positive)
    reports_per_second: int = attrs.field(default=20, validator=_not_negative)
    handle_interrupt: bool = True
