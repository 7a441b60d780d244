"""`enfilade zone run`: the node that a zone file describes, until it is asked to stop."""

import logging
import logging.config
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import trio
import typer

from enfilade.actors.cli.config import WATCHED
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.cli.zonefile import (
    ROOT,
    LogFormat,
    LogLevel,
    LogTable,
    ZoneFile,
    read_zone_file,
)
from enfilade.actors.logs import Context, JsonFormatter
from enfilade.actors.messages.blocks import block
from enfilade.actors.messages.errors import StartError
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.reasons import Reason, Shutdown
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_str
from enfilade.actors.node.config import NodeConfig
from enfilade.actors.node.node import Node
from enfilade.actors.observing.discovery.running_nodes import announced
from enfilade.actors.observing.dumps.files import DumpFiles, dumping_while_held, leaving_crash_dumps
from enfilade.actors.observing.dumps.signals import dumps_at_signals
from enfilade.actors.opening import open_node
from enfilade.actors.processes.links import Down
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.supervisor import Supervisor
from enfilade.transport.carrier import CarrierError
from enfilade.transport.settings import Settings

__all__ = ["configure_log", "run_zone"]

STOPPING: Final = (signal.SIGTERM, signal.SIGHUP)
"""The signals, beside SIGINT, that stop the node in order."""


def run_zone(
    path: Path,
    *,
    until_eof: bool = False,
    log_format: LogFormat | None = None,
    log_level: LogLevel | None = None,
) -> int:
    """Run the node that the file describes until SIGINT, SIGTERM, SIGHUP or an operator stops it, or until
    its root supervisor gives up.

    Args:
        path: the zone file.
        log_format, log_level: in the place of those in the file.
        until_eof: stop when standard input ends, too. A parent that keeps the other end
            of a pipe open thereby stops the node when the parent ends, for whatever reason.

    Returns:
        0 after a shutdown that was asked for, 1 when the root supervisor gave up.

    Raises:
        Refusal: the file is wrong, or the node cannot be started as it says.
    """
    os.environ.pop("ENFILADE_OBSERVE", None)  # the node announces itself without, and with what the file says
    configure_log(LogTable())  # which is right for what reading the file logs
    zone_file = read_zone_file(path)
    given = {"format": log_format, "level": log_level}
    configure_log(msgspec.structs.replace(zone_file.log, **{k: v for k, v in given.items() if v is not None}))
    try:
        return trio.run(_run, zone_file, path.resolve(), until_eof)
    except KeyboardInterrupt:
        return 0  # SIGINT: the node has shut down in order before it raised this
    except CarrierError as error:
        raise Refusal(str(error)) from error
    except OSError as error:
        if zone_file.mesh is None:
            raise
        from enfilade.transport.mesh.settings import MeshError  # as of `ZoneFile.mesh_settings`

        if not isinstance(error, MeshError):
            raise
        raise Refusal(f"[mesh]: {error}") from error
    except StartError as error:
        reason = error.reason
        why = reason.detail if isinstance(reason, Shutdown) else error
        raise Refusal(f"the supervision tree did not start: {why}") from error


