"""Runs a script of `mail.py` on our runtime, and writes down the same lines as the Erlang side."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    NORMAL,
    SHUTDOWN,
    Actor,
    Call,
    CallTimeout,
    Custom,
    Down,
    Exit,
    Exited,
    Joined,
    Left,
    NameTaken,
    Node,
    NoProcess,
    NotJoined,
    Process,
    ProcessDied,
    Reason,
    ReceiveTimeout,
    Ref,
    open_node,
)

__all__ = ["perform"]

REASONS = {"normal": NORMAL, "shutdown": SHUTDOWN, "kill": KILL}


def given(reason: str) -> Reason:
    return REASONS.get(reason) or Custom(reason)


def shown(reason: Reason) -> str:
    return "noproc" if str(reason) == "no process" else str(reason)


class Do:
    """What a process is told to do."""

    def __init__(self, words: list[str]) -> None:
        self.actions = [action.split() for action in " ".join(words).split(" ; ")]


class Desk(Actor):
    """Names the method of a request."""

    def ask(self, text: str) -> str:
        return text


class Post:
    """One script: its processes, and what they have taken."""

    def __init__(self, node: Node, me: Process, nobody: Ref[Any]) -> None:
        self.node = node
        self.me = me
        self.refs: dict[str, Ref[Any]] = defaultdict(lambda: nobody)
        self.names: dict[Ref[Any], str] = {nobody: "nobody"}
        self.aliases: dict[str, Ref[Any]] = {}
        self.timers: dict[str, Any] = {}
        self.taken: list[str] = []
        self.ends: list[str] = []

    def target(self, name: str) -> Ref[Any]:
        return self.node.named(name[1:]) if name[0] == "@" else self.refs[name]

    def shown(self, refs: list[Ref[Any]]) -> str:
        return " ".join(sorted(self.names[ref] for ref in refs))

    async def run(self, commands: list[str]) -> list[str]:
        """Carry the script out."""
        lines = []
        await trio.sleep(0.5)
        for command in commands:
            answer = await self.command(command.split())
            await wait_all_tasks_blocked()
            with contextlib.suppress(ReceiveTimeout):
                while True:
                    down = await self.me.receive(Down, timeout=0)
                    self.ends.append(f"{self.names[down.ref]}:{shown(down.reason)}")
            taken = sorted(self.taken, key=lambda text: text.split()[0])  # stable: each in its own order
            lines.append(f"{command} | {answer} | {', '.join(taken)} | {', '.join(sorted(self.ends))}")
            self.taken, self.ends = [], []
        return lines

    async def command(self, words: list[str]) -> str:
        match words:
            case ["new", name, trap]:
                await self.born(self.node, name, trap)
            case ["register", registered, name]:
                try:
                    self.node.register(registered, self.refs[name])
                except (NameTaken, NoProcess):
                    return "refused"
                return "ok"
            case ["unregister", registered]:
                try:
                    self.node.unregister(registered)
                except NoProcess:
                    return "refused"
                return "ok"
            case ["timer", label, units, target, text]:
                message = ("text", "timer", text)
                self.timers[label] = self.me.send_after(int(units) - 0.5, self.target(target), message)
            case ["cancel", label]:
                return str(self.timers[label].cancel()).lower() if label in self.timers else "none"
            case ["wait", units]:
                await trio.sleep(int(units))
            case ["join", group, name]:
                if self.refs[name].serial not in self.node.processes:
                    return "gone"
                self.node.groups.scope().join(group, self.refs[name])
            case ["leave", group, name]:
                try:
                    self.node.groups.scope().leave(group, self.refs[name])
                except NotJoined:
                    return "not_joined"
                return "ok"
            case ["members", group]:
                return self.shown(self.node.groups.scope().members(group))
            case ["groups"]:
                return " ".join(sorted(map(str, self.node.groups.scope().which_groups())))
            case [name, *action]:
                if self.refs[name].serial not in self.node.processes:
                    return "gone"
                self.refs[name].send(Do(action))
        return ""

    async def born(self, by: Any, name: str, trap: str, **options: Any) -> None:
        ref = await by.spawn(raw, self, name, trap, **options)
        self.refs[name] = ref
        self.names[ref] = name
        self.me.monitor(ref)


async def raw(me: Process, post: Post, name: str, trap: str) -> None:
    """A process that takes out of its mailbox what the script says."""
    me.trap_exits = trap == "trap"
    letters = Letters(me, post, name)
    while True:
        for action in (await me.receive(Do)).actions:
            await letters.perform(action)


class Letters:
    """What one process can be told to do."""

    def __init__(self, me: Process, post: Post, name: str) -> None:
        self.me = me
        self.post = post
        self.name = name
        self.monitors: dict[str, Any] = {}
        self.aliases: dict[str, Any] = {}
        self.requests: dict[str, Any] = {}
        self.watches: dict[str, Any] = {}
        self.owed: list[Call] = []

    def note(self, text: str) -> None:
        self.post.taken.append(f"{self.name} {text}")

    async def perform(self, action: list[str]) -> None:
        mode_: Any
        me, post = self.me, self.post
        match action:
            case ["spawn", name, trap, option]:
                await post.born(me, name, trap, link=option == "link")
            case ["send", target, text]:
                try:
                    post.target(target).send(("text", self.name, text))
                except NoProcess:
                    self.note("send refused")
            case ["post", label, text]:
                if label in post.aliases:
                    post.aliases[label].send(("text", self.name, text))
            case ["alias", label, mode]:
                mode_ = mode
                post.aliases[label] = self.aliases[label] = me.alias(mode_)
            case ["unalias", label]:
                if label in self.aliases:
                    self.note(f"unalias {str(me.unalias(self.aliases[label])).lower()}")
            case ["monitor", target, label, *modes]:
                whom = target[1:] if target[0] == "@" else post.refs[target]
                mode_ = modes[0] if modes else None
                monitor = self.monitors[label] = me.monitor(whom, tag=label, alias=mode_)
                if monitor.alias is not None:
                    post.aliases[label] = self.aliases[label] = monitor.alias
            case ["demonitor", label, *flush]:
                if label in self.monitors:
                    was_up = me.demonitor(self.monitors[label], flush=bool(flush))
                    self.note(f"demonitor {str(was_up).lower()}")
            case ["link", name]:
                try:
                    me.link(post.refs[name])
                except NoProcess:
                    self.note("link noproc")
            case ["unlink", name]:
                me.unlink(post.refs[name])
            case ["exit", name, reason]:
                me.exit(post.refs[name], given(reason))
                await trio.lowlevel.checkpoint()
            case ["die", reason]:
                raise Exit(given(reason))
            case ["trap", trap]:
                me.trap_exits = trap == "on"
            case ["watch", group]:
                self.watches[group], members = me.node.groups.scope().monitor(me.ref, group)
                self.note(f"watches {post.shown(members)}")
            case ["unwatch", group]:
                if group in self.watches:
                    me.node.groups.scope().demonitor(self.watches.pop(group))
                    with contextlib.suppress(ReceiveTimeout):
                        await me.receive(lambda m: isinstance(m, Joined | Left) and m.group == group, 0)
            case ["request", label, target, text]:
                self.requests[label] = me.request(post.target(target), Desk.ask, text)
            case ["wait" | "give" as way, label]:
                if label in self.requests:
                    await self.response(label, way == "give")
            case ["answer", text]:
                if self.owed:
                    self.owed.pop(0).reply(text)
            case [word, *pattern]:
                try:
                    message = await me.receive(matching(pattern), *([0] if word == "take" else []))
                except ReceiveTimeout:
                    self.note("takes nothing")
                else:
                    self.took(message)

    async def response(self, label: str, gives_up: bool) -> None:
        request = self.requests[label]
        try:
            answer = await (request.receive(0) if gives_up else request.wait(0))
        except CallTimeout:
            answer = "timeout"
        except ProcessDied as died:
            answer = f"died {shown(died.reason)}"
        except NoProcess:
            answer = "died noproc"
        if gives_up or answer != "timeout":
            del self.requests[label]
        self.note(f"answer {label} {answer}")

    def took(self, message: Any) -> None:
        match message:
            case ("text", sender, text):
                self.note(f"takes text {text} of {sender}")
            case Down(monitor=monitor, ref=ref, reason=reason):
                whom = f"@{monitor.name}" if monitor.name else self.post.names[ref]
                self.note(f"takes down {monitor.tag} {whom} {shown(reason)}")
            case Exited(ref=ref, reason=reason):
                self.note(f"takes exit {self.post.names[ref]} {shown(reason)}")
            case Call(args=(text,)):
                self.owed.append(message)
                self.note(f"takes call {text}")
            case Joined(group=group, refs=refs):
                self.note(f"join {group} {self.post.shown(list(refs))}")
            case Left(group=group, refs=refs):
                self.note(f"leave {group} {self.post.shown(list(refs))}")


def matching(pattern: list[str]) -> Any:
    """What a process is to take, as `receive` wants it."""
    match pattern:
        case ["any"]:
            return (tuple, Down, Exited, Call)
        case ["text"]:
            return tuple
        case ["from", name]:
            return lambda message: isinstance(message, tuple) and message[1] == name
        case [kind]:
            return {"down": Down, "exit": Exited, "call": Call, "group": (Joined, Left)}[kind]


async def nothing(me: Process) -> None:
    """Ends at once."""


def perform(commands: list[str]) -> list[str]:
    """Run one script, in virtual time."""

    async def main() -> list[str]:
        async with open_node("ours") as node, node.mailbox() as me:
            nobody = await node.spawn(nothing)
            await wait_all_tasks_blocked()
            return await Post(node, me, nobody).run(commands)

    return trio.run(main, clock=MockClock(autojump_threshold=0))
