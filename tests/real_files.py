"""The files that have tests marked `real`: a plugin by which the first stage of the suite tells the second.

Each worker of a stage collects its tests for itself. In the first stage it sees all of them. In the second it
leaves out the files in which no test was marked, which are most.
"""

import os
from pathlib import Path

import pytest

FOUND = pytest.StashKey[set[str]]()


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
    wanted = config.getoption("--real-files")
    if wanted is None or not collection_path.match("test_*.py"):
        return None
    return str(collection_path) not in wanted.split(os.pathsep) or None
