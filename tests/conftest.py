"""What every test may take for granted."""

import signal


def pytest_configure() -> None:
    """Programs that tests start can be interrupted, also in the background of a shell, which has what it runs
    there ignore SIGINT.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
