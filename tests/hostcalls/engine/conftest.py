from __future__ import annotations

from collections.abc import Iterator

import pytest

from hostcalls.engine import Engine, EngineConfig
from tests.hostcalls.engine.script import ScriptRunner


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(config=EngineConfig(max_guests=16, max_memory=64 * 1024 * 1024)) as engine:
        yield engine


@pytest.fixture
def script(engine: Engine) -> ScriptRunner:
    return ScriptRunner(engine)
