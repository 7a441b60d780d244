"""What type checkers must accept, with the types that they must find."""

from typing import assert_type

from enfilade.actors import Actor, Child, Deferred, Node, Process, Ref, Request, Supervisor


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
