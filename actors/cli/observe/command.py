"""`enfilade observe`: what is refused before anything is drawn, and which nodes are observed."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from enfilade.actors.cli.files import read_secret
from enfilade.actors.cli.observe.observed import Observed
from enfilade.actors.cli.operator import connected
from enfilade.actors.cli.refusal import Refusal

__all__ = ["nodes_behind", "observe_on_terminal"]

MISSING = (
    "observe needs the extra \"observe\": pip install 'enfilade[observe]'; `enfilade top` needs nothing more"
)


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
    if find_spec("textual") is None:
        raise Refusal(MISSING)
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


def nodes_behind(doors: Sequence[Path], secret: Path | None) -> list[Observed]:
    """The nodes behind doors, to be observed.

    Raises:
        Refusal: the secret cannot be read.
    """
    text = None if secret is None else read_secret(secret)
    return [
        Observed(str(door), partial(connected, door, text, number)) for number, door in enumerate(doors, 1)
    ]
