"""Random scripts about the control of servers, in a form that both Erlang and this runtime can read.

    boot NAME trap|plain
    cast NAME REQUEST, send NAME TEXT, call LABEL NAME REQUEST      where a REQUEST is
        add N, stop REASON or crash
    exit NAME REASON                                                an exit signal of a stranger
    suspend NAME, resume NAME, status NAME, terminate NAME REASON
    get NAME, set NAME N|crash                                      the state, or a function that fails
    change NAME ok|crash                                            the code, of a suspended server

Each command is answered by one line, once nothing can run: the command, its answer, what each server has
handled, the answers to calls, by their labels, and the ends of servers.

Not tried, because it differs: a change of the code of a server that runs, which OTP refuses.
"""

from __future__ import annotations

import random
from typing import Final

__all__ = ["WARM_UP", "generate"]

REASONS: Final = ("normal", "shutdown", "boom")

WARM_UP: Final = """
boot s trap
cast s add 1
call c1 s add 1
send s x1
exit s boom
suspend s
status s
get s
set s 3
set s crash
change s ok
change s crash
resume s
call c2 s crash
get s
boot t plain
cast t stop boom
boot u plain
terminate u shutdown
""".strip().splitlines()
"""What has an Erlang that has just started load all the code that a script needs."""


class Author:
    """Writes one script."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.servers: dict[str, bool] = {}
        """Whether each is suspended, as long as it lives."""
        self.count = 0

    def script(self) -> list[str]:
        """The lines of the script."""
        lines = [self.boot() for _ in range(self.random.randrange(1, 3))]
        lines += [self.command() for _ in range(self.random.randrange(10, 30))]
        return lines + [f"resume {name}" for name in self.servers]

    def boot(self) -> str:
        name = f"s{len(self.servers)}"
        self.servers[name] = False
        return f"boot {name} {self.random.choice(('trap', 'plain'))}"

    def label(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def request(self) -> str:
        pick = self.random.choice
        return pick((f"add {pick(range(9))}",) * 6 + (f"stop {pick(REASONS)}", "crash"))

    def command(self) -> str:
        pick = self.random.choice
        name = pick(list(self.servers))
        match pick(range(19)):
            case 0:
                return self.boot()
            case 1 | 2 | 3:
                return f"cast {name} {self.request()}"
            case 4 | 5 | 6:
                return f"call {self.label('c')} {name} {self.request()}"
            case 7:
                return f"send {name} {self.label('x')}"
            case 8:
                return f"exit {name} {pick((*REASONS, 'kill'))}"
            case 9 | 10 | 11:
                self.servers[name] = True
                return f"suspend {name}"
            case 12 | 13:
                self.servers[name] = False
                return f"resume {name}"
            case 14:
                return f"status {name}"
            case 15:
                return f"get {name}"
            case 16:
                return f"set {name} {pick((*range(9), 'crash'))}"
            case 17 if self.servers[name]:
                return f"change {name} {pick(('ok', 'ok', 'crash'))}"
            case 18:
                return f"terminate {name} {pick(REASONS)}"
            case _:
                return f"get {name}"


def generate(seed: int) -> list[str]:
    """The script of a seed."""
    return Author(seed).script()
