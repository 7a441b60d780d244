"""What the children of a supervisor meet that live on another node than it."""

from __future__ import annotations

from typing import Any

from enfilade.actors import Child, RemoteEntry, Supervisor
from tests.isolation.place import handed, raised
from tests.isolation.stage import Stage
from tests.isolation.victims import Sync


async def supervise(stage: Stage, where: str, *args: Any) -> Any:
    """A supervisor here with a victim over there; the victim, if it has started."""
    stage.entries["armed"] = stage.kind(where)
    supervisor = await stage.near.spawn(Supervisor, intensity=3)
    stage.watch(supervisor)
    stage.ping = (Supervisor.count_children,)
    stage.ref = supervisor
    child = Child(RemoteEntry("armed", stage.home.full_name), *args, id="c")
    await stage.attempt(supervisor.call, Supervisor.start_child, child)
    (info,) = await supervisor.call(Supervisor.children) or (None,)
    return None if info is None else info.ref


@raised("sync async function", near=False, far=True)
async def child_elsewhere(stage: Stage) -> None:
    ref = await supervise(stage, "handler")
    await stage.attempt(ref.call, Sync.fire)


@raised("sync async function", near=False, far=True)
async def start_elsewhere(stage: Stage) -> None:
    await supervise(stage, "init")


@handed("sync async function", near=False, far=True)
async def argument_of_child_elsewhere(stage: Stage) -> None:
    ref = await supervise(stage, "", stage.make())
    if ref is not None:
        await stage.attempt(ref.call, Sync.crash)
    assert stage.ref is not None
    await stage.attempt(stage.ref.call, Supervisor.terminate_child, "c")
