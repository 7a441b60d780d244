"""`enfilade zone run`: the node that a zone file describes, until it is asked to stop."""

import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import trio
import typer

from enfilade.actors.cli.config import WATCHED
from enfilade.actors.cli.control import CONTROL, OBSERVE, Control, Observe
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.cli.zonefile import ROOT, ZoneFile, read_zone_file
from enfilade.actors.messages.errors import StartError
from enfilade.actors.messages.reasons import Reason, Shutdown
from enfilade.actors.messages.ref import Ref
from enfilade.actors.node.node import Node
from enfilade.actors.opening import open_node
from enfilade.actors.processes.links import Down
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.supervisor import Supervisor
from enfilade.transport.carrier import CarrierError
from enfilade.transport.settings import Settings

__all__ = ["run_zone"]


def run_zone(path: Path, *, until_eof: bool = False) -> int:
    """Run the node that the file describes until SIGINT, SIGTERM or an operator stops it, or until its root
    supervisor gives up.

    Args:
        path: the zone file.
        until_eof: stop when standard input ends, too. A parent that keeps the other end
            of a pipe open thereby stops the node when the parent ends, for whatever reason.

    Returns:
        0 after a shutdown that was asked for, 1 when the root supervisor gave up.

    Raises:
        Refusal: the file is wrong, or the node cannot be started as it says.
    """
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.WARNING)
    zone_file = read_zone_file(path)
    directory = path.resolve().parent
    try:
        return trio.run(_run, zone_file, directory, until_eof)
    except KeyboardInterrupt:
        return 0  # SIGINT: the node has shut down in order before it raised this
    except CarrierError as error:
        raise Refusal(str(error)) from error
    except StartError as error:
        reason = error.reason
        why = reason.detail if isinstance(reason, Shutdown) else error
        raise Refusal(f"the supervision tree did not start: {why}") from error


async def _run(zone_file: ZoneFile, directory: Path, until_eof: bool) -> int:
    settings = zone_file.node
    children = zone_file.children(directory)
    listen = None if settings.door is None else str(directory / settings.door)
    gave_up = False
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with open_node(
            settings.name,
            zone=settings.zone,
            config=WATCHED,
            listen=listen,
            policy=zone_file.policy(directory),
            entries=zone_file.targets(directory),
            workers=settings.workers,
            settings=Settings(last_retry=settings.longest_pause),
        ) as node:
            for address in settings.connect:
                node.distribution.keep_connected(str(directory / address))
            failure: StartError | None = None
            # From here on the node can be stopped, also while its tree starts.
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_stop_on_signal, signals, nursery.cancel_scope)
                if until_eof:
                    nursery.start_soon(_stop_at_end_of_input, nursery.cancel_scope)
                control = Child(Control, nursery.cancel_scope.cancel, name=CONTROL)
                observe = Child(Observe, name=OBSERVE)
                await node.spawn(Supervisor, [control, observe], label="control")
                try:
                    node.root = await _start_root(node, zone_file, children)
                except StartError as error:
                    failure = error
                else:
                    typer.echo(f"{node.full_name} runs" + (f" at {listen}" if listen else ""))
                    reason = await _end_of(node, node.root)
                    typer.echo(f"{node.full_name}: the root supervisor ended: {reason}", err=True)
                    gave_up = True
                nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure
    return int(gave_up)


async def _start_root(node: Node, zone_file: ZoneFile, children: list[Child]) -> Ref[Any]:
    flags = zone_file.supervisor
    return await node.spawn(
        Supervisor,
        children,
        strategy=flags.strategy,
        intensity=flags.intensity,
        period=flags.period,
        name=ROOT,
    )


async def _end_of(node: Node, ref: Ref[Any]) -> Reason:
    async with node.mailbox() as me:
        me.monitor(ref)
        down: Down = await me.receive(Down)
        return down.reason


async def _stop_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        break
    scope.cancel()


async def _stop_at_end_of_input(scope: trio.CancelScope) -> None:
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stream:
        async for _ in stream:
            pass
    scope.cancel()
