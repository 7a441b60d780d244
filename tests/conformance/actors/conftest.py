"""A node that must be empty when it has closed. Tests ask for `autojump_clock` too, for virtual time."""

from collections.abc import AsyncIterator

import attrs
import pytest

from enfilade.actors import Node, open_node

COUNTERS = {"dead_letters", "dropped", "unkillable"}


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A running node; after the test, nothing may be left of it."""
    async with open_node("test") as node:
        yield node
    left = {
        key: value for key, value in attrs.asdict(node.statistics()).items() if key not in COUNTERS and value
    }
    assert not left
