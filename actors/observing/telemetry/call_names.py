"""The names of calls to other nodes: class and method.

A request knows only the name of its method. While somebody wants the class, too, it is noted where the method
is named, and read where the request leaves, in the same step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from enfilade.actors.messages.layers import put_on, take_off
from enfilade.actors.messages.ref import Ref, RemoteRef
from enfilade.actors.messages.request import Request
from enfilade.actors.processes.process import Process

__all__ = ["begin_naming", "call_name", "end_naming", "short_name"]

LOCAL: Final = "<locals>."

_named: Any = None
_users = 0


def begin_naming() -> None:
    """Note the classes of calls, for one user more. Not a checkpoint."""
    global _users
    _users += 1
    if _users == 1:
        for owner, name, layer in _LAYERS:
            put_on(owner, name, layer)


def end_naming() -> None:
    """One user less; after the last one nothing is noted. Not a checkpoint."""
    global _users, _named
    _users -= 1
    if not _users:
        _named = None
        for owner, name, layer in _LAYERS:
            take_off(owner, name, layer)


def call_name(method: str) -> str:
    """The class and the method of a request that leaves now; the method alone if the class is unknown."""
    if getattr(_named, "__name__", None) != method:
        return method
    owner = short_name(getattr(_named, "__qualname__", method)).rpartition(".")[0]
    return f"{owner}/{method}" if owner else method


def short_name(name: str) -> str:
    """The name of a class without the function that it was made in."""
    return name.rpartition(LOCAL)[2]


def _noting_call(plain: Callable[..., Any]) -> Callable[..., Any]:
    async def call(self: RemoteRef[Any], method: Any, /, *args: Any, **kwargs: Any) -> Any:
        global _named
        _named = method
        return await plain(self, method, *args, **kwargs)

    return call


def _noting_request(plain: Callable[..., Any]) -> Callable[..., Any]:
    def request(self: Process, ref: Ref[Any], method: Any, /, *args: Any, **kwargs: Any) -> Request[Any]:
        global _named
        _named = method
        return plain(self, ref, method, *args, **kwargs)  # type: ignore[no-any-return]

    return request


_LAYERS: Final = ((RemoteRef, "call", _noting_call), (Process, "request", _noting_request))
