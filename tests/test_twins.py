"""Which of the functions that are written twice are in use, and what `enfilade doctor` says of it."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from enfilade.actors.cli import doctor
from enfilade.actors.core import choice as core
from enfilade.transport.core import choice as ways
from enfilade.twins import NOT_COMPILED, OTHER_VERSION, Choice, Function, Site, choice_of

ROWS = {"core": (core, doctor._core), "node links": (ways, doctor._ways)}
MODULE = "a_compiled_module"


class Kind:
    def double(self, number: int) -> int:
        return 2 * number


TWINS: Mapping[Site, Function] = {(Kind, "double"): Kind.double}


def in_c(self: Kind, number: int) -> int:
    return number + number


class Compiled(ModuleType):
    """A module as if it were compiled."""

    def method(self, owner: type, name: str) -> Function:
        return {(Kind, "double"): in_c}[owner, name]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Compiled]:
    module = Compiled(MODULE)
    monkeypatch.setitem(sys.modules, MODULE, module)
    yield module
    Kind.double = TWINS[Kind, "double"]  # type: ignore[method-assign]


def bound(_compiled: Any) -> None:
    """Nothing to tell it."""


def refused(error: Exception) -> Choice:
    """The choice where binding fails."""

    def fail(_compiled: Any) -> None:
        raise error

    return choice_of("they are", MODULE, TWINS, fail)


@pytest.mark.usefixtures("compiled")
def test_either_can_be_chosen() -> None:
    found = choice_of("they are", MODULE, TWINS, bound)
    assert found.is_available
    assert (found.in_use(), found.obstacle) == ("python", "")
    found.choose(is_compiled=True)
    assert Kind.double is in_c
    assert (found.in_use(), found.why_python()) == ("compiled", "")
    found.choose(is_compiled=False)
    assert (found.in_use(), found.why_python()) == ("python", "the program chose it")


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("wanted", "used"), [("python", "python"), ("", "compiled"), (None, "compiled")])
def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch, wanted: str | None, used: str) -> None:
    monkeypatch.delenv("ENFILADE_CORE", raising=False)
    if wanted is not None:
        monkeypatch.setenv("ENFILADE_CORE", wanted)
    found = choice_of("they are", MODULE, TWINS, bound)
    found.choose_by_environment()
    assert found.in_use() == used
    assert found.why_python() == ("ENFILADE_CORE=python" if used == "python" else "")


def test_what_is_not_compiled_says_so() -> None:
    found = choice_of("they are", MODULE, TWINS, bound)
    assert found.obstacle == found.why_python() == NOT_COMPILED
    found.choose_by_environment()
    assert found.in_use() == "python"
    with pytest.raises(LookupError, match="they are not available here: not compiled"):
        found.choose(is_compiled=True)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(
    "error",
    [
        AttributeError("'Process' object has no attribute 'later'"),
        LookupError("expected the place of Process.later"),
        KeyError("Later"),
    ],
)
def test_what_knows_other_fields_is_of_another_version(error: Exception) -> None:
    assert refused(error).why_python() == OTHER_VERSION


def test_what_lacks_a_function_is_of_another_version(compiled: Compiled) -> None:
    found = choice_of("they are", MODULE, {**TWINS, (Kind, "later"): Kind.double}, bound)
    assert found.why_python() == OTHER_VERSION
    assert choice_of("they are", MODULE, {(compiled, "later"): in_c}, bound).why_python() == OTHER_VERSION


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("error", [ImportError("expected one interpreter"), TypeError("cannot create")])
def test_the_interpreter_says_its_own_reason(error: Exception) -> None:
    assert refused(error).why_python() == str(error)


def test_a_file_that_cannot_be_loaded_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{MODULE}.abi3.so").write_bytes(b"no shared object")
    monkeypatch.syspath_prepend(tmp_path)
    assert MODULE in choice_of("they are", MODULE, TWINS, bound).why_python()


@pytest.mark.parametrize("topic", ROWS)
@pytest.mark.parametrize(
    "obstacle", [NOT_COMPILED, OTHER_VERSION, "expected one interpreter in the program, got a second"]
)
def test_the_doctor_says_why(monkeypatch: pytest.MonkeyPatch, topic: str, obstacle: str) -> None:
    module, row = ROWS[topic]
    monkeypatch.setattr(module, "CHOICE", Choice("they are", module.TWINS, {}, obstacle))
    found = row()
    assert (found.topic, found.present, found.needed) == (topic, False, False)
    assert f"in Python ({obstacle})" in found.detail


def doctor_says(**environment: str) -> str:
    command = [sys.executable, "-m", "enfilade", "doctor"]
    shown = subprocess.run(
        command,
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return shown.stdout


def test_the_doctor_says_that_the_environment_chose() -> None:
    if not (core.IS_AVAILABLE and ways.IS_AVAILABLE):
        pytest.skip("the cores are not compiled here")
    assert doctor_says(ENFILADE_CORE="python").count("in Python (ENFILADE_CORE=python)") == 2
    assert "in Python" not in doctor_says(ENFILADE_CORE="")


@pytest.mark.parametrize("module", ["enfilade.actors.core.compiled", "enfilade.transport.core.compiled"])
def test_a_core_that_is_not_there_is_left_out(module: str) -> None:
    """A program without the compiled module runs, and knows why it has the twins."""
    package = module.removesuffix("compiled") + "choice"
    program = f"""
import sys, importlib.abc
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
import {package} as choice
print(choice.in_use(), choice.CHOICE.why_python(), sep=": ")
"""
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert shown.stdout.strip() == f"python: {NOT_COMPILED}"


def test_both_cores_find_places_in_one_way() -> None:
    """What is shared is compiled into both."""
    for name in ("enfilade.actors.core.compiled", "enfilade.transport.core.compiled"):
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            pytest.skip("the cores are not compiled here")
        with pytest.raises(LookupError, match="expected the place of"):
            module.bind({}, {})
