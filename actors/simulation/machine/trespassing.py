"""Trespassing: only code of a host may use the nodes of a world. A handler runs in the step of its caller.

A call from the test itself would run code of a host that no crash ends, no freeze holds, and that sees the
machine's time. So what it would go through has a layer while a world runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from enfilade.actors.messages.layers import put_on, take_off
from enfilade.actors.messages.ref import RemoteRef
from enfilade.actors.node.node import Node
from enfilade.actors.processes.local_ref import LocalRef
from enfilade.actors.simulation.machine.custody import LIFE

__all__ = ["trespassers_refused"]

GUARDED: Final[tuple[tuple[type, str], ...]] = (
    (LocalRef, "send"),
    (LocalRef, "cast"),
    (LocalRef, "call"),
    (RemoteRef, "deliver"),
    (RemoteRef, "call"),
    (Node, "spawn"),
)


@contextmanager
def trespassers_refused() -> Iterator[None]:
    """Let code outside of custody use no ref of a world's node and spawn nothing there, for the length of a
    block.
    """
    with ExitStack() as stack:
        for owner, name in GUARDED:
            put_on(owner, name, _guarded)
            stack.callback(take_off, owner, name, _guarded)
        yield


def _node_of(used: Any) -> Any:
    return used if isinstance(used, Node) else used._node()


def _guarded(plain: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        if LIFE.get() is None and _node_of(self).runtime.is_deterministic:
            raise RuntimeError(
                f"{self!r} is used outside of a host: only code of a host may use refs and spawn processes; "
                "let it run by `await world.on(host, function)`"
            )
        return plain(self, *args, **kwargs)

    return guarded
