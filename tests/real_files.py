"""The files that have tests marked `real`: a plugin by which the first stage of the suite tells the second.

Each worker of a stage collects its tests for itself. In the first stage it leaves out the files of the table
here. In the second it leaves out those in which no test was marked, which are most.
"""

import functools
import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent

REAL = (
    "actors/cli",
    "actors/test_guest_nodes.py",
    "actors/test_watchdog.py",
    "conformance/actors/test_remote_ladder.py",
    "conformance/doors",
    "hostcalls/net/interop",
    "transport/doors",
    "transport/test_door_carrier.py",
    "transport/test_havoc.py",
    "transport/test_many_hellos.py",
    "transport/test_queue.py",
    "transport/test_queue_in_c.py",
    "transport/test_scarcity.py",
    "transport/test_supervised_zones.py",
    "transport/test_two_zones.py",
    "transport/test_workers.py",
)
"""Files and folders of which every test is `real`; single tests elsewhere carry the mark themselves.

Tests that start programs and only wait for their end are not among them: typing, packaging.
"""

FOUND = pytest.StashKey[set[str]]()


@functools.cache
def lies_in_table(path: Path) -> bool:
    """Tell whether every test of a file is about real time, processes or the kernel."""
    return any(path.is_relative_to(HERE / name) for name in REAL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--real-files",
        metavar="PATHS",
        help=f"the only files to collect from, with {os.pathsep} between",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FOUND] = set()


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("real"):
            item.config.stash[FOUND].add(str(item.path))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that controls the workers."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["real_files"] = sorted(session.config.stash[FOUND])


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    name = collection_path.name
    if not (name.startswith("test_") and name.endswith(".py")):
        return None
    wanted = config.getoption("--real-files")
    if wanted is not None:
        return str(collection_path) not in wanted.split(os.pathsep) or None
    if not lies_in_table(collection_path) or any(name in argument for argument in config.args):
        return None
    config.stash[FOUND].add(str(collection_path))
    return True
