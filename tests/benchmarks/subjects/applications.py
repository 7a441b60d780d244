"""A chat application: clients and chats, which come and go while messages are posted."""

from __future__ import annotations

import time
from typing import Any

import trio

from enfilade.actors import Actor, Ref, open_node
from tests.benchmarks.kernel import kernel
from tests.benchmarks.subjects.tier import in_tier, run
from tests.benchmarks.work import Action, Choices, acquaintances, chat_costs, fibonacci


class Chat(Actor):
    """Hands every post to its members, and tells the conductor when all have seen it."""

    def __init__(self, conductor: Ref[Any], members: list[Ref[Any]]) -> None:
        self.conductor, self.members = conductor, members
        self.absent = len(members) - 1
        self.unseen = self.posts = 0

    def on_message(self, message: Any) -> None:
        kind, client = message
        if kind == "seen":
            self.unseen -= 1
            if self.unseen == 0:
                self.conductor.send(self.posts)
                self.posts = 0
        elif kind == "post":
            self.posts += 1
            self.unseen += len(self.members)
            for member in self.members:
                member.send(("message", self.process.ref))
        elif kind == "present":
            self.absent -= 1
            if self.absent == 0:
                self.conductor.send(1)
        else:
            self.members.remove(client)
            self.conductor.send(1)
            if not self.members:
                self.process.stop()


class Client(Actor):
    """Does one thing each turn."""

    def __init__(self, seed: int, chat: type[Any], conductor: Ref[Any]) -> None:
        self.choices, self.chat, self.conductor = Choices(seed), chat, conductor
        self.friends: list[Ref[Any]] = []
        self.chats: list[Ref[Any]] = []
        self.received = 0

    def on_message(self, message: Any) -> None:
        kind, content = message
        if kind == "message":
            self.received += 1
            content.send(("seen", None))
        elif kind == "act":
            self.act()
        elif kind == "joined":
            self.chats.append(content)
            content.send(("present", None))
        else:
            self.friends = content
            self.invite(content)

    def act(self) -> None:
        action = self.choices.action(in_chat=bool(self.chats))
        if action is Action.POST:
            self.choices.one_of(self.chats).send(("post", None))
        elif action is Action.LEAVE:
            self.chats.pop(self.choices.below(len(self.chats))).send(("leave", self.process.ref))
        elif action is Action.INVITE:
            self.invite([self.choices.one_of(self.friends)])
        else:
            if action is Action.COMPUTE:
                fibonacci(10)
            self.conductor.send(1)

    def invite(self, friends: list[Ref[Any]]) -> None:
        chat = self.process.spawn_soon(self.chat, self.conductor, [self.process.ref, *friends])
        self.chats.append(chat)
        for friend in friends:
            friend.send(("joined", chat))


class Conductor(Actor):
    """Begins the next turn when everything of the one before is done; writes down when each was."""

    def __init__(self, turns: int, times: list[float], finished: trio.Event) -> None:
        self.turns, self.times, self.finished = turns, times, finished
        self.clients: list[Ref[Any]] = []
        self.left = 0

    def on_message(self, message: Any) -> None:
        if isinstance(message, list):
            self.clients = [client for client, _friends in message]
            self.left = len(message)
            for client, friends in message:
                client.send(("meet", friends))
            return
        self.left -= message
        if self.left == 0:
            self.times.append(time.perf_counter())
            if self.turns == 0:
                self.finished.set()
                return
            self.turns -= 1
            self.left = len(self.clients)
            for client in self.clients:
                client.send(("act", None))


async def _chat(variant: str, clients: int, friends: int, turns: int) -> tuple[float, float]:
    times = []
    finished = trio.Event()
    client, chat = in_tier(variant, Client), in_tier(variant, Chat)
    async with open_node("bench") as node:
        times.append(time.perf_counter())
        conductor = await node.spawn(in_tier(variant, Conductor), turns, times, finished)
        everyone = [await node.spawn(client, seed, chat, conductor) for seed in range(1, clients + 1)]
        conductor.send(acquaintances(everyone, friends))
        await finished.wait()
    return chat_costs(times, clients, turns)


@kernel("chat-setup", run=run)
async def chat_setup(variant: str, clients: int, friends: int, turns: int) -> float:
    return (await _chat(variant, clients, friends, turns))[0]


@kernel("chat", run=run)
async def chat(variant: str, clients: int, friends: int, turns: int) -> float:
    return (await _chat(variant, clients, friends, turns))[1]
