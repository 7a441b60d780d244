"""What type checkers must refuse: every line that ends in `# refused`, and no other."""

from enfilade.actors import Actor, Node, Process, Ref


class Account(Actor):
    def deposit(self, amount: int, *, note: str = "") -> int:
        return amount

    async def audit(self, limit: float) -> list[str]:
        return [str(limit)]


class Savings(Account):
    def interest(self) -> float:
        return 0.0


class Unrelated(Actor):
    def paint(self) -> None:
        """Nothing."""


async def program(node: Node, me: Process, account: Ref[Account]) -> None:
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
