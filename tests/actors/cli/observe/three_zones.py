"""A system of three zones that runs, for pictures of it: a shop (east), a bank (west), a mint (north).

They are real nodes of `enfilade zone run`, each with ledger, mill (a guest), clerk and reporter of the demo.
The shop has five hundred tills besides, one of which crashes now and then, a pool of packers, and a store
of a hundred thousand boxes.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from enfilade.actors.cli.demo.parts import mill_module
from tests.actors.cli.running import running

__all__ = ["BOXES", "NAMES", "three_zones"]

BOXES = 100_000
"""How many boxes the shop has."""

NAMES = {"shop": "east", "bank": "west", "mint": "north"}
"""The nodes and their zones."""

MARKET = """
import logging
import random

import trio

from enfilade import Actor, Child, Pool, Supervisor, Worker

log = logging.getLogger("market")


class Till(Actor):
    def __init__(self, number):
        self.number, self.coins = number, 0
        self.process.node.scope("market").join("tills", self.process.ref)

    def sell(self, coins):
        if coins > 98:
            raise ValueError(f"till {self.number} cannot change {coins} coins")
        self.coins += coins
        return self.coins

    def format_status(self):
        return {"number": self.number, "coins": self.coins}


class Box(Actor):
    parcels = 0

    def take(self):
        self.parcels += 1


class Packer(Worker):
    async def work(self, parcel):
        await trio.sleep(0.2)
        return parcel


class Customers(Actor):
    def on_start(self):
        self.on_message("come")

    def on_message(self, message):
        node = self.process.node
        for _ in range(5):
            till = node.whereis(f"till {random.randrange(60)}")
            if till is not None:
                till.cast(Till.sell, random.randrange(2, 100))
        node.named("packers").cast(Pool.submit, "a parcel")
        if random.random() < 0.1:
            log.warning("a customer has left without change")
        self.process.send_after(0.2, self.process.ref, "come")


def boxes(aisle):
    numbers = range(1000 * aisle, 1000 * aisle + 1000)
    return [Child(Box, id=f"box {n}", label=f"box {n}") for n in numbers]


def store():
    aisles = range(BOXES // 1000)
    return [Child(Supervisor, boxes(aisle), id=f"aisle {aisle}", type="supervisor") for aisle in aisles]


def tills(floor):
    numbers = range(60 * floor, 60 * floor + 60)
    return [Child(Till, number, id=f"till {number}", name=f"till {number}") for number in numbers]


class Market(Supervisor):
    def __init__(self):
        floors = [
            Child(Supervisor, tills(floor), id=f"floor {floor}", type="supervisor", intensity=60, period=60.0)
            for floor in range(8)
        ]
        pool = Child(Pool, Packer, size=4, id="packers", name="packers")
        shelves = Child(Supervisor, store(), id="store", type="supervisor", name="store")
        super().__init__([*floors, shelves, pool, Child(Customers, id="customers", name="customers")])
"""

ZONE = """
[node]
name = "{name}"
zone = "{zone}"
door = "{name}.door"
connect = [{others}]
longest_pause = 0.25

[log]
level = "INFO"

[supervisor]
intensity = 20

[[child]]
id = "ledger"
actor = "enfilade.actors.cli.demo.parts:Ledger"
name = "ledger"

[[child]]
id = "mill"
guest = "mill.wasm"
capabilities = ["actor_message"]
name = "mill"

[[child]]
id = "clerk"
actor = "enfilade.actors.cli.demo.parts:clerk"
arguments = ["{customer}"]
name = "clerk"

[[child]]
id = "reporter"
actor = "enfilade.actors.cli.demo.parts:Reporter"
name = "reporter"

[[peer]]
uids = [{uid}]
exports = ["mill", "reporter"]
observe = true
inspect = true
trace = true
control = true
"""

SHOP = """
[[child]]
id = "market"
actor = "market:Market"
name = "market"
"""


@contextmanager
def three_zones(place: Path) -> Iterator[list[Path]]:
    """Run the three nodes for the length of a block.

    Args:
        place: the directory of their doors.

    Yields:
        the doors, the shop's first.
    """
    (place / "mill.wasm").write_bytes(mill_module())
    (place / "market.py").write_text(f"BOXES = {BOXES}\n{MARKET}")
    names = list(NAMES)
    with ExitStack() as stack:
        for name, zone in reversed(NAMES.items()):
            later = names[names.index(name) + 1 :]
            customer = names[(names.index(name) + 1) % 3]
            text = ZONE.format(
                name=name,
                zone=zone,
                others=", ".join(f'"{other}.door"' for other in later),
                customer=f"{customer}@{NAMES[customer]}",
                uid=os.getuid(),
            )
            path = place / f"{name}.toml"
            path.write_text(text + (SHOP if name == "shop" else ""))
            stack.enter_context(running(path, stderr=subprocess.DEVNULL))
        yield [place / f"{name}.door" for name in NAMES]
