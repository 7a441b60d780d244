"""The reference has each public name once."""

import re
from collections import Counter
from pathlib import Path

import pytest

from enfilade import actors

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
DIRECTIVES = r"^\.\. auto(?:class|function|data):: (\w+)$"
MODULES = r"^\.\. automodule:: ([\w.]+)$"
BESIDES = {
    "enfilade.actors.node.services": ["Peers", "Workers"],
}


def _text() -> str:
    return "\n".join(page.read_text() for page in REFERENCE.glob("*.md"))


def test_each_public_name_has_one_entry() -> None:
    named = Counter(re.findall(DIRECTIVES, _text(), re.MULTILINE))
    named += Counter(module.rpartition(".")[2] for module in re.findall(MODULES, _text(), re.MULTILINE))
    assert {name: named[name] for name in actors.__all__ if named[name] != 1} == {}


def test_each_entry_is_a_public_name() -> None:
    assert set(re.findall(DIRECTIVES, _text(), re.MULTILINE)) - set(actors.__all__) == set()


@pytest.mark.parametrize("module", BESIDES)
def test_names_that_are_imported_from_where_they_are(module: str) -> None:
    members = re.search(rf"automodule:: {re.escape(module)}\n   :members: (.*)", _text())
    assert members is not None
    assert set(BESIDES[module]) <= set(members[1].split(", "))
