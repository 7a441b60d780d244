"""Fixtures for pytest with pytest-trio.

`node` is a running node, checked for leaks when the test is over; `probe` is a mailbox on it. A program's own
`conftest.py` enables both with `pytest_plugins = ["enfilade.actors.testing.plugin"]`. For virtual time a test
takes pytest-trio's `autojump_clock` as well; pytest-trio looks for the clock among the test's own arguments.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import pytest

from enfilade.actors.node.config import NodeConfig
from enfilade.actors.node.node import Node
from enfilade.actors.opening import open_node
from enfilade.actors.testing.leaks import check_leaks
from enfilade.actors.testing.probe import Probe, open_probe

__all__ = ["node", "probe"]


CONFIG: Final = NodeConfig(debug=True, watchdog=0.1)
"""The settings of the fixture's node: what is shared, and who holds the loop for a tenth of a second, is
logged.
"""


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A node called `test@local`, which holds nothing any more when the test is over."""
    async with open_node("test", config=CONFIG) as running:
        yield running
    check_leaks(running)


@pytest.fixture
async def probe(node: Node) -> AsyncIterator[Probe]:
    """A mailbox of the test's own, which traps exits."""
    async with open_probe(node) as opened:
        yield opened
