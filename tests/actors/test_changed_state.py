"""State and code that are replaced from outside: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from enfilade.actors import Actor, CoroutineReturned, Node, Process, Supervisor, system

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Account(Actor):
    """An actor with attributes of every kind."""

    __slots__ = ("__dict__", "__private", "slot", "unset")

    def __init__(self) -> None:
        self.cash = 13
        self.log = ["a"]
        self.slot = "slot"
        self.__private = "private"

    @property
    def total(self) -> int:
        return self.cash

    @property
    def fussy(self) -> int:
        return 0

    @fussy.setter
    def fussy(self, value: int) -> None:
        raise LookupError("not that")

    def __delattr__(self, name: str) -> None:
        if name == "log":
            raise AttributeError("the log stays")
        super().__delattr__(name)

    def read(self) -> Any:
        return self.__private


class AsyncAccount(Account):
    """The same with a task."""

    async def wait(self) -> None: ...


class Refuser(Account):
    """Lets nothing be set once it is made."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "slot" and hasattr(self, "slot"):
            raise TypeError("sealed")
        super().__setattr__(name, value)


BEFORE = {"cash": 13, "log": ["a"], "slot": "slot", "_Account__private": "private"}


def _fail(state: dict[str, Any]) -> dict[str, Any]:
    state.clear()
    raise LookupError("on purpose")


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "fails": _fail,
    "read-only property": lambda state: {"cash": 7, "total": 7},
    "setter that fails": lambda state: {**state, "cash": 7, "fussy": 1},
    "key that is no text": lambda state: {1: 2},
    "some keys that are no text": lambda state: {**state, "cash": 1, None: 2},
    "the runtime's": lambda state: {**state, "cash": 1, "process": None},
    "the class": lambda state: {**state, "cash": 1, "__class__": Actor},
    "attribute that stays": lambda state: {"cash": 7},
    "no mapping": lambda state: 5,
}


@pytest.mark.parametrize("kind", [Account, AsyncAccount, Refuser])
@pytest.mark.parametrize("change", CHANGES)
async def test_state_is_replaced_whole_or_not(node: Node, kind: type[Account], change: str) -> None:
    """The caller gets the error, and the state is what it was, attribute by attribute."""
    ref = await node.spawn(kind)
    assert await system.get_state(ref) == BEFORE
    with pytest.raises((LookupError, AttributeError, TypeError)):
        await system.replace_state(ref, CHANGES[change])
    assert await system.get_state(ref) == BEFORE
    assert await ref.call(Account.read) == "private"


@pytest.mark.parametrize("kind", [Account, AsyncAccount])
async def test_slots_and_private_names_are_state(node: Node, kind: type[Account]) -> None:
    """What `get_state` shows can be put back, private names and slots included."""
    ref = await node.spawn(kind)
    await system.replace_state(ref, lambda state: {**state, "unset": 1, "_Account__private": "new"})
    assert await system.get_state(ref) == {**BEFORE, "unset": 1, "_Account__private": "new"}
    assert await ref.call(Account.read) == "new"


class Upgraded(Account):
    """A class whose upgrade goes wrong half-way."""

    def on_code_change(self, old: type, extra: str) -> Any:
        self.cash = 99
        self.slot = "changed"
        self.unset = "set"
        if extra == "async":
            return self.late()
        raise LookupError("on purpose")

    async def late(self) -> None: ...


class SyncUpgraded(Account):
    """The same without a task."""

    on_code_change = Upgraded.on_code_change

    def late(self) -> Any:
        return Upgraded.late(self)  # type: ignore[arg-type]


class Tree(Supervisor):
    """Laid out as any actor, but run by another body."""


@pytest.mark.parametrize(
    ("kind", "to", "extra"),
    [
        (Account, SyncUpgraded, "error"),
        (AsyncAccount, Upgraded, "error"),
        (Account, SyncUpgraded, "async"),
        (AsyncAccount, Upgraded, "async"),
        (Account, AsyncAccount, ""),
        (Account, Tree, ""),
        (Account, Actor, ""),
        (Account, int, ""),
        (Account, 5, ""),
    ],
)
async def test_code_is_changed_whole_or_not(node: Node, kind: type[Account], to: Any, extra: str) -> None:
    """A change of code that fails leaves class and state as they were."""
    ref = await node.spawn(kind)
    with pytest.raises((LookupError, TypeError, CoroutineReturned)):
        await system.change_code(ref, to, extra)
    assert await system.get_state(ref) == BEFORE
    assert await ref.call(Account.read) == "private"
    assert type(ref._process.body.actor) is kind  # type: ignore[attr-defined]


async def test_state_of_a_function(node: Node) -> None:
    """What a function's `put` refuses, the caller is told; the process goes on."""
    state = {"n": 1}

    def put(new: Any) -> None:
        raise LookupError("not that")

    async def counter(me: Process) -> None:
        system.expose(me, lambda: state, put)
        while True:
            await me.receive()

    ref = await node.spawn(counter)
    with pytest.raises(LookupError):
        await system.replace_state(ref, lambda state: {"n": 2})
    assert await system.get_state(ref) == {"n": 1}
