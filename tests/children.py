"""What processes that tests start, or fork, find: signals as usual, and none of the suite's pipes.

`pytest_configure` is the hook of a `conftest.py` that imports it. This module imports little: each process of
the small suites in `test_stages.py` loads it.
"""

import os
import signal
import stat

import pytest

__all__ = ["pytest_configure"]

USUAL = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGQUIT: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
"""The signals that a program may be started deaf to, and what they do otherwise."""


def pytest_configure(config: pytest.Config) -> None:
    """Programs that tests start can be interrupted, quit and hung up on, also in the background of a shell,
    which has what it runs there ignore SIGINT and SIGQUIT, and below `nohup`.
    """
    for number, usual in USUAL.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)
    if hasattr(config, "workerinput"):
        os.register_at_fork(after_in_child=release_pipes)


def release_pipes() -> None:
    """Let go of what a forked child has of its parent's pipes to the controller of pytest-xdist.

    The controller learns from their end that a worker has crashed: no child may hold them open.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for pipe in PIPES:
        os.dup2(nowhere, pipe, inheritable=False)
    os.close(nowhere)


def open_pipes() -> list[int]:
    """The pipes of this process beside its standard streams."""

    def is_pipe(descriptor: int) -> bool:
        try:
            return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        except OSError:
            return False

    return [descriptor for descriptor in range(3, 256) if is_pipe(descriptor)]


PIPES = open_pipes()
