"""A node under virtual time, which must be empty when it has closed."""

from collections.abc import AsyncIterator

import attrs
import pytest
import trio.testing

from actors import Node, open_node

COUNTERS = {"dead_letters", "dropped", "unkillable"}


@pytest.fixture
async def node(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Node]:
    """A running node; after the test, nothing may be left of it."""
    async with open_node("test") as node:
        yield node
    left = {
        key: value for key, value in attrs.asdict(node.statistics()).items() if key not in COUNTERS and value
    }
    assert not left
