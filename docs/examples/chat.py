"""A chat over three zones: a hall, and two members who talk in it and pass open files on.

docs/examples/chat.md tells the story. Run it:

    $ python docs/examples/chat.py
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import trio

from enfilade import Actor, Child, Down, Node, Policy, Process, Ref, Supervisor, open_node
from enfilade.actors import Custom, Exit, acknowledges_start
from enfilade.transport import FileDescriptor
from enfilade.transport.namespaces import command

DOOR = "hall.door"
HALL = "hall@hall"


class Member(Actor):
    """Somebody in the chat, on a node in a zone of its own.

    The room knows its members by these methods alone.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    async def on_start(self) -> None:
        self.room: Ref[Room] = self.process.node.remote("room", HALL)
        await self.room.call(Room.join, self.name, self.process.ref)

    def heard(self, name: str, text: str) -> None:
        """Somebody has said something."""

    def offered(self, name: str, title: str, file: FileDescriptor) -> None:
        """Somebody has passed an open file on."""

    def say(self, text: str) -> None:
        self.room.cast(Room.say, self.process.ref, text)


class Ann(Member):
    """Greets whoever comes, has a letter signed, and reads what became of it."""

    letter: Any = None

    def heard(self, name: str, text: str) -> None:
        if text == "is here":
            self.say(f"hello {name}, please sign my letter")
            self.letter = tempfile.TemporaryFile("w+")  # noqa: SIM115 (it has no name, in no zone)
            self.letter.write("Dear hall\n")
            self.letter.flush()
            self.room.cast(Room.offer, self.process.ref, "letter", FileDescriptor(self.letter.fileno()))
        elif text == "signed" and self.letter is not None:
            self.letter.seek(0)
            self.say("the letter reads: " + ", ".join(self.letter.read().split("\n")[:2]))


class Bob(Member):
    """Signs what is offered."""

    def offered(self, name: str, title: str, file: FileDescriptor) -> None:
        with open(file.take(), "a") as paper:
            paper.write(f"signed by {self.name} in {self.process.node.zone}\n")
        self.say("signed")


class Room(Actor):
    """Passes on what is said and offered. It hears of members who are gone, however they went."""

    def __init__(self, minutes: Ref[Any]) -> None:
        self.minutes = minutes
        self.members: dict[Ref[Member], str] = {}

    def join(self, name: str, member: Ref[Member]) -> None:
        self.process.monitor(member)
        self.members[member] = name
        self._tell(member, "is here")

    def say(self, member: Ref[Member], text: str) -> None:
        if member in self.members:
            self._tell(member, text)

    def offer(self, member: Ref[Member], title: str, file: FileDescriptor) -> None:
        """Hand an open file to the others. Ours is closed when nothing refers to it any more."""
        if member in self.members:
            name = self.members[member]
            self.minutes.send(f"{name} offers {title}")
            for other in self._others(member):
                other.cast(Member.offered, name, title, file)

    def on_down(self, down: Down) -> None:
        self._tell(down.ref, f"is gone: {down.reason}")
        del self.members[down.ref]

    def _others(self, member: Ref[Any]) -> list[Ref[Member]]:
        return [other for other in self.members if other != member]

    def _tell(self, member: Ref[Any], text: str) -> None:
        name = self.members[member]
        self.minutes.send(f"{name}: {text}")
        for other in self._others(member):
            other.cast(Member.heard, name, text)


@acknowledges_start
async def zone(me: Process, name: str, directory: Path) -> None:
    """A zone with one member's program in it, for as long as that runs."""
    program = [sys.executable, __file__, name]
    process = await trio.lowlevel.open_process(command(program), cwd=directory)
    try:
        me.started()
        status = await process.wait()
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()  # which ends all that runs in the zone
            await process.wait()
    raise Exit(Custom(f"the zone has ended with status {status}"))


async def member(name: str) -> None:
    """The program in a member's zone."""
    kinds = {"ann": Ann, "bob": Bob}
    async with open_node(name, zone=name, policy=Policy.same_user()) as node:
        await node.connect(DOOR)
        node.root = await node.spawn(Supervisor, [Child(kinds[name], name, id=name)])
        async with node.mailbox() as me:
            me.monitor(node.remote("room", HALL))
            await me.receive(Down)  # the hall is closed


async def hall(node: Node, directory: Path) -> None:
    """The story: both come, talk, and one of them is killed and comes back."""
    async with node.mailbox() as me:
        await node.spawn(Room, me.ref, name="room")
        zones = await node.spawn(Supervisor, intensity=5)

        async def until(end: str) -> None:
            while True:
                line = await me.receive(str, timeout=60)
                print(line)
                if line.startswith(end):
                    return

        await zones.call(Supervisor.start_child, Child(zone, "ann", directory, id="ann"))
        await until("ann: is here")
        bob: Any = await zones.call(Supervisor.start_child, Child(zone, "bob", directory, id="bob"))
        await until("ann: the letter reads")
        bob.exit(Custom("the power is cut"))
        await until("bob: is gone")
        await until("ann: the letter reads")
        await zones.stop()


async def main() -> None:
    logging.getLogger("enfilade").setLevel(logging.CRITICAL)  # a zone is killed on purpose here
    if len(sys.argv) > 1:
        await member(sys.argv[1])
        return
    with tempfile.TemporaryDirectory(prefix="chat-") as name:
        directory = Path(name)
        policy = Policy.same_user(exports=["room"])
        async with open_node("hall", zone="hall", listen=directory / DOOR, policy=policy) as node:
            await hall(node, directory)


if __name__ == "__main__":
    trio.run(main)
