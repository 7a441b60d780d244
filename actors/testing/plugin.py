"""Fixtures for pytest with pytest-trio.

`node` is a running node, checked for leaks when the test is over; `probe` is a mailbox on it. A program's own
`conftest.py` enables both with `pytest_plugins = ["enfilade.actors.testing.plugin"]`. For virtual time a test
takes pytest-trio's `autojump_clock` as well; pytest-trio looks for the clock among the test's own arguments.

`pytest --enfilade-dump-on-timeout SECONDS` prints a dump of each node of a test that takes longer than that,
which says who waits for whom. The test goes on.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest

from enfilade.actors.node.config import NodeConfig
from enfilade.actors.node.node import Node
from enfilade.actors.observing.dumps.dump import dump, text_of
from enfilade.actors.opening import open_node
from enfilade.actors.testing.leaks import check_leaks
from enfilade.actors.testing.probe import Probe, open_probe

__all__ = ["node", "probe"]

OPTION: Final = "--enfilade-dump-on-timeout"


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


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        OPTION,
        type=float,
        metavar="SECONDS",
        help="print a dump of the nodes of a test that takes longer than that",
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Print dumps when the test takes too long."""
    seconds = item.config.getoption(OPTION)
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, _dump_nodes, (item.nodeid, seconds))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _dump_nodes(test: str, seconds: float) -> None:
    """Print a dump of each node that is open, from another thread: the loop may be held."""
    lines = [f"{test} has taken {seconds:g} s"]
    for found in gc.get_objects():
        if type(found) is Node and not found.stopped:
            lines += text_of(dump(found, cause="held", reason=f"{test} takes long"))
    stream = sys.__stderr__
    if stream is not None:
        os.write(stream.fileno(), "".join(f"{line}\n" for line in lines).encode(errors="replace"))
