"""What every test may take for granted, and which tests are about real time, processes or the kernel."""

import gc
import itertools
import logging
import operator
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import is_local_module_file

from tests.children import pytest_configure
from tests.real_files import lies_in_table
from tests.watchdog import pytest_timeout_cancel_timer, pytest_timeout_set_timer, pytest_unconfigure

__all__ = [
    "pytest_configure",
    "pytest_timeout_cancel_timer",
    "pytest_timeout_set_timer",
    "pytest_unconfigure",
]


# How long an example takes depends on what else the machine does. Every run tries the same ones, so that it
# fails for what has changed; `make soak` tries others each time, and more (--hypothesis-profile=search).
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("search"), derandomize=True, max_examples=40)
settings.load_profile("same")


def gives_constants(path: str) -> bool:
    """Tell whether hypothesis tries the constants of that module, too: finding all takes two seconds."""
    return settings.get_current_profile_name() == "search" and is_local_module_file(path)


vars(providers)["is_local_module_file"] = gives_constants


@pytest.fixture(scope="session", autouse=True)
def own_runtime_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The nodes that tests start announce themselves in a directory of this run alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        patch.delenv("ENFILADE_OBSERVE", raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def small_engines() -> Iterator[None]:
    """The engines of guests that tests open have few places, unless a test says how many: those of 4,000
    guests, which programs that tests start have as their users do, take ten times as long to open and close.
    """
    from enfilade.hostcalls.kernel import runtime

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "_GUESTS", 200)
        yield


class Said(logging.Handler):
    """Keeps what a node says that could not carry out what another one has sent."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if type(record.msg) is str and record.msg.startswith("failed to carry out a "):
            self.texts.append(record.msg)


SAID = Said()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """What a node sends can be refused, and never fails inside of the other one."""
    SAID.texts.clear()
    logging.root.addHandler(SAID)
    try:
        result = yield
    finally:
        logging.root.removeHandler(SAID)
    assert not SAID.texts
    return result


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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `real` what stands in the table, what starts zones, and what goes through real doors."""
    for path, those in itertools.groupby(items, operator.attrgetter("path")):
        all_are = lies_in_table(path)
        for item in those:
            callspec = getattr(item, "callspec", None)
            if (
                all_are
                or (callspec is not None and "doors" in callspec.params.values())
                or item.get_closest_marker("zones")
            ):
                item.add_marker(pytest.mark.real)


@pytest.fixture(scope="module", autouse=True)
def spared_collector() -> None:
    """Spare the garbage collector, for good, what the suite itself consists of, and what earlier files left.

    It is much more than what any test makes, and every test that collects would look through all of it.
    """
    gc.collect()
    gc.freeze()
