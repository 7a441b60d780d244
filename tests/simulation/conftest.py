"""What all tests of worlds share."""

import pytest


@pytest.fixture(autouse=True)
def quiet_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Let nodes that are crashed, cut off and deceived say nothing of it: they would say very much."""
    caplog.set_level("CRITICAL")
