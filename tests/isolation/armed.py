"""An actor that does something once, at the place of its own that the tier names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from enfilade.actors import KILL, Actor
from tests.isolation.stage import Stage
from tests.isolation.victims import Sync

__all__ = ["HOOKS", "play"]

HOOKS: Final = {
    "call": "fire",
    "cast": "fire",
    "message": "on_message",
    "start": "on_start",
    "stop": "on_stop",
    "down": "on_down",
    "continuation": "go_on",
}
"""The method that does it, by tier."""


async def play(stage: Stage, base: type[Actor], fire: Callable[..., Any]) -> None:
    """Spawn an actor with `fire` for the method of the tier, cast it as the victim, and have it called.

    Args:
        stage: the stage, whose tier is one of `HOOKS`.
        base: what the actor derives from.
        fire: takes the actor, and what else the method gets.
    """
    where = stage.tier

    def begin(self: Any, ref: Any) -> None:
        if where == "down":
            self.process.monitor(ref)
            self.process.exit(ref, KILL)
        else:
            self.process.continue_with(self.go_on)

    kind: Any = type("Armed", (base,), {HOOKS[where]: fire, "begin": begin})
    ref = await stage.attempt(stage.home.spawn, kind)
    if ref is None:
        return
    ref = await stage.cast(ref, Sync.ping)
    match where:
        case "call":
            await stage.attempt(ref.call, kind.fire)
        case "cast":
            await stage.attempt(ref.cast, kind.fire)
        case "message":
            await stage.attempt(ref.send, "message")
        case "stop":
            await stage.attempt(ref.stop)
        case "down" | "continuation":
            await stage.attempt(ref.call, kind.begin, await stage.home.spawn(Sync))
