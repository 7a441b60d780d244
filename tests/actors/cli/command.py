"""Runs the `enfilade` command: as a user does, in another process, or in this one where that is the same."""

import functools
import io
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest
import typer.main

from enfilade.actors.cli import main
from tests.process_groups import run_in_group

SECONDS = 240

get_command = functools.cache(typer.main.get_command)
"""The commands of an app, made once for all runs in this process: that takes longer than most runs."""


def enfilade(
    *arguments: str, cwd: Path | None = None, seconds: float = SECONDS
) -> "subprocess.CompletedProcess[str]":
    """Run the command; when its time is over, it ends together with everything that it started."""
    command = [sys.executable, "-m", "enfilade", *arguments]
    return run_in_group(command, cwd=cwd, seconds=seconds)


def enfilade_here(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command in this process: to see what it refuses before anything runs."""
    command = ["enfilade", *arguments]
    output, errors = io.StringIO(), io.StringIO()
    with (
        unchanged_imports(),
        unchanged_log_levels(),
        patch.object(sys, "argv", command),
        patch.object(typer.main, "get_command", get_command),
        redirect_stdout(output),
        redirect_stderr(errors),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    status = ended.value.code
    assert isinstance(status, int)
    return subprocess.CompletedProcess(command, status, output.getvalue(), errors.getvalue())


@contextmanager
def unchanged_imports() -> Iterator[None]:
    """Take back the folders that the command adds to the module path, and what it imports from them."""
    before = [*sys.path]
    try:
        yield
    finally:
        added = {Path(folder) for folder in set(sys.path) - set(before)}
        sys.path[:] = before
        for name, module in [*sys.modules.items()] if added else ():
            file = getattr(module, "__file__", None)
            if file is not None and Path(file).parent in added:
                del sys.modules[name]


@contextmanager
def unchanged_log_levels() -> Iterator[None]:
    """Put back the log levels that the command sets."""
    loggers = [logging.getLogger(name) for name in (None, "enfilade", "enfilade.actors")]
    before = [logger.level for logger in loggers]
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
