"""`enfilade observe`: what is refused before anything is drawn, and which nodes are observed."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Collection, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from enfilade.actors.cli.files import read_secret
from enfilade.actors.cli.observe.observed import RIGHTS, Observed
from enfilade.actors.cli.operator import connected, one_line
from enfilade.actors.cli.refusal import Refusal

__all__ = ["nodes_behind", "observe_in_browser", "observe_on_terminal"]

MISSING = (
    "observe needs the extra \"observe\": pip install 'enfilade[observe]'; `enfilade top` needs nothing more"
)

MORE_RIGHTS: Final = ("inspect", "trace", "control")
"""The rights that `--allow` names."""

WITHHELD: Final = "the page may only look: `enfilade observe --web --allow control` lets it act"


def observe_on_terminal(
    doors: Sequence[Path], secret: Path | None, *, read_only: bool = False, ascii_only: bool = False
) -> int:
    """Observe nodes on the terminal, until the user leaves.

    Args:
        doors: the paths of the nodes' doors.
        secret: the file of the secret that they ask for; None.
        read_only: whether actions are left out.
        ascii_only: whether to draw with ASCII characters alone.

    Returns:
        0.

    Raises:
        Refusal: a package is missing, or this is no terminal that can be drawn on.
    """
    _check_packages("textual")
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):  # it draws on the last
        raise Refusal("observe needs a terminal; `enfilade top` prints lines")
    if os.environ.get("TERM", "dumb") == "dumb":
        raise Refusal("observe cannot draw on a terminal of the type dumb; `enfilade top` prints lines")
    nodes = nodes_behind(doors, secret)
    logging.getLogger("enfilade").setLevel(logging.CRITICAL)  # what goes wrong is shown

    # Textual takes half a second to load, which no other command should.
    from enfilade.actors.cli.observe.terminal.app import ObserveApp

    ObserveApp(nodes, is_read_only=read_only, is_ascii=ascii_only).run()
    return 0


def observe_in_browser(
    doors: Sequence[Path],
    secret: Path | None,
    *,
    port: int = 0,
    opens: bool = False,
    allowed: Collection[str] = (),
) -> int:
    """Observe nodes in a browser of this machine, until interrupted.

    Args:
        doors: the paths of the nodes' doors.
        secret: the file of the secret that they ask for; None.
        port: the port on the loopback addresses; 0 for a free one.
        opens: whether to open the page in the user's browser.
        allowed: the rights of which use is made beside that to observe: "inspect", "trace", "control".

    Returns:
        0.

    Raises:
        Refusal: a package is missing, a right is unknown, or the port cannot be had.
    """
    _check_packages("h11", "wsproto")
    unknown = sorted(set(allowed) - set(MORE_RIGHTS))
    if unknown:
        raise Refusal(f"--allow takes {', '.join(MORE_RIGHTS)}, got {', '.join(map(one_line, unknown))}")
    nodes = nodes_behind(doors, secret, ("observe", *allowed))

    # The packages of the extra are there only for this.
    from enfilade.actors.cli.observe.web.run import serve_page

    serve_page(nodes, port, opens=opens)
    return 0


def _check_packages(*packages: str) -> None:
    if any(find_spec(package) is None for package in packages):
        raise Refusal(MISSING)


def nodes_behind(
    doors: Sequence[Path], secret: Path | None, allowed: Collection[str] = RIGHTS
) -> list[Observed]:
    """The nodes behind doors, to be observed.

    Args:
        doors: the paths of the doors.
        secret: the file of the secret that they ask for; None.
        allowed: the rights of which use is made.

    Raises:
        Refusal: the secret cannot be read.
    """
    text = None if secret is None else read_secret(secret)
    return [
        Observed(str(door), partial(connected, door, text, number), allowed=allowed, withheld=WITHHELD)
        for number, door in enumerate(doors, 1)
    ]
