"""The node that the user means: by its door, a zone file, its name, its process id, or by nothing at all.

Without a door, the nodes of this user that run are looked at: each leaves a file with the path of its door
(`observing.discovery.running_nodes`).
"""

from __future__ import annotations

from pathlib import Path

import attrs

from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.observing.discovery.running_nodes import RunningNode, running_nodes, runtime_directory

__all__ = ["Place", "place_of", "running_place"]


@attrs.frozen
class Place:
    """A node that can be reached.

    Attributes:
        door: the path of its door.
        secret: the file of the secret that it asks for; None.
    """

    door: Path
    secret: Path | None


def place_of(given: Path | None, secret: Path | None) -> Place:
    """The door of the node that the user means.

    Args:
        given: the path of a door or of a zone file, the name of a node that runs, with or without its zone,
            or the id of its process; None for the one that runs.
        secret: the file of the secret that it asks for; None for the one in the zone file, if that is given.

    Raises:
        Refusal: there is no such node, or there are several.
    """
    if given is not None and given.suffix == ".toml" and given.is_file():
        from enfilade.actors.cli.zonefile import read_zone_file  # which takes longer than all else here

        settings = read_zone_file(given).node
        if settings.door is None:
            raise Refusal(f"the zone file {given} names no door")
        directory = given.resolve().parent
        own = None if settings.secret is None else directory / settings.secret
        return Place(directory / settings.door, own if secret is None else secret)
    if given is not None and given.exists():
        return Place(given, secret)
    node = running_place(given)
    if node.door is None:
        raise Refusal(f"{_shown(node)} has no door")
    return Place(Path(node.door), secret)


def running_place(given: Path | None) -> RunningNode:
    """The node of this user that runs and has that name or process id; None for the only one.

    Raises:
        Refusal: there is no such node, or there are several.
    """
    nodes = running_nodes()
    wanted = "" if given is None else str(given)
    chosen = [
        node
        for node in nodes
        if given is None
        or wanted in (str(node.pid), node.full_name)
        or wanted == node.full_name.partition("@")[0]
    ]
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        listed = "".join(f"\n  {_shown(node)}" for node in chosen)
        raise Refusal(f"{len(chosen)} nodes run; name one, or its process id:{listed}")
    if given is None:
        raise Refusal(
            f"no node of this user has announced itself in {runtime_directory()}; expected the path of a door"
        )
    raise Refusal(f"{given} is not a door, and no node of this user with that name or process id runs")


def _shown(node: RunningNode) -> str:
    where = "no door" if node.door is None else node.door
    return f"{node.full_name}, process {node.pid}, {where}"