def configure_log(table: LogTable) -> None:
    """Have what is logged written to standard error, in the format and from the levels that a table names."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter() if table.format == "json" else logging.Formatter("%(asctime)s %(name)s %(message)s")
    )
    handler.addFilter(Context())
    logging.basicConfig(handlers=[handler], level=table.level, force=True)
    levels = {name: {"level": level} for name, level in table.levels.items()}
    logging.config.dictConfig({"version": 1, "incremental": True, "loggers": levels})


def _resolved(address: str, directory: Path, *, is_in_mesh: bool) -> str:
    """Complete an address of a zone file: paths of doors are relative to it, names of nodes stay names."""
    is_name = is_in_mesh and "@" in address and "/" not in address and not address.startswith("door:")
    return address if is_name else str(directory / address.removeprefix("door:"))


async def _run(zone_file: ZoneFile, path: Path, until_eof: bool) -> int:
    settings, directory = zone_file.node, path.parent
    network = zone_file.network_settings(directory)
    children = zone_file.children(directory)
    mesh = zone_file.mesh_settings(directory)
    listen = None if settings.door is None else str(directory / settings.door)
    numbers = [
        number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN
    ]  # as `nohup` has it
    with ExitStack() as stack, trio.open_signal_receiver(*numbers) as signals:
        async with open_node(
            settings.name,
            zone=settings.zone,
            config=WATCHED if settings.watchdog is None else NodeConfig(watchdog=settings.watchdog),
            listen=listen,
            policy=zone_file.policy(directory),
            entries=zone_file.targets(directory),
            workers=settings.workers,
            mesh=mesh,
            kinds=zone_file.kinds_run(directory),
            settings=Settings(last_retry=settings.longest_pause),
        ) as node:
            if network is not None:
                from enfilade.actors.guests import open_guests  # guests bring an engine along

                open_guests(node, network=network)
            files = _make_visible(node, zone_file, path, listen, stack)
            for address in settings.connect:
                node.distribution.keep_connected(_resolved(address, directory, is_in_mesh=mesh is not None))
            services: list[Callable[[trio.CancelScope], Awaitable[None]]] = [
                partial(_stop_on_signal, signals)
            ]
            if until_eof:
                services.append(_stop_at_end_of_input)
            places = [f"at {listen}"] if listen else []
            places += [f"in mesh {mesh.name}"] if mesh else []
            runs = f"{node.full_name} runs {', '.join(places)}".rstrip()
            gave_up = await _supervise(node, zone_file, children, services, runs)
            if gave_up is not None:
                typer.echo(f"{node.full_name}: the root supervisor ended: {gave_up}", err=True)
                files.write("crash", f"the root supervisor ended: {safe_str(gave_up)}")
            elif mesh is not None:
                await node.mesh.drain()
    return 0 if gave_up is None else 1


def _make_visible(
    node: Node, zone_file: ZoneFile, path: Path, listen: str | None, stack: ExitStack
) -> DumpFiles:
    """Announce the node to observers, and have dumps of it written, until the stack is left; return what
    writes them.
    """
    settings, directory = zone_file.node, path.parent
    place = directory / (settings.dumps or f"{settings.door or settings.name}.dumps")
    takes_signals = settings.dump_signals and stack.enter_context(dumps_at_signals(node, place))
    files = stack.enter_context(_leaving_dumps(node, place, held=settings.watchdog is not None))
    dumps = place if takes_signals else None
    try:
        stack.enter_context(announced(node.full_name, door=listen, zone_file=str(path), dumps=dumps))
    except OSError as error:
        log(logging.WARNING, "observers cannot discover %s: %s", node.full_name, error)
    return files


async def _supervise(
    node: Node,
    zone_file: ZoneFile,
    children: list[Child],
    services: Iterable[Callable[[trio.CancelScope], Awaitable[None]]],
    runs: str,
) -> Reason | None:
    """Run the supervision tree, beside what may cancel it, until it ends or is cancelled.

    Returns:
        The reason for which the root supervisor gave up; None when it was cancelled.

    Raises:
        StartError: the tree did not start.
    """
    zone_file.telemetry.instrument(node)
    serve = await zone_file.telemetry.open_server(node)
    outcome: Reason | StartError | None = None
    # From here on the node can be stopped, also while its tree starts.
    async with trio.open_nursery() as nursery:
        for service in services:
            nursery.start_soon(service, nursery.cancel_scope)
        if serve is not None:
            nursery.start_soon(serve)
        try:
            node.root = await _start_root(node, zone_file, children)
        except StartError as error:
            outcome = error
        else:
            typer.echo(runs)
            outcome = await _end_of(node, node.root)
        nursery.cancel_scope.cancel()
    if isinstance(outcome, StartError):
        raise outcome
    return outcome


@block
def _leaving_dumps(node: Node, place: Path, *, held: bool) -> Iterator[DumpFiles]:
    """For the length of a block, keep the last lines of the log, and have dumps written to `place` when the
    node ends as it should not, and, if `held`, when its loop is held.
    """
    files = DumpFiles(node, place)
    node.observation.log_lines.begin()
    try:
        with leaving_crash_dumps(files), dumping_while_held(files) if held else nullcontext():
            yield files
    finally:
        node.observation.log_lines.end()


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
