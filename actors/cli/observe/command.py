"""`enfilade observe`: what is refused before anything is drawn, and which nodes are observed."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from enfilade.actors.cli.dump import read_dump
from enfilade.actors.cli.files import read_secret
from enfilade.actors.cli.observe.following import Follower, Following, Unfollowing
from enfilade.actors.cli.observe.observed import RIGHTS, Observed
from enfilade.actors.cli.operator import connected, one_line
from enfilade.actors.cli.places import place_of
from enfilade.actors.cli.quiet import quietly
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.messages.blocks import async_block
from enfilade.actors.node.node import Node
from enfilade.actors.observing.watches.exhibit import open_exhibit
from enfilade.actors.opening import open_node
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.policy import Policy, Rights, Rule

__all__ = ["exhibited", "follower_of", "nodes_behind", "observe_in_browser", "observe_on_terminal"]

MISSING = (
    "observe needs the extra \"observe\": pip install 'enfilade[observe]'; `enfilade top` needs nothing more"
)

MORE_RIGHTS: Final = ("inspect", "trace", "control")
"""The rights that `--allow` names."""

WITHHELD: Final = "the page may only look: `enfilade observe --web --allow control` lets it act"


def observe_on_terminal(
    given: Sequence[Path],
    secret: Path | None,
    *,
    follows: bool = False,
    read_only: bool = False,
    ascii_only: bool = False,
) -> int:
    """Observe nodes on the terminal, until the user leaves.

    Args:
        given: the nodes, as of `places.place_of`, and dump files; none for the node that runs.
        secret: the file of the secret that they ask for; None.
        follows: whether nodes that these are connected to are observed, too.
        read_only: whether actions are left out.
        ascii_only: whether to draw with ASCII characters alone; so it is where the locale has no others.

    Returns:
        0.

    Raises:
        Refusal: a package is missing, this is no terminal that can be drawn on, or there is no such node.
    """
    _check_packages("textual")
    nodes = nodes_behind(given, secret)
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):  # it draws on the last
        raise Refusal("observe needs a terminal; `enfilade top` prints lines")
    if os.environ.get("TERM", "dumb") == "dumb":
        raise Refusal("observe cannot draw on a terminal of the type dumb; `enfilade top` prints lines")

    # Textual takes half a second to load, which no other command should.
    from enfilade.actors.cli.observe.terminal.app import ObserveApp
    from enfilade.actors.cli.observe.terminal.glyphs import UNICODE

    is_ascii = ascii_only or not _can_draw(UNICODE.levels + UNICODE.joints)
    with quietly():  # what goes wrong is shown
        ObserveApp(nodes, follower_of(follows), is_read_only=read_only, is_ascii=is_ascii).run()
    return 0


def _can_draw(characters: str) -> bool:
    """Tell whether the terminal's encoding, as the locale says, has some characters."""
    try:
        characters.encode(getattr(sys.stderr, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def observe_in_browser(
    given: Sequence[Path],
    secret: Path | None,
    *,
    follows: bool = False,
    port: int = 0,
    opens: bool = False,
    allowed: Collection[str] = (),
) -> int:
    """Observe nodes in a browser of this machine, until interrupted.

    Args:
        given: the nodes, as of `places.place_of`, and dump files; none for the node that runs.
        secret: the file of the secret that they ask for; None.
        follows: whether nodes that these are connected to are observed, too.
        port: the port on the loopback addresses; 0 for a free one.
        opens: whether to open the page in the user's browser.
        allowed: the rights of which use is made beside that to observe: "inspect", "trace", "control".

    Returns:
        0.

    Raises:
        Refusal: a package is missing, a right is unknown, the port cannot be had, or there is no such node.
    """
    _check_packages("h11", "wsproto")
    unknown = sorted(set(allowed) - set(MORE_RIGHTS))
    if unknown:
        raise Refusal(f"--allow takes {', '.join(MORE_RIGHTS)}, got {', '.join(map(one_line, unknown))}")
    nodes = nodes_behind(given, secret, ("observe", *allowed))

    # The packages of the extra are there only for this.
    from enfilade.actors.cli.observe.web.run import serve_page

    serve_page(nodes, follower_of(follows, ("observe", *allowed)), port, opens=opens)
    return 0


def _check_packages(*packages: str) -> None:
    if any(find_spec(package) is None for package in packages):
        raise Refusal(MISSING)


def nodes_behind(
    given: Sequence[Path], secret: Path | None, allowed: Collection[str] = RIGHTS
) -> list[Observed]:
    """The nodes that the user means, to be observed.

    Args:
        given: the nodes, as of `places.place_of`, and dump files; none for the node that runs.
        secret: the file of the secret that the nodes ask for; None.
        allowed: the rights of which use is made.

    Raises:
        Refusal: there is no such node, the secret cannot be read, or a file is not a dump.
    """
    return [_observed(each, secret, number, allowed) for number, each in enumerate(given or [None], 1)]


def follower_of(follows: bool, allowed: Collection[str] = RIGHTS) -> Follower:
    """The finder of nodes that are to be observed, too.

    Args:
        follows: whether there are any.
        allowed: the rights of which use is made.
    """

    def behind(door: Path, number: int) -> Observed:
        connect = partial(connected, door, None, number)
        return Observed(str(door), connect, allowed=allowed, withheld=WITHHELD)

    return Following(behind) if follows else Unfollowing()


def _observed(given: Path | None, secret: Path | None, number: int, allowed: Collection[str]) -> Observed:
    if given is not None and given.suffix != ".toml" and given.is_file():
        records, _ = read_dump(given)
        looking = set(allowed) & {"observe", "inspect"}
        return Observed(str(given), partial(exhibited, records), allowed=looking, withheld="this is a dump")
    place = place_of(given, secret)
    text = None if place.secret is None else read_secret(place.secret)
    connect = partial(connected, place.door, text, number)
    return Observed(str(place.door), connect, allowed=allowed, withheld=WITHHELD)


@async_block
async def exhibited(records: Sequence[dict[str, Any]]) -> AsyncIterator[tuple[Node, str]]:
    """Be a node that is connected to one in the place of a dumped one, for the length of a block.

    Args:
        records: those of the dump.

    Yields:
        our node, and the full name of the other.
    """
    name, _, zone = records[0]["node"].partition("@")
    network = MemoryNetwork()
    policy = Policy(rules=[Rule(rights=Rights(observe=True, inspect=True))])
    async with (
        open_node(
            name, zone=zone, listen="/dump", policy=policy, carrier=network.carrier("dump"), observe=False
        ) as shown,
        open_node("operator", policy=Policy(rules=[Rule()]), carrier=network.carrier("operator")) as node,
    ):
        open_exhibit(shown, records)
        yield node, await node.connect("/dump")
