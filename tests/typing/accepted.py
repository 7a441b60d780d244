"""What type checkers must accept, with the types that they must find."""

from functools import partial
from typing import Any, assert_type

from enfilade.actors import (
    Actor,
    Child,
    Deferred,
    Node,
    Process,
    Ref,
    Request,
    Supervisor,
    TaskSupervisor,
    acknowledges_start,
    async_nolink,
)


class Account(Actor):
    def __init__(self, balance: int = 0) -> None:
        self.balance = balance

    def deposit(self, amount: int, *, note: str = "") -> int:
        self.balance += amount
        return self.balance

    async def audit(self, limit: float) -> list[str]:
        return [str(limit)]

    def later(self, amount: int) -> Deferred[str]:
        return self.process.defer()

    async def much_later(self, amount: int) -> Deferred[str]:
        return self.process.defer()


class Savings(Account):
    def interest(self) -> float:
        return 0.0


class Strict(Actor):
    def __init__(self, owner: str, limit: int) -> None:
        self.owner = owner
        self.limit = limit


async def function(me: Process, number: int) -> None:
    """Nothing."""


async def any_function(me, *args, **kwargs):  # type: ignore[no-untyped-def]
    """Nothing."""


@acknowledges_start
async def acknowledging(me: Process, name: str) -> None:
    me.started(name)


class Walker:
    async def walk(self, me: Process, where: str) -> None:
        """Nothing."""


async def doubled(number: int, times: int = 1) -> int:
    return number * times


async def program(node: Node, me: Process) -> None:
    account = await node.spawn(Account, 10, name="account")
    assert_type(account, Ref[Account])
    assert_type(await account.call(Account.deposit, 5), int)
    assert_type(await account.call(Account.deposit, 5, note="salary"), int)
    assert_type(await account.call(Account.audit, 0.5), list[str])
    assert_type(await account.call(Account.later, 5), str)
    assert_type(await account.call(Account.much_later, 5), str)
    assert_type(await account.within(1.0).call(Account.deposit, amount=5), int)
    assert_type(account.cast(Account.deposit, 5), None)
    account.send("anything")

    assert_type(await node.spawn(Account), Ref[Account])
    assert_type(await node.spawn(Account, balance=10), Ref[Account])
    assert_type(await node.spawn(Account, balance=10, name="account"), Ref[Account])
    assert_type(await node.spawn(Account, 10, link=True, timeout=1.0), Ref[Account])
    assert_type(await node.spawn(Strict, "Ann", 10), Ref[Strict])
    assert_type(await node.spawn(Strict, "Ann", limit=10, label="strict"), Ref[Strict])
    assert_type(await me.spawn(Strict, "Ann", 10, name="ann", monitor=True), Ref[Strict])
    assert_type(await node.spawn(Supervisor, [Account], strategy="one_for_all", name="top"), Ref[Supervisor])
    assert_type(await node.spawn(Strict, "Ann", kwargs={"limit": 10}), Ref[Strict])
    assert_type(node.spawn_soon(Account, balance=10), Ref[Account])
    assert_type(node.spawn_soon(Strict, "Ann", 10, label="strict"), Ref[Strict])
    assert_type(me.spawn_soon(Strict, "Ann", limit=10, link=True), Ref[Strict])
    assert_type(me.spawn_soon(function, 1), Ref[Any])
    assert_type(await node.spawn(function, 1), Ref[Any])
    assert_type(await node.spawn(function, 1, name="function"), Ref[Any])
    Child(Strict, "Ann", 10, id="ann")
    Child(Strict, "Ann", kwargs={"limit": 10})
    Child(Strict, "Ann", limit=10)
    Child(Strict)
    Child(function, 1, id="function")
    assert_type(await node.spawn(function, number=1), Ref[Any])
    assert_type(await node.spawn(function, number=1, name="function"), Ref[Any])
    assert_type(await me.spawn(function, 1, link=True, timeout=1.0), Ref[Any])
    assert_type(me.spawn_soon(function, 1, label="one", monitor=True), Ref[Any])
    assert_type(await node.spawn(function, kwargs={"number": 1}), Ref[Any])
    assert_type(await node.spawn(partial(function, number=1)), Ref[Any])
    assert_type(await node.spawn(any_function, 1, 2, three=3), Ref[Any])
    assert_type(await node.spawn(Walker().walk, "far"), Ref[Any])
    assert_type(await node.spawn(acknowledging, "it", name="it"), Ref[Any])
    Child(function)
    Child(function, id="template", restart="temporary")
    Child(function, number=1)
    Child(function, kwargs={"number": 1}, id="function")
    Child(Walker().walk, "far", id="walker")

    savings = await node.spawn(Savings)
    assert_type(await savings.call(Savings.interest), float)
    assert_type(await savings.call(Account.deposit, 1), int)
    parent: Ref[Account] = savings
    assert_type(await parent.call(Account.deposit, 1), int)
    assert_type(await node.named("account").call(Account.deposit, 1), int)

    request = me.request(account, Account.deposit, 5)
    assert_type(request, Request[int])
    assert_type(await request.receive(), int)
    assert_type(me.request(account, Account.much_later, 5), Request[str])

    assert_type(await me.receive(int), int)
    assert_type(await me.receive(Account, timeout=1.0), Account)

    supervisor = await node.spawn(
        Supervisor, [Child(Account, 1, id="a"), Child(Savings)], strategy="rest_for_one"
    )
    await supervisor.call(Supervisor.terminate_child, "a")

    tasks = await node.spawn(TaskSupervisor)
    assert_type(await (await async_nolink(tasks, doubled, 2)).wait(), int)
    assert_type(await (await async_nolink(tasks, doubled, 2, 3, label="doubled")).wait(), int)
