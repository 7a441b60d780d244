"""Random scripts of event managers, on `gen_event` and on our `EventManager`: the same happens."""

from __future__ import annotations

from difflib import ndiff
from pathlib import Path

import pytest

from tests.oracle.erlang import compiled, play
from tests.oracle.manager import WARM_UP, generate
from tests.oracle.manager_ours import perform
from tests.oracle.test_world import _quiet

__all__ = ["_quiet"]

BATCH = 100


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(first, marks=pytest.mark.soak) for first in range(BATCH, 2000, BATCH))]
)
def test_both_managers_do_the_same(first: int, tmp_path: Path) -> None:
    """Handlers are added, swapped, called, removed and lost alike, and their owners hear the same of it."""
    scripts = {str(seed): generate(seed) for seed in range(first, first + BATCH)}
    place = compiled("manager_oracle", tmp_path)
    theirs = play("manager_oracle", place, {"warm_up": WARM_UP, **scripts})
    for name, script in scripts.items():
        ours = perform(script)
        shown = "\n".join(["OTP (-) and ours (+) differ:", *script, "", *ndiff(theirs[name], ours)])
        assert ours == theirs[name], shown
