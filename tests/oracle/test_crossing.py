"""Random scripts about links and monitors between two nodes, of Erlang/OTP and of ours: the same happens."""

from __future__ import annotations

from difflib import ndiff
from pathlib import Path

import pytest

from tests.oracle.crossing import WARM_UP, generate, normalized
from tests.oracle.crossing_ours import perform
from tests.oracle.erlang import compiled, play_on_two_nodes
from tests.oracle.test_world import _quiet

__all__ = ["_quiet"]

BATCH = 100


@pytest.mark.real
@pytest.mark.parametrize(
    "first", [0, *(pytest.param(first, marks=pytest.mark.soak) for first in range(BATCH, 2000, BATCH))]
)
def test_both_pairs_of_nodes_do_the_same(first: int, tmp_path: Path) -> None:
    """Links, monitors, signals, names and the loss of the connection agree after every command.

    The sockets between nodes of Erlang may be late on a busy machine: scripts that differ are played again.
    """
    place = compiled("crossing_oracle", tmp_path)
    scripts = {str(seed): generate(seed) for seed in range(first, first + BATCH)}
    ours = {name: normalized(perform(script)) for name, script in scripts.items()}
    theirs: dict[str, list[str]] = {}
    for _ in range(3):
        played = play_on_two_nodes("crossing_oracle", place, {"warm_up": WARM_UP, **scripts})
        theirs = {name: normalized(played[name]) for name in scripts}
        scripts = {name: script for name, script in scripts.items() if theirs[name] != ours[name]}
        if not scripts:
            return
    for name, script in scripts.items():
        shown = "\n".join(["OTP (-) and ours (+) differ:", *script, "", *ndiff(theirs[name], ours[name])])
        pytest.fail(shown)
