"""The command runs in other directories than the repository, and finds the packages all the same."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.actors.cli.running import running, zone

ROOT = Path(__file__).resolve().parents[3]


def put_packages_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands that are started from now on find the packages."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture(autouse=True)
def packages_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    put_packages_on_the_path(monkeypatch)


BOOKS = """
import trio
from enfilade.actors import Actor, Child, Process, Supervisor

class Ledger(Actor):
    async def post(self) -> None:
        await trio.sleep_forever()

async def clerk(me: Process) -> None:
    await me.node.named("ledger").within(1000.0).call(Ledger.post)

class Hall(Supervisor):
    def __init__(self) -> None:
        super().__init__([Child(Ledger, id="ledger", name="ledger"), Child(clerk, id="clerk")])
"""


@pytest.fixture(scope="package")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a zone that runs: node bank@east, with a ledger that a clerk waits for."""
    place = tmp_path_factory.mktemp("bank")
    with pytest.MonkeyPatch.context() as patch:
        put_packages_on_the_path(patch)
        with running(zone(place, BOOKS, child="hall", actor="Hall")):
            yield place
