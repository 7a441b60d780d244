"""A host for plug-ins: strangers' code in sandboxes, limited, restarted, and replaced while it works.

docs/examples/plugin-host.md tells the story. Run it:

    $ python docs/examples/plugin_host.py
"""

from __future__ import annotations

import logging

import attrs
import trio

from enfilade import Actor, CallError, Child, Guest, ProcessDied, Ref, Supervisor, open_node
from enfilade.actors import UpgradeFailed
from enfilade.actors.guests.upgrade import upgrade_guest
from enfilade.hostcalls import Limits
from enfilade.hostcalls.abi.actor_types import ActorExport, ActorReceive
from enfilade.hostcalls.codec.rkyv import codec
from enfilade.hostcalls.sdk.wat import RESULT, Assembler

PATIENCE = 2.0
"""Seconds that a plug-in has for one document."""

CAPITALS = """
    (if (i32.lt_u (i32.sub (local.get $letter) (i32.const 97)) (i32.const 26))
      (then (local.set $letter (i32.sub (local.get $letter) (i32.const 32)))))"""
ZEROS = (
    CAPITALS
    + """
    (if (i32.eq (local.get $letter) (i32.const 79)) (then (local.set $letter (i32.const 48))))"""
)
STUCK = """
    (if (i32.eq (local.get $letter) (i32.const 63)) (then (loop $for_ever (br $for_ever))))"""
ASTRAY = "(drop (i32.load (i32.const -4)))"


def plugin(version: int, change: str) -> bytes:
    """A plug-in: it changes each letter of a document, and says how many documents it has had.

    That number, of one digit, is its state, which it hands over when it is replaced. The text format stands
    in for the compiler of whoever writes a plug-in.

    Args:
        version: shown with each document.
        change: code that changes the local `$letter`.
    """
    guest = Assembler(
        "enfilade::actor::receive",
        "enfilade::actor::reply",
        "enfilade::actor::export_state",
        "enfilade::actor::import_state",
    )
    anything = guest.message(ActorReceive, ActorReceive(timeout_ms=None, kinds=31, tag=None, data_limit=256))
    archive = codec(ActorExport).encode(ActorExport(bytes(8)))
    count = guest.data(archive)  # the count lies where the archive of its export has it
    answer = guest.data(b"v0 #0 " + bytes(256))
    letter = f"offset={answer + 6} (local.get $at)"
    guest.function(
        "start",
        f"""
        (local.set $at (call $actor.import_state {guest.nothing}))
        (call $ok (local.get $at))
        (local.set $at (i32.add (i32.const {RESULT - 12}) (local.get $at)))
        (if (i32.load8_u (local.get $at)) (then
          (if (i32.ne (i32.load offset=8 (local.get $at)) (i32.const 8)) (then unreachable))
          (local.set $at (i32.add (local.get $at) (i32.const 4)))
          (i64.store (i32.const {count})
            (i64.load (i32.add (local.get $at) (i32.load (local.get $at)))))))
        (i32.store8 (i32.const {answer + 1}) (i32.const {48 + version}))
        (loop $again
          (call $received (call $actor.receive {anything}))
          (if (i32.eq (call $kind) (i32.const 4))
            (then (drop (call $actor.export_state (i32.const {count}) (i32.const {len(archive)})))))
          (br_if $again (i32.ne (call $kind) (i32.const 1)))
          (i64.store (i32.const {count}) (i64.add (i64.load (i32.const {count})) (i64.const 1)))
          (i32.store8 (i32.const {answer + 4})
            (i32.add (i32.const 48) (i32.wrap_i64 (i64.load (i32.const {count})))))
          (local.set $at (i32.const 0))
          (block $end (loop $next
            (br_if $end (i32.eq (local.get $at) (call $length)))
            (local.set $letter (i32.load8_u (i32.add (call $data) (local.get $at))))
            {change}
            (i32.store8 {letter} (local.get $letter))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $next)))
          (drop (call $reply_with (call $request) (i32.const {answer})
            (i32.add (i32.const 6) (call $length))))
          (br $again))
        """,
        "(local $at i32) (local $letter i32)",
    )
    return guest.binary()


@attrs.frozen
class Outcome:
    """A document after all plug-ins, and what went wrong on its way."""

    text: str
    failures: tuple[str, ...] = ()


class Host(Actor):
    """Sends documents through its plug-ins, one after another. One that fails leaves a document as it was."""

    def __init__(self) -> None:
        self.names: list[str] = []

    async def install(self, name: str, module: bytes) -> None:
        """Start a plug-in. It may answer, and nothing else, on a fifth of a second of processor time."""
        limits = Limits(cpu_time=0.2, cpu_renewal=0.0, tree_memory=32 << 20)
        guest = Guest(module, capabilities=["ActorMessage"], limits=limits, label=name)
        plugins: Ref[Supervisor] = self.process.node.named("plugins")
        await plugins.call(Supervisor.start_child, Child(guest, id=name, name=name))
        self.names.append(name)

    async def upgrade(self, name: str, module: bytes) -> str:
        """Replace a plug-in while it works; what became of that."""
        try:
            await upgrade_guest(self.process.node.named(name).resolve(), module)
        except UpgradeFailed as failed:
            return str(failed).split(", ", 1)[0]
        return f"{name} is upgraded"

    async def handle(self, text: str) -> Outcome:
        """Send one document through."""
        failures = []
        for name in self.names:
            plugin: Ref[Guest] = self.process.node.named(name)
            try:
                text = (await plugin.within(PATIENCE).call(Guest.request, text.encode())).decode()
            except ProcessDied as died:
                failures.append(f"{name}: {died.reason}")
            except CallError as error:
                failures.append(f"{name}: {error}")
        return Outcome(text, tuple(failures))


TREE = [
    Child(Supervisor, [], kwargs={"intensity": 10}, id="plugins", name="plugins"),
    Child(Host, id="host", name="host"),
]


async def main() -> None:
    logging.getLogger("enfilade").setLevel(logging.CRITICAL)  # plug-ins trap on purpose here
    async with open_node("host") as node:
        node.root = await node.spawn(Supervisor, TREE, strategy="rest_for_one")
        host: Ref[Host] = node.named("host").within(30)

        async def show(text: str) -> None:
            outcome = await host.call(Host.handle, text)
            print(" | ".join([outcome.text, *outcome.failures]))

        await host.call(Host.install, "loud", plugin(1, CAPITALS))
        await show("hello")
        print(await host.call(Host.upgrade, "loud", plugin(2, ZEROS)))
        await show("hello")
        print(await host.call(Host.upgrade, "loud", b"no module"))
        await show("hello")
        await host.call(Host.install, "stuck", plugin(1, STUCK))
        await host.call(Host.install, "astray", plugin(1, ASTRAY))
        await show("are you there?")
        await show("hello")


if __name__ == "__main__":
    trio.run(main)
