"""What every test may take for granted, and which tests are about real time, processes or the kernel."""

import functools
import gc
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.children import pytest_configure

__all__ = ["pytest_configure"]

# How long an example takes depends on what else the machine does. Every run tries the same ones, so that it
# fails for what has changed; `make soak` tries others each time, and more (--hypothesis-profile=search).
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("search"), derandomize=True, max_examples=40)
settings.load_profile("same")

HERE = Path(__file__).parent

REAL = (
    "actors/cli",
    "actors/test_guest_nodes.py",
    "actors/test_watchdog.py",
    "conformance/actors/test_remote_ladder.py",
    "conformance/doors",
    "hostcalls/net/interop",
    "transport/doors",
    "transport/test_door_carrier.py",
    "transport/test_havoc.py",
    "transport/test_many_hellos.py",
    "transport/test_queue.py",
    "transport/test_queue_in_c.py",
    "transport/test_scarcity.py",
    "transport/test_supervised_zones.py",
    "transport/test_two_zones.py",
    "transport/test_workers.py",
)
"""Files and folders of which every test is `real`; single tests elsewhere carry the mark themselves.

Tests that start programs and only wait for their end are not among them: typing, pages, packaging.
"""


@pytest.fixture(scope="session", autouse=True)
def own_runtime_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The nodes that tests start announce themselves in a directory of this run alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        patch.delenv("ENFILADE_OBSERVE", raising=False)
        yield


@pytest.fixture(autouse=True)
def all_is_carried_out(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What a node sends can be refused, and never fails inside of the other one."""
    yield
    said = [record.msg for record in caplog.get_records("call") if type(record.msg) is str]
    assert not [text for text in said if text.startswith("failed to carry out a ")]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from looking for garbage among what is collected, and from looking often.

    A test that needs it to have looked asks for that.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.set_threshold(10_000, 10, 10)


@functools.cache
def lies_in_table(path: Path) -> bool:
    """Tell whether every test of a file is about real time, processes or the kernel."""
    return any(path.is_relative_to(HERE / name) for name in REAL)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `real` what stands in the table, what starts zones, and what goes through real doors."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        if (
            item.get_closest_marker("zones")
            or (callspec is not None and "doors" in callspec.params.values())
            or lies_in_table(item.path)
        ):
            item.add_marker(pytest.mark.real)


@pytest.fixture(scope="module", autouse=True)
def spared_collector() -> None:
    """Spare the garbage collector, for good, what the suite itself consists of, and what earlier files left.

    It is much more than what any test makes, and every test that collects would look through all of it.
    """
    gc.collect()
    gc.freeze()
