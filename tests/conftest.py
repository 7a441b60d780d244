"""What every test may take for granted."""

import signal


def pytest_configure() -> None:
    """Programs that tests start can be interrupted, also where the tests run in the background of a shell, which
    has its background ignore SIGINT and hands that on.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
