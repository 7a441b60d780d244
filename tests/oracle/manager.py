"""Random scripts for event managers, in a form that both Erlang and this runtime can read.

A script says first what handlers do, by their keys:

    on KEY EVENT remove|crash      at an event, or at a call of that name; otherwise they do nothing
    on KEY start crash             when they are added
    on KEY end crash               when they are removed

and then what happens to the manager:

    owner NAME                     a process that handlers can be tied to
    add KEY [NAME], delete KEY, swap KEY NEW_KEY, which
    notify EVENT, sync EVENT, send EVENT, call KEY EVENT
    die NAME REASON, stop REASON

Each command is answered by one line: the command, its answer, and what handlers have seen and told their
owners. The events of one handler are in order, and the handlers are sorted: OTP tells the newest one first,
and we the oldest.

Other differences are meant: a key is taken once, a handler that is not there cannot be swapped, one that
crashes is not asked to clean up, and an owner is told why the end of its handler failed. The Erlang side does
likewise, or the author does not write it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Final

__all__ = ["WARM_UP", "generate", "line"]

KEYS: Final = ("a", "b", "c", "d")
EVENTS: Final = ("e", "f", "g")
REASONS: Final = ("normal", "shutdown", "boom")


WARM_UP: Final = """
on a e crash
on b e crash
on b end crash
on c start crash
boot
owner o
add a o
add b
add c
call b f
sync e
swap a d
delete b
die o boom
stop normal
which
""".strip().splitlines()
"""What has an Erlang that has just started load all the code that a script needs."""


class Author:
    """Writes one script."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.owners: list[str] = []
        self.failing: set[str] = set()
        self.fragile: set[str] = set()
        self.count = 0

    def script(self) -> list[str]:
        """The lines of the script."""
        chance = self.random.random
        lines = [
            f"on {key} {event} {self.random.choice(('remove', 'crash'))}"
            for key in KEYS
            for event in EVENTS
            if chance() < 0.25
        ]
        for key in KEYS:
            if chance() < 0.15:
                self.failing.add(key)
                lines.append(f"on {key} start crash")
            if chance() < 0.2:
                self.fragile.add(key)
                lines.append(f"on {key} end crash")
        lines.append("boot")
        lines += [line for _ in range(self.random.randrange(8, 25)) if (line := self.command())]
        return lines

    def command(self) -> str:
        """One thing that happens; empty if it cannot."""
        key, event = self.random.choice(KEYS), self.random.choice(EVENTS)
        what = self.random.choices(
            ("owner", "add", "delete", "swap", "which", "notify", "sync", "send", "call", "die", "stop"),
            (2, 8, 2, 3, 1, 3, 2, 2, 4, 1, 0.3),
        )[0]
        match what:
            case "owner":
                self.count += 1
                self.owners.append(f"o{self.count}")
                return f"owner o{self.count}"
            case "add":
                owned = self.owners and key not in self.fragile and self.random.random() < 0.6
                return f"add {key} {self.random.choice(self.owners)}" if owned else f"add {key}"
            case "swap":
                sturdy = [other for other in KEYS if other not in self.failing | self.fragile]
                return f"swap {key} {self.random.choice(sturdy)}" if sturdy else ""
            case "die":
                if not self.owners:
                    return ""
                name = self.owners.pop(self.random.randrange(len(self.owners)))
                return f"die {name} {self.random.choice(REASONS)}"
            case "stop":
                return f"stop {self.random.choice(REASONS)}"
            case "which":
                return what
            case "delete":
                return f"delete {key}"
            case "call":
                return f"call {key} {event}"
            case _:
                return f"{what} {event}"


def generate(seed: int) -> list[str]:
    """The script of a seed."""
    return Author(seed).script()


def line(command: str, answer: str, seen: Iterable[tuple[str, str]]) -> str:
    """What is written down after a command: whose event it is, and what it is."""
    shown = ", ".join(f"{whose} {what}" for whose, what in sorted(seen, key=lambda event: event[0]))
    return f"{command} | {answer} | {shown}"
