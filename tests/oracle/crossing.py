"""Random scripts about the processes of two nodes, in a form that both Erlang and this runtime can read.

    new NAME a|b trap|plain         start a process on a node, which registers its name there
    cut                             the nodes lose each other, and are connected again

All others begin with the name of the process that is to do something; several things, with " ; " between
them, are done in one go:

    send TARGET TEXT, ask TARGET TEXT (who is asked sends an answer)
    link NAME, unlink NAME, exit NAME REASON, die REASON, trap on|off
    monitor TARGET LABEL, demonitor LABEL [flush]

A TARGET is the name of a process, or "@" and its name, which is looked up where it was registered. Each
process writes down what it is sent. A command is answered by one line, once nothing is under way: the
command, its answer, what processes were sent, each in its order, and the ends of processes, sorted. Ends
that a process is told of one after another are sorted: those of different processes have no order.

Not tried, because they differ: an exit signal, or a monitor, in the same go as something else. Who is linked
or watched right after an exit signal has ended in Erlang (`noproc`), and is still there here, to tell its
reason; a monitor that fires at once can be taken down in time in Erlang. Nor is a question, whose answer has
no order with what else comes of the same go. Whether a process that a cut ends has read before what it has
lost is left open.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import groupby
from typing import Final

__all__ = ["WARM_UP", "generate", "normalized"]

REASONS: Final = ("normal", "shutdown", "boom", "boom", "kill")

WARM_UP: Final = [
    "new p0 a trap",
    "new p1 b trap",
    "p0 link p1",
    "p0 monitor p1 m1",
    "p0 monitor @p1 m2",
    "p0 ask p1 x1",
    "cut",
    "p1 monitor p0 m3",
    "p0 die boom",
]
"""Has Erlang load what it needs."""


class Author:
    """Writes one script."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.processes: list[str] = []
        self.monitors: dict[str, list[str]] = {}
        self.count = 0

    def script(self) -> list[str]:
        """The lines of the script."""
        lines = [self.born(where) for where in "ab"]
        lines += [self.born(self.random.choice("ab")) for _ in range(self.random.randrange(1, 4))]
        lines += [self.command() for _ in range(self.random.randrange(8, 25))]
        return lines

    def born(self, where: str) -> str:
        name = f"p{len(self.processes)}"
        self.processes.append(name)
        return f"new {name} {where} {self.random.choice(('trap', 'plain'))}"

    def label(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def process(self) -> str:
        return self.random.choice(self.processes)

    def command(self) -> str:
        chance = self.random.random()
        if chance < 0.06:
            return self.born(self.random.choice("ab"))
        if chance < 0.1:
            return "cut"
        by = self.process()
        actions = [self.action(by) for _ in range(self.random.choice((1, 1, 1, 2, 3)))]
        if any(action.startswith(("exit ", "monitor ", "ask ")) for action in actions):
            actions = actions[:1]
        return f"{by} {' ; '.join(actions)}"

    def action(self, by: str) -> str:
        pick = self.random.choice
        match pick(range(15)):
            case 0 | 1:
                return f"send {pick(('', '@'))}{self.process()} {self.label('x')}"
            case 2:
                others = [name for name in self.processes if name != by]
                return f"ask {pick(('', '@'))}{pick(others)} {self.label('x')}"
            case 3 | 4 | 5:
                return f"link {self.process()}"
            case 6:
                return f"unlink {self.process()}"
            case 7 | 8 | 9:
                label = self.label("m")
                self.monitors.setdefault(by, []).append(label)
                return f"monitor {pick(('', '', '@'))}{self.process()} {label}"
            case 10:
                return f"demonitor {pick(self.monitors.get(by) or ['none'])}{pick(('', ' flush'))}"
            case 11 | 12:
                return f"exit {self.process()} {pick(REASONS)}"
            case 13:
                return f"die {pick(REASONS)}"
            case _:
                return f"trap {pick(('on', 'off'))}"


def generate(seed: int) -> list[str]:
    """The script of a seed."""
    return Author(seed).script()


def normalized(lines: Iterable[str]) -> list[str]:
    """What one side wrote down, with ends that a process is told of one after another sorted."""
    result = []
    for line in lines:
        command, answer, events, ends = line.split(" | ")
        ended = {end.split(":")[0] for end in ends.split(", ")} if command == "cut" else ()
        told = [event for event in events.split(", ") if event and event.split(" ")[0] not in ended]
        runs = groupby(told, key=lambda event: (event.split(" ")[0], _is_end(event)))
        in_order = [event for (_, is_end), run in runs for event in (sorted(run) if is_end else run)]
        result.append(" | ".join((command, answer, ", ".join(in_order), ends)))
    return result


def _is_end(event: str) -> bool:
    return event.split(" ")[1] in ("down", "exit")
