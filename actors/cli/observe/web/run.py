"""`enfilade observe --web`: the server, the observed nodes, and the addresses that are printed."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Sequence
from functools import partial
from typing import Final

import trio
import typer

from enfilade.actors.cli.observe.following import Follower
from enfilade.actors.cli.observe.observed import Observed
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.web.audience import Audience
from enfilade.actors.cli.observe.web.server import Server, open_listeners
from enfilade.actors.cli.quiet import quietly
from enfilade.actors.cli.refusal import Refusal

__all__ = ["serve_page"]

FOLLOWING: Final = 1.0
"""Seconds after which nodes that are to be observed, too, are looked for again."""

LINE: Final = 1024
"""Bytes of a line from the terminal, which is read to its end and ignored."""


def serve_page(nodes: Sequence[Observed], follower: Follower, port: int, *, opens: bool = False) -> None:
    """Serve the page until interrupted.

    Args:
        nodes: the nodes.
        follower: finds nodes that are to be observed, too.
        port: the port; 0 for a free one.
        opens: whether to open the page in the browser of this machine.

    Raises:
        Refusal: the port cannot be had.
    """
    try:
        with quietly():  # what goes wrong is shown
            trio.run(_serve, nodes, follower, port, opens)
    except* KeyboardInterrupt:
        pass


async def _serve(nodes: Sequence[Observed], follower: Follower, port: int, opens: bool) -> None:
    try:
        listeners = await open_listeners(port)
    except OSError as error:
        raise Refusal(f"the page cannot be served at port {port}: {error.strerror}") from error
    audience = Audience([Sight(node) for node in nodes])
    server = Server(audience, listeners[0].socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.run)
        nursery.start_soon(server.metrics.run)
        nursery.start_soon(_follow, follower, audience, nursery)
        nursery.start_soon(partial(trio.serve_listeners, server.serve, listeners))
        address = _print_address(server)
        if opens:
            show = partial(webbrowser.open, address)
            nursery.start_soon(partial(trio.to_thread.run_sync, show, abandon_on_cancel=True))
        if sys.stdin.isatty():
            await _print_on_enter(server)


async def _follow(follower: Follower, audience: Audience, nursery: trio.Nursery) -> None:
    """Have pages look at nodes that are found later, too."""
    while True:
        await trio.sleep(FOLLOWING)
        for observed in follower.found(audience.sights):
            audience.add(Sight(observed))
            nursery.start_soon(observed.run)


def _print_address(server: Server) -> str:
    address = server.address()
    typer.echo(f"open {address} within a minute; press enter for another address, ctrl-c to end")
    sys.stdout.flush()
    return address


async def _print_on_enter(server: Server) -> None:
    """Print another address for each line that is typed."""
    while True:
        await trio.lowlevel.wait_readable(sys.stdin)
        if not os.read(sys.stdin.fileno(), LINE):
            return
        _print_address(server)
