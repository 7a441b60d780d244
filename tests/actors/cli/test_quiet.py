"""Commands keep the runtime's log off the terminal while they run, and leave its level as it was."""

import logging
from pathlib import Path

import pytest

from enfilade.actors.cli import quiet
from enfilade.actors.cli.guest import GuestOptions, run_guests
from enfilade.actors.cli.operator import visit_node
from enfilade.actors.cli.quiet import ACTORS, quietly
from enfilade.actors.cli.refusal import Refusal

LEVELS = (logging.NOTSET, logging.DEBUG, logging.ERROR, logging.CRITICAL)


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> int:
    """The level that a user gave to both loggers of the commands."""
    level: int = request.param
    for name in ("enfilade", "enfilade.actors"):
        caplog.set_level(level, name)
    return level


def levels() -> set[int]:
    return {logging.getLogger(name).level for name in ("enfilade", "enfilade.actors")}


def test_level_is_put_back(level: int) -> None:
    with quietly():
        assert logging.getLogger("enfilade").level == logging.CRITICAL
        with quietly(ACTORS):
            assert levels() == {logging.CRITICAL}
    assert levels() == {level}


def test_level_is_put_back_after_an_error(level: int) -> None:
    with pytest.raises(KeyboardInterrupt), quietly():
        raise KeyboardInterrupt
    assert levels() == {level}


def test_commands_put_the_level_back(level: int, tmp_path: Path) -> None:
    (tmp_path / "small.wat").write_text('(module (memory (export "memory") 1) (func (export "start")))')
    assert run_guests([str(tmp_path / "small.wat")], GuestOptions()) == 0
    with pytest.raises(Refusal):
        visit_node(tmp_path / "none.door", None, lambda node, peer: None)  # type: ignore[arg-type, return-value]
    assert levels() == {level}


def test_no_command_silences_a_logger_in_another_way() -> None:
    place = Path(quiet.__file__)
    others = [path for path in place.parent.rglob("*.py") if path != place]
    assert [path.name for path in others if "setLevel(" in path.read_text()] == []
