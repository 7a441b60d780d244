"""Random scripts about mailboxes, in a form that both Erlang and this runtime can read.

What is sent to a process stays in its mailbox until the script has it taken. So signals race with what takes
them back: a queued end with `demonitor`, `unlink` and `trap off`, an answer with the one who has given up.

    new NAME trap|plain
    register REGISTERED NAME, unregister REGISTERED
    timer LABEL UNITS TARGET TEXT, cancel LABEL, wait UNITS
    join GROUP NAME, leave GROUP NAME, members GROUP, groups

All others begin with the name of the process that is to do something; several things, with " ; " between
them, are done in one go:

    spawn NAME trap|plain link|alone
    send TARGET TEXT, post LABEL TEXT (to an alias)
    alias LABEL explicit|reply, unalias LABEL
    monitor TARGET LABEL [explicit|demonitor|reply_demonitor], demonitor LABEL [flush]
    link NAME, unlink NAME, exit NAME REASON, die REASON, trap on|off
    watch GROUP, unwatch GROUP
    request LABEL TARGET TEXT, wait LABEL, give LABEL (take the answer, or give up), answer TEXT
    take any|text|down|exit|call|group|from NAME        what there is now; await KIND: or when it comes

Each command is answered by one line: the command, its answer, what processes have taken, each in its order,
and the ends of processes, sorted. Ends that a process takes one after another are sorted: those of different
processes have no order.

Not tried, because they differ: what is sent to an alias, or watched by a monitor, in the same go as that is
taken back (both happen at once here, and by signals in Erlang); an alias of a monitor of oneself (in Erlang
it is none); groups of processes that have ended (`pg` takes them, and forgets them at once).
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import groupby
from typing import Final

__all__ = ["generate", "normalized"]

REASONS: Final = ("normal", "shutdown", "boom", "boom", "kill")
NAMES: Final = ("@red", "@green")
GROUPS: Final = ("G", "H")


class Author:
    """Writes one script."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.processes: list[str] = []
        self.labels: dict[str, list[str]] = {}
        self.aliases: list[str] = []
        self.deadlines: set[int] = set()
        self.now = 0
        self.count = 0

    def label(self, kind: str, by: str = "") -> str:
        self.count += 1
        made = f"{kind}{self.count}"
        self.labels.setdefault(f"{kind} {by}", []).append(made)
        return made

    def known(self, kind: str, by: str = "") -> str:
        return self.random.choice(self.labels.get(f"{kind} {by}") or ["none"])

    def process(self) -> str:
        return self.random.choice(self.processes)

    def target(self) -> str:
        return self.random.choice(NAMES) if self.random.random() < 0.2 else self.process()

    def script(self) -> list[str]:
        """The lines of the script."""
        lines = []
        for _ in range(self.random.randrange(2, 5)):
            name = f"p{len(self.processes)}"
            lines.append(f"new {name} {self.random.choice(('trap', 'plain'))}")
            self.processes.append(name)
        lines += [self.command() for _ in range(self.random.randrange(8, 25))]
        for name in self.processes:
            lines += [f"{name} take any ; take any ; take any ; take any ; take group"]
        return lines

    def command(self) -> str:
        chance = self.random.random()
        if chance < 0.05:
            return f"register {self.random.choice(NAMES)[1:]} {self.process()}"
        if chance < 0.07:
            return f"unregister {self.random.choice(NAMES)[1:]}"
        if chance < 0.11:
            units = self.random.randrange(1, 4)
            if self.now + units not in self.deadlines:
                self.deadlines.add(self.now + units)
                return f"timer {self.label('t')} {units} {self.target()} {self.label('tick')}"
        if chance < 0.13:
            return f"cancel {self.known('t')}"
        if chance < 0.18 and self.deadlines:
            units = self.random.randrange(1, 3)
            self.now += units
            return f"wait {units}"
        if chance < 0.26:
            group = self.random.choice(GROUPS)
            return self.random.choice(
                (
                    f"join {group} {self.process()}",
                    f"join {group} {self.process()}",
                    f"leave {group} {self.process()}",
                    f"members {group}",
                    "groups",
                )
            )
        by = self.process()
        actions = [self.action(by) for _ in range(self.random.choice((1, 1, 1, 2, 3, 4)))]
        if any(action.startswith(("post ", "monitor ")) for action in actions):
            actions = actions[:1]
        return f"{by} {' ; '.join(actions)}"

    def action(self, by: str) -> str:
        pick = self.random.choice
        match pick(range(22)):
            case 0:
                return f"spawn {self.born()} {pick(('trap', 'plain'))} {pick(('link', 'alone'))}"
            case 1 | 2:
                return f"send {self.target()} {self.label('x')}"
            case 3:
                return f"alias {self.alias(by)} {pick(('explicit', 'reply'))}"
            case 4 | 5:
                return f"post {pick(self.aliases or ['none'])} {self.label('x')}"
            case 6:
                return f"unalias {self.known('a', by)}"
            case 7:
                return f"monitor {self.target()} {self.label('m', by)}"
            case 8:
                mode = pick(("explicit", "demonitor", "reply_demonitor"))
                label = self.alias(by)
                self.labels.setdefault(f"m {by}", []).append(label)
                others = [each for each in self.processes if each != by]
                whom = pick(others) if others else pick(NAMES)
                return f"monitor {whom} {label} {mode}"
            case 9 | 10:
                return f"demonitor {self.known('m', by)}{pick(('', ' flush'))}"
            case 11:
                return f"link {self.process()}"
            case 12:
                return f"unlink {self.process()}"
            case 13:
                return f"exit {self.process()} {pick(REASONS)}"
            case 14:
                return pick(
                    (f"die {pick(REASONS)}", f"trap {pick(('on', 'off'))}", f"trap {pick(('on', 'off'))}")
                )
            case 15:
                return f"{pick(('watch', 'watch', 'unwatch'))} {pick(GROUPS)}"
            case 16:
                return f"request {self.label('r', by)} {self.target()} {self.label('x')}"
            case 17:
                return f"{pick(('wait', 'give'))} {self.known('r', by)}"
            case 18:
                return f"answer {self.label('x')}"
            case 19:
                return f"await {pick(('text', 'exit', 'down', 'call'))}"
            case _:
                kinds = ("any", "any", "text", "down", "exit", "call", "call", "group")
                return f"take {pick((*kinds, f'from {self.process()}'))}"

    def alias(self, by: str) -> str:
        label = self.label("a", by)
        self.aliases.append(label)
        return label

    def born(self) -> str:
        name = f"p{len(self.processes)}"
        self.processes.append(name)
        return name


def generate(seed: int) -> list[str]:
    """The script of a seed."""
    return Author(seed).script()


def normalized(lines: Iterable[str]) -> list[str]:
    """What one side wrote down, with ends that a process takes one after another sorted."""
    result = []
    for line in lines:
        command, answer, taken, ends = line.split(" | ") if " | " in line else (line, "", "", "")
        runs = groupby(taken.split(", "), key=lambda text: (text.split(" ")[0], _is_end(text)))
        in_order = [text for (_, is_end), run in runs for text in (sorted(run) if is_end else run)]
        result.append(" | ".join((command, answer, ", ".join(in_order), ends)))
    return result


def _is_end(text: str) -> bool:
    return " takes down " in text or " takes exit " in text
