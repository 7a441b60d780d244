"""What every test may take for granted."""

import signal

from hypothesis import HealthCheck, settings

# How long an example takes depends on what else the machine does. Every run tries the same ones, so that it
# fails for what has changed; `--hypothesis-profile=search` tries others each time.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("search"), derandomize=True)
settings.load_profile("same")


def pytest_configure() -> None:
    """Programs that tests start can be interrupted, also in the background of a shell, which has what it runs
    there ignore SIGINT.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
