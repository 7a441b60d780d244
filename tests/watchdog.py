"""Ends a test that takes too long, by one thread for all tests: a way of pytest-timeout.

Its own way starts a thread for each of seventeen thousand tests, and pytest's faulthandler another one.
"""

import faulthandler
import threading
import time
from typing import Any

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key
from pytest_timeout import timeout_timer

MARGIN = 60.0
"""Seconds after which the stacks are written of a process whose threads cannot run any more."""


class Watchdog:
    """Waits for the end of each test.

    Attributes:
        watched: the test that runs, its settings, and when it must have ended; None.
        waits_until: when the thread looks next.
        stacks_at: when the stacks will be written, unless a later test has put it off.
    """

    def __init__(self) -> None:
        self.watched: tuple[pytest.Item, Any, float] | None = None
        self.waits_until = 0.0
        self.stacks_at = 0.0
        self.changed = threading.Condition()
        self.thread: threading.Thread | None = None

    def set(self, item: pytest.Item, settings: Any) -> None:
        """Watch a test from now on."""
        deadline = time.monotonic() + settings.timeout
        if deadline > self.stacks_at:
            self.stacks_at = deadline + MARGIN
            file = item.config.stash[fault_handler_stderr_fd_key]
            faulthandler.dump_traceback_later(settings.timeout + MARGIN, file=file)
        with self.changed:
            self.watched = item, settings, deadline
            if self.thread is None or not self.thread.is_alive():  # a forked child has none
                self.thread = threading.Thread(target=self.watch, name="watchdog of the tests", daemon=True)
                self.thread.start()
            elif deadline < self.waits_until:
                self.changed.notify()

    def watch(self) -> None:
        """End the test whose time has come, and this process with it."""
        with self.changed:
            while True:
                now = time.monotonic()
                watched = self.watched
                if watched is not None and now >= watched[2]:
                    timeout_timer(*watched[:2])  # which leaves a test alone that is being debugged
                    self.watched = None
                    continue
                self.waits_until = watched[2] if watched is not None else now + MARGIN
                self.changed.wait(self.waits_until - now)


WATCHDOG = Watchdog()


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool | None:
    """Watch a test from now on, unless signals shall do it."""
    if settings.method != "thread":
        return None
    WATCHDOG.set(item, settings)
    return True


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_timeout_cancel_timer() -> bool | None:
    """Watch it no longer."""
    if WATCHDOG.watched is None:
        return None
    WATCHDOG.watched = None
    return True


def pytest_unconfigure() -> None:
    """Write no stacks of what comes after the tests."""
    faulthandler.cancel_dump_traceback_later()
