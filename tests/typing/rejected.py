"""What type checkers must refuse: every line that ends in `# refused`, and no other."""

import enfilade
from enfilade.actors import Actor, Child, Node, Process, Ref, TaskSupervisor, async_nolink

print(enfilade.Supervizor)  # refused
print(enfilade.actors.Acter)  # refused


class Account(Actor):
    def __init__(self, balance: int = 0) -> None:
        self.balance = balance

    def deposit(self, amount: int, *, note: str = "") -> int:
        return amount

    async def audit(self, limit: float) -> list[str]:
        return [str(limit)]


class Savings(Account):
    def interest(self) -> float:
        return 0.0


class Strict(Actor):
    def __init__(self, owner: str, limit: int) -> None:
        self.owner = owner
        self.limit = limit


class Unrelated(Actor):
    def paint(self) -> None:
        """Nothing."""


async def doubled(number: int, times: int = 1) -> int:
    return number * times


async def worker(me: Process, name: str, times: int = 1, *, loud: bool = False) -> None:
    """Does nothing."""


async def lacking(name: str) -> None:
    """Has no parameter for its process."""


async def program(node: Node, me: Process, account: Ref[Account]) -> None:
    await node.spawn(Account, "ten")  # refused
    await node.spawn(Account, 1, 2)  # refused
    await node.spawn(Account, balance="ten")  # refused
    await node.spawn(Account, blance=10)  # refused
    await node.spawn(Account, "ten", name="account")  # refused
    await node.spawn(Account, 1, 2, label=None)  # refused
    await node.spawn(Strict)  # refused
    await node.spawn(Strict, "Ann")  # refused
    await node.spawn(Strict, 1, 2)  # refused
    await node.spawn(Unrelated, 1)  # refused
    await node.spawn(Account, 10, name=3)  # refused
    await me.spawn(Account, "ten")  # refused
    await me.spawn(Strict, "Ann", timeout=1.0)  # refused
    await node.spawn(worker)  # refused
    await node.spawn(worker, 1)  # refused
    await node.spawn(worker, "a", "b")  # refused
    await node.spawn(worker, "a", 1, 2)  # refused
    await node.spawn(worker, "a", loud="very")  # refused
    await node.spawn(worker, "a", laud=True)  # refused
    await node.spawn(worker, 1, name="worker")  # refused
    await node.spawn(worker, "a", "b", monitor=True)  # refused
    await node.spawn(lacking, "a")  # refused
    await node.spawn(lacking)  # refused
    await node.spawn(print)  # refused
    await me.spawn(worker, 1, link=True)  # refused
    node.spawn_soon(worker)  # refused
    node.spawn_soon(worker, "a", 1, 2)  # refused
    me.spawn_soon(worker, 1, label="a")  # refused
    me.spawn_soon(worker, "a", laud=True)  # refused
    Child(worker, 1)  # refused
    Child(worker, "a", 1, 2)  # refused
    Child(worker, "a", "b", id="a")  # refused
    Child(worker, laud=True)  # refused
    Child(lacking, "a", id="a")  # refused
    node.spawn_soon(Account, "ten")  # refused
    node.spawn_soon(Strict, "Ann")  # refused
    me.spawn_soon(Account, 1, 2, label=None)  # refused
    me.spawn_soon(Account, blance=10)  # refused
    Child(Account, balance="ten")  # refused
    Child(Account, "ten")  # refused
    Child(Account, 1, 2, id="a")  # refused
    Child(Strict, "Ann", id="a")  # refused
    Child(Account, 1, nmae="a")  # refused
    Child(3)  # refused
    await account.call(Account.deposit, "five")  # refused
    await account.call(Account.deposit)  # refused
    await account.call(Account.deposit, 5, 6)  # refused
    await account.call(Account.deposit, 5, note=6)  # refused
    await account.call(Account.deposit, 5, comment="salary")  # refused
    await account.call(Unrelated.paint)  # refused
    await account.call("deposit", 5)  # refused
    account.cast(Account.deposit, "five")  # refused
    account.cast(Unrelated.paint)  # refused
    me.request(account, Account.audit, "tight")  # refused
    text: str = await account.call(Account.deposit, 5)  # refused
    number: int = await account.call(Account.audit, 0.5)  # refused
    other: Ref[Unrelated] = account  # refused
    savings: Ref[Savings] = account  # refused
    await node.named("account").call(Account.deposit, "five")  # refused
    print(text, number, other, savings)

    tasks = await node.spawn(TaskSupervisor)
    await async_nolink(tasks, doubled, "two")  # refused
    await async_nolink(tasks, doubled)  # refused
    await async_nolink(tasks, doubled, 1, 2, 3)  # refused
    await async_nolink(account, doubled, 1)  # refused
