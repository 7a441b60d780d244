from __future__ import annotations

from collections.abc import Iterator

import pytest

from enfilade.hostcalls.engine import Engine, EngineConfig
from tests.hostcalls.engine.script import ScriptRunner


@pytest.fixture
def config() -> EngineConfig:
    return EngineConfig(max_guests=16, max_memory=64 * 1024 * 1024)


@pytest.fixture
def engine(config: EngineConfig) -> Iterator[Engine]:
    with Engine(config=config) as engine:
        yield engine


@pytest.fixture
def script(engine: Engine) -> ScriptRunner:
    return ScriptRunner(engine)
