"""Random scripts about the control of servers, by OTP's `sys` and by our `system`: the same happens."""

from __future__ import annotations

from difflib import ndiff
from pathlib import Path

import pytest

from tests.oracle.control import WARM_UP, generate
from tests.oracle.control_ours import perform
from tests.oracle.erlang import compiled, play
from tests.oracle.test_world import _quiet

__all__ = ["_quiet"]

BATCH = 100


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(first, marks=pytest.mark.soak) for first in range(BATCH, 2000, BATCH))]
)
def test_both_control_alike(first: int, tmp_path: Path) -> None:
    """What is suspended, resumed, read, replaced, changed and terminated, in both tiers, agrees."""
    scripts = {str(seed): generate(seed) for seed in range(first, first + BATCH)}
    place = compiled("control_oracle", tmp_path)
    theirs = play("control_oracle", place, {"warm_up": WARM_UP, **scripts})
    for name, script in scripts.items():
        for has_task in (False, True):
            ours = perform(script, has_task=has_task)
            shown = "\n".join(["OTP (-) and ours (+) differ:", *script, "", *ndiff(theirs[name], ours)])
            assert ours == theirs[name], shown
