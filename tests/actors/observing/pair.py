"""A node that is observed, and one that observes it, in one program."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from enfilade.actors import Node, open_node
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.policy import Policy, Rights, Rule

__all__ = ["ALL", "observed"]

ALL = Rights(observe=True, inspect=True)


@asynccontextmanager
async def observed(rights: Rights = ALL) -> AsyncIterator[tuple[Node, Node]]:
    """Nodes bank and eye, which is connected to bank and has these rights there."""
    network = MemoryNetwork()
    policy = Policy(rules=[Rule(rights=rights)])
    async with (
        open_node("bank", listen="/bank", policy=policy, carrier=network.carrier("bank")) as bank,
        open_node("eye", policy=Policy(rules=[Rule()]), carrier=network.carrier("eye")) as eye,
    ):
        await eye.connect("/bank")
        yield bank, eye
