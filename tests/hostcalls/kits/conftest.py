"""The program that every kit has: the rate-limiting filter."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostcalls.kits.builds import EXAMPLES, in_every_kit


@pytest.fixture(scope="session", params=in_every_kit(lambda kit: EXAMPLES / kit.name / f"filter{kit.suffix}"))
def module(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The filter, as one kit builds it."""
    path: Path = request.param(tmp_path_factory.mktemp("filter"), request.config)
    return path
