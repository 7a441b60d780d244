"""Settings at their least: what holds with ordinary ones holds with these.

The cases of links, monitors, calls, names, mailboxes and servers across a narrow node link are in
tests/conformance/actors (the back end `narrow`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import pytest

from enfilade.actors import NodeConfig
from enfilade.actors.simulation import World, run_simulation
from enfilade.transport import Settings
from tests.conformance.actors import test_strategies
from tests.conformance.actors.abroad import HALTING
from tests.conformance.actors.family import clean_node
from tests.simulation.scenes import SCENES


@pytest.fixture(autouse=True)
def halting(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each message it is another's turn, and the loop's."""
    monkeypatch.setattr(test_strategies, "clean_node", partial(clean_node, turn=1, slice=1))


for _name, _case in list(vars(test_strategies).items()):
    if _name.startswith("test_act_d"):
        globals()[re.sub(r"^test_act_d\d*", "test_sim_52", _name)] = _case


SOME = (2, 7, 8)
"""Seeds that draw batches of one and turns of one."""


@pytest.mark.parametrize(
    "seeds", [pytest.param(SOME, id="some"), pytest.param(range(10), marks=pytest.mark.soak, id="all")]
)
@pytest.mark.parametrize("scene", ["messages", "emigrants", "trees", "groups", "pools", "guests"])
def test_sim_52_scenes_hold_with_settings_that_the_seed_draws(
    scene: str, seeds: Sequence[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL")
    drawn: set[str] = set()

    async def main(world: World) -> None:
        world.draw_settings()
        await SCENES[scene](world)
        drawn.add(world.options)

    for seed in seeds:
        run_simulation(main, seed=seed)
    assert any("batch 1," in options for options in drawn)
    assert any("turn 1," in options for options in drawn)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Settings(window=0), "window must be more than 0, got 0"),
        (lambda: Settings(period=-1.0), "period must be more than 0, got -1.0"),
        (lambda: Settings(batch=65_537), "batch must be from 1 to 65536, got 65537"),
        (lambda: Settings(handles=0), "handles must be from 1 to 200, got 0"),
        (lambda: NodeConfig(turn=0), "turn must be at least 1, got 0"),
        (lambda: NodeConfig(slice=0), "slice must be at least 1, got 0"),
    ],
)
def test_impossible_settings_are_refused(make: object, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        make()  # type: ignore[operator]
    assert HALTING.turn == HALTING.slice == 1
