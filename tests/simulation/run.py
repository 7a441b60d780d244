"""Run scenes by their seeds and print what came of it: `python -m tests.simulation.run SCENE SEED ...`

Each line is `scene seed trio-version events steps digest`, separated by tabs.
"""

from __future__ import annotations

import logging
import sys

import trio

from enfilade.actors.simulation import World, run_simulation
from tests.simulation.scenes import SCENES

__all__ = ["played"]


def played(scene: str, seed: int) -> World:
    """The world of a scene, when it is over."""
    worlds: list[World] = []

    async def main(world: World) -> None:
        worlds.append(world)
        await SCENES[scene](world)

    run_simulation(main, seed=seed)
    return worlds[0]


def line(scene: str, seed: int) -> str:
    world = played(scene, seed)
    return "\t".join(map(str, (scene, seed, trio.__version__, world.log.count, world.steps, world.digest)))


if __name__ == "__main__":
    logging.disable()
    wanted = sys.argv[1:]
    for scene, seed in zip(wanted[::2], wanted[1::2], strict=True):
        print(line(scene, int(seed)), flush=True)
