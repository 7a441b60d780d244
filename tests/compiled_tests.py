"""Compiles the files of tests before they are collected, each in one process: a plugin of pytest.

pytest writes the assertions of each file of tests anew and keeps what that compiles to. The workers of a
stage collect the same files in the same order at the same time, so on a clean checkout each of them did this
for all: some five seconds of processor for each worker of the first stage.
"""

import sys
from pathlib import Path

import pytest
from _pytest.assertion import rewrite

from tests.real_files import pytest_ignore_collect

TESTS = Path(__file__).parent


def share(config: pytest.Config) -> list[Path]:
    """The files of tests that this process compiles."""
    if config.rootpath != TESTS.parent or not hasattr(config, "workerinput"):
        return []
    number, count = int(config.workerinput["workerid"].removeprefix("gw")), config.workerinput["workercount"]
    files = [path for path in sorted(TESTS.rglob("test_*.py")) if not pytest_ignore_collect(path, config)]
    return files[number % count :: count]


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Compile this process's share."""
    config = session.config
    state = config.stash.get(rewrite.assertstate_key, None)
    if state is None or state.mode != "rewrite" or sys.dont_write_bytecode:
        return
    for path in share(config):
        compiled = rewrite.get_cache_dir(path) / (path.stem + rewrite.PYC_TAIL)
        if rewrite._read_pyc(path, compiled) is None and rewrite.try_makedirs(compiled.parent):
            try:
                source_hash, code = rewrite._rewrite_test(path, config)
            except SyntaxError:
                continue  # which collecting it tells
            rewrite._write_pyc(state, code, source_hash, compiled)
