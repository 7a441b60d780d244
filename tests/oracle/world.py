"""Random scripts for processes and supervisors, in a form that both Erlang and this runtime can read.

A script is a list of commands, one a line. Processes are known by names; a child of a supervisor keeps its
name over its incarnations, which are numbered.

    new NAME KIND TRAP                 start a process: "raw", a "server", or an "odd" one; "trap" or "plain"
    register REGISTERED NAME, unregister REGISTERED
    wait UNITS                         let time pass
    define NAME STRATEGY INTENSITY AUTO_SHUTDOWN, child NAME ID RESTART SHUTDOWN SIGNIFICANT KIND
                                       what a supervisor starts with; a child may be a "supervisor"
    boot NAME, halt NAME               start it; say shutdown to it
    ask NAME start|terminate|restart|delete|count ...
    fail ID N, decline ID N            the child's next N starts fail, or are declined

All others begin with the name of the process that is to do something:

    spawn NAME KIND TRAP link|monitor|alone
    link NAME, unlink NAME, monitor NAME LABEL, demonitor LABEL [flush], trap on|off
    exit NAME REASON, die REASON, crash
    send NAME TEXT, cast NAME REQUEST, call NAME REQUEST, stop NAME REASON
    timer LABEL UNITS TEXT, cancel LABEL

REASON is an atom, or "shutdown:x" for {shutdown, x}. A name with an @ before it is a registered one. A server
is asked to `echo TEXT`, `keep` the call until a cast `answer TEXT`, `stop REASON [TEXT]`, `die REASON`,
`crash`. An odd one ends with another reason than it is told.

After each command, both sides write down what processes have seen, in order, the ends of processes, and the
children of supervisors. What has no order in Erlang either is sorted: what a process sees of two others at
once, the end of one process as a link and as a monitor show it, what a killed supervisor's children do. What
a process that ends is told of another end meanwhile is left out: the two come by different ways.

Not tried, because our contract differs: processes that children of supervisors spawn (U10), timers to other
processes than the own (T4), timers of one deadline (T2), plain messages to supervisors (SUP-16), calls to
supervisors that stop (SUP-46), several children of a supervisor that end at once by links (no order),
exit signals of a server to itself (a gen_server without a parent takes itself for its parent).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Final

__all__ = ["WARM_UP", "generate", "normalized", "sane", "shrunk"]

REASONS: Final = ("normal", "shutdown", "shutdown:x", "boom", "boom", "kill")

WARM_UP: Final = """
new p raw trap
new q server trap
p monitor q m
p link q
p call q echo text
q crash
p call q echo text
new r server trap
p stop r normal
define s one_for_all 1 never
child s a permanent 1000 plain server
child s b temporary 1000 plain server
boot s
ask s count
ask s delete c
a crash
b die boom
a die boom
""".strip().splitlines()
"""What has an Erlang that has just started load all the code that a script needs."""


class Author:
    """Writes one script.

    Attributes:
        raw: processes of the simplest kind, which may wait in calls.
        servers: those that can be called.
        workers: the children of supervisors.
        supervisors: those that have been defined.
        linked: the child that takes part in links: one, so that no two end at once.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines: list[str] = []
        self.raw: list[str] = []
        self.servers: list[str] = []
        self.workers: list[str] = []
        self.supervisors: list[str] = []
        self.linked: str | None = None
        self.labels: dict[str, list[str]] = {}
        self.deadlines: set[tuple[str, int]] = set()
        self.now = 0
        self.count = 0

    def one_of(self, *choices: str) -> str:
        return self.random.choice(choices)

    def write(self, *words: object) -> None:
        self.lines.append(" ".join(map(str, words)))

    def label(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def script(self) -> list[str]:
        kind = self.random.random()
        if kind < 0.45:
            self.populate(self.random.randrange(2, 5))
            self.act(self.random.randrange(6, 16), self.act_in_process)
        elif kind < 0.8:
            self.populate(1)
            self.supervise()
            self.act(self.random.randrange(5, 14), self.act_on_supervisor)
        else:
            self.populate(self.random.randrange(1, 4))
            self.supervise()
            self.act(
                self.random.randrange(6, 16),
                lambda: self.random.choice((self.act_in_process, self.act_on_supervisor))(),
            )
        return self.lines

    def act(self, times: int, do: Callable[[], None]) -> None:
        for _ in range(times):
            do()

    def populate(self, number: int) -> None:
        for index in range(number):
            self.start("raw" if index == 0 else self.one_of("raw", "server", "server", "odd"))

    def start(self, kind: str, by: str | None = None) -> None:
        name = self.label("p" if kind == "raw" else "q")
        trap = self.one_of("trap", "plain")
        if by is None:
            self.write("new", name, kind, trap)
        else:
            option = self.one_of("link", "monitor", "alone") if kind == "raw" else "link"
            self.write(by, "spawn", name, kind, trap, option)
        (self.raw if kind == "raw" else self.servers).append(name)

    def supervise(self) -> None:
        self.define("s", depth=self.random.choice((0, 0, 1, 2)))
        self.write("boot", "s")

    def define(self, name: str, depth: int) -> None:
        auto = self.one_of("never", "never", "any_significant", "all_significant")
        strategy = self.one_of("one_for_one", "one_for_all", "rest_for_one")
        self.write("define", name, strategy, self.random.choice((0, 1, 2, 3, 10)), auto)
        self.supervisors.append(name)
        size = self.random.randrange(1, 5)
        nested = self.random.randrange(size) if depth else None
        for index in range(size):
            if index == nested:
                below = f"{name}s"
                self.write("child", name, *self.specification(below, auto, "supervisor"))
                self.define(below, depth - 1)
            else:
                worker = self.label("c")
                self.write("child", name, *self.specification(worker, auto))
                self.workers.append(worker)
        self.autos = {**getattr(self, "autos", {}), name: auto}

    def specification(self, name: str, auto: str, kind: str | None = None) -> Sequence[str]:
        restart = self.one_of("permanent", "permanent", "transient", "temporary")
        significant = "plain"
        if auto != "never" and restart != "permanent" and self.random.random() < 0.6:
            significant = "significant"
        kind = kind or self.one_of("server", "server", "plain", "odd")
        shutdown = (
            "infinity" if kind == "supervisor" else self.one_of("1000", "1000", "brutal_kill", "infinity")
        )
        return name, restart, shutdown, significant, kind

    # What happens.

    def target(self) -> str:
        """A process that may be linked to or sent signals."""
        if self.workers and self.random.random() < 0.4:
            self.linked = self.linked or self.random.choice(self.workers)
            return self.linked
        if self.supervisors and self.random.random() < 0.1:
            return self.random.choice(self.supervisors)
        return self.random.choice(self.raw + self.servers)

    def callee(self) -> str:
        if self.random.random() < 0.15:
            return "@" + self.one_of("red", "blue")
        return self.random.choice(self.servers + self.workers or self.raw)

    def act_in_process(self) -> None:
        by = self.random.choice(self.raw + self.servers)
        choices = (
            *("link", "link", "unlink", "monitor", "monitor", "demonitor", "trap", "send", "register"),
            *("exit", "exit", "die", "crash", "spawn", "cast", "timer", "cancel", "wait", "wait"),
            *(("call", "call", "call", "stop") if by in self.raw else ()),
        )
        what = self.random.choice(choices)
        getattr(self, f"do_{what}")(by)

    def do_link(self, by: str) -> None:
        self.write(by, "link", self.target())

    def do_unlink(self, by: str) -> None:
        self.write(by, "unlink", self.target())

    def do_monitor(self, by: str) -> None:
        label = self.label("m")
        self.labels.setdefault(by, []).append(label)
        target = "@" + self.one_of("red", "green") if self.random.random() < 0.2 else self.target()
        self.write(by, "monitor", target, label)

    def do_demonitor(self, by: str) -> None:
        labels = self.labels.get(by)
        if labels:
            self.write(by, "demonitor", self.random.choice(labels), *self.random.choice(((), ("flush",))))

    def do_trap(self, by: str) -> None:
        self.write(by, "trap", self.one_of("on", "off"))

    def do_send(self, by: str) -> None:
        target = "@" + self.one_of("red", "green") if self.random.random() < 0.3 else self.target()
        if target not in self.supervisors:
            self.write(by, "send", target, self.label("text"))

    def do_register(self, _: str) -> None:
        name = self.one_of("red", "blue", "green")
        if self.random.random() < 0.3:
            self.write("unregister", name)
        elif name == "green":  # is never called
            self.write("register", name, self.random.choice(self.raw))
        elif self.servers:
            self.write("register", name, self.random.choice(self.servers))

    def do_exit(self, by: str) -> None:
        target = self.target()
        if target != by or by in self.raw:
            self.write(by, "exit", target, self.one_of(*REASONS))

    def do_die(self, by: str) -> None:
        self.write(by, "die", self.one_of(*REASONS))

    def do_crash(self, by: str) -> None:
        self.write(by, "crash")

    def do_spawn(self, by: str) -> None:
        self.start(self.one_of("raw", "server", "odd"), by)

    def do_cast(self, by: str) -> None:
        callee = self.callee()
        if callee not in self.raw:
            self.write(by, "cast", callee, *self.cast_request())

    def cast_request(self) -> tuple[str, ...]:
        return self.random.choice(
            (
                ("answer", self.label("text")),
                ("answer", self.label("text")),
                ("stop", self.one_of(*REASONS[:5])),
                ("die", self.one_of(*REASONS)),
                ("crash",),
            )
        )

    def do_call(self, by: str) -> None:
        callee = self.callee()
        if callee not in self.raw:
            text = self.label("text")
            request = self.random.choice(
                (
                    ("echo", text),
                    ("echo", text),
                    ("keep",),
                    ("keep",),
                    ("stop", self.one_of(*REASONS[:5]), text),
                    ("die", self.one_of(*REASONS)),
                    ("crash",),
                )
            )
            if request == ("keep",) and callee in self.workers:
                return  # who waits while a child is restarted may find either incarnation
            self.write(by, "call", callee, *request)

    def do_stop(self, by: str) -> None:
        callee = self.callee()
        if callee not in self.raw:
            self.write(by, "stop", callee, self.one_of(*REASONS[:5]))

    def do_timer(self, by: str) -> None:
        units = self.random.randrange(1, 4)
        if (by, self.now + units) not in self.deadlines:
            self.deadlines.add((by, self.now + units))
            label = self.label("t")
            self.labels.setdefault(by + " timers", []).append(label)
            self.write(by, "timer", label, units, self.label("tick"))

    def do_cancel(self, by: str) -> None:
        labels = self.labels.get(by + " timers")
        if labels:
            self.write(by, "cancel", self.random.choice(labels))

    def do_wait(self, _: str) -> None:
        if self.deadlines:
            units = self.random.randrange(1, 3)
            self.now += units
            self.write("wait", units)

    def act_on_supervisor(self) -> None:
        supervisor = self.random.choice(self.supervisors)
        worker = self.random.choice(self.workers or ["nobody"])
        anything = self.random.choice(self.workers + self.supervisors[1:] or ["nobody"])
        chance = self.random.random()
        if chance < 0.3:
            self.write(worker, "die", self.one_of(*REASONS[:5]))
        elif chance < 0.4:
            self.write(self.raw[0], "exit", anything, "kill")
        elif chance < 0.45:
            self.write(worker, "crash")
        elif chance < 0.57:
            self.write(self.one_of("fail", "fail", "decline"), worker, self.random.choice((1, 1, 2, 3, 100)))
        elif chance < 0.87:
            what = self.one_of("start", "terminate", "terminate", "restart", "restart", "delete", "count")
            if what == "start":
                new = worker if self.random.random() < 0.4 else self.label("c")
                if new != worker:
                    self.workers.append(new)
                self.write("ask", supervisor, what, *self.specification(new, self.autos[supervisor]))
            elif what == "count":
                self.write("ask", supervisor, what)
            else:
                self.write("ask", supervisor, what, anything)
        elif chance < 0.94:
            self.write(self.raw[0], "exit", supervisor, self.one_of("boom", "normal", "shutdown", "kill"))
        elif chance < 0.97:
            self.write("halt", supervisor)


def generate(seed: int) -> list[str]:
    """The script of a seed."""
    return Author(seed).script()


INTRODUCING: Final = {"new": 1, "define": 1, "child": 2}


def sane(commands: Iterable[str]) -> list[str]:
    """`commands` without those whose names are not introduced."""
    known: set[str] = set()
    defined: set[str] = set()
    kept = []
    for command in commands:
        words = command.split()
        match words:
            case ["new", name, *_]:
                known.add(name)
            case ["define", name, *_]:
                known.add(name)
                defined.add(name)
            case ["child", supervisor, name, *_]:
                if supervisor not in defined:
                    continue
                known.add(name)
            case ["ask", supervisor, "start", name, *_]:
                if supervisor not in defined:
                    continue
                known.add(name)
            case ["boot" | "halt" | "ask", supervisor, *_]:
                if supervisor not in defined:
                    continue
            case ["wait" | "register" | "unregister" | "fail" | "decline", *_]:
                pass
            case [by, "spawn", name, *_]:
                if by not in known:
                    continue
                known.add(name)
            case [by, *_]:
                if by not in known:
                    continue
        kept.append(command)
    return kept


def shrunk(commands: list[str], fails: Callable[[list[list[str]]], list[bool]]) -> list[str]:
    """The shortest script found that fails, by leaving out more and more of `commands`.

    Args:
        commands: a script that fails.
        fails: tells of several scripts at once which of them fail.
    """
    size = max(1, len(commands) // 2)
    while True:
        attempts = [
            attempt
            for start in range(0, len(commands), size)
            if (attempt := sane(commands[:start] + commands[start + size :])) and attempt != commands
        ]
        failing = [attempt for attempt, failed in zip(attempts, fails(attempts), strict=True) if failed]
        if failing:
            commands = min(failing, key=len)
        elif size == 1:
            return commands
        else:
            size //= 2


def normalized(lines: Iterable[str]) -> list[str]:
    """What one side wrote down, with what has no order sorted."""
    result: list[str] = []
    block: list[tuple[str, str, str]] = []
    for line in lines:
        if line.startswith("\t"):
            whose, cause, *text = line[1:].split(" ", 2)
            block.append((whose, cause, *text) if text else (whose, cause, ""))
        else:
            result += _in_order(block)
            block = []
            result.append(line)
    return result + _in_order(block)


def _in_order(block: list[tuple[str, str, str]]) -> list[str]:
    ended = {cause for whose, cause, _ in block if whose == "ends"}
    # Stable: what one process sees of another stays in order.
    block = sorted(
        (event for event in block if not (event[0] in ended and event[2].startswith(("result ", "down ")))),
        key=lambda event: (event[0], event[1]),
    )
    lines: list[str] = []
    for _, run in groupby(block, key=_kind):
        found = list(run)
        lines += sorted(map(_shown, found)) if _kind(found[0])[2] else map(_shown, found)
    return lines


def _kind(event: tuple[str, str, str]) -> tuple[str, str, str]:
    """Neighbours of the same kind have no order; those of the kind that is empty have one."""
    whose, cause, text = event
    is_end = text.startswith(("exit ", "down "))
    is_kill = text.startswith("stop ") and text.endswith(" killed")
    return whose, cause, "end" if is_end else "kill" if is_kill else ""


def _shown(event: tuple[str, str, str]) -> str:
    return "    " + " ".join(event)
