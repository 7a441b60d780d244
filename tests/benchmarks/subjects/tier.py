"""The two tiers: the same actor with sync handlers, which the dispatcher runs, or in a task of its own."""

from __future__ import annotations

from typing import Any

import trio

from enfilade.actors import Actor


def run(main: Any) -> float:
    """Run an async kernel."""
    return float(trio.run(main))


def in_tier(variant: str, actor: type[Actor]) -> type[Any]:
    """The actor as it is for `sync`; for `async` one whose `on_message` is a coroutine function."""
    if variant == "sync":
        return actor

    async def on_message(self: Any, message: Any) -> None:
        actor.on_message(self, message)

    return type(f"Async{actor.__name__}", (actor,), {"on_message": on_message})
