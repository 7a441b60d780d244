"""`enfilade guest`: guests from their start to their end, with their logs on the terminal; and the kits."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import trio
import typer

from enfilade.actors.cli.config import WATCHED
from enfilade.actors.cli.network import read_network
from enfilade.actors.cli.quiet import ACTORS, quietly
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.guests import Guest, open_guests
from enfilade.actors.messages.errors import StartError
from enfilade.actors.messages.reasons import Reason, Trapped
from enfilade.actors.messages.ref import Ref
from enfilade.actors.opening import open_node
from enfilade.actors.processes.links import Exited
from enfilade.hostcalls.abi.errors import HostcallError
from enfilade.hostcalls.contracts.limits import limits_of
from enfilade.hostcalls.contracts.policy import Policy
from enfilade.hostcalls.kernel.modules import nearest_file
from enfilade.hostcalls.kernel.modulespec import ModuleSpec, make_invocation, parse, parse_capabilities
from enfilade.hostcalls.net.policy import Network
from enfilade.hostcalls.net.rules import network_of
from enfilade.hostcalls.net.settings import NetworkSettings

__all__ = ["GuestOptions", "run_guests"]

RETURNED = 0
FAILED = 3


@attrs.frozen(kw_only=True)
class GuestOptions:
    """The options of `enfilade guest run`.

    Attributes:
        entrypoint: the export to call, None for `start`; None with a specification, which has its own.
        capabilities: a comma list, None for none; None with a specification.
        parameters: arguments as KIND:VALUE; none with a specification.
        limits: limits of each guest, as NAME=VALUE.
        finds: patterns of the names that each guest may find.
        registers: patterns of the names that each guest may register.
        ends: patterns of the names of processes that each guest may end.
        net_bind: network rules for listeners, None for those of the default, or of the specification.
        net_connect: network rules for connections, likewise.
        upstream_grants: keep the rules between guests of the runtime that the guest ABI comes from.
        work_directory: where `modules` lies, and `certs` with the certificate of listeners, if there is one.
    """

    entrypoint: str | None = None
    capabilities: str | None = None
    parameters: Sequence[str] = ()
    limits: Sequence[str] = ()
    finds: Sequence[str] = ()
    registers: Sequence[str] = ()
    ends: Sequence[str] = ()
    net_bind: Sequence[str] | None = None
    net_connect: Sequence[str] | None = None
    upstream_grants: bool = False
    work_directory: Path = Path()


def run_guests(modules: Sequence[str], options: GuestOptions) -> int:
    """Run guests side by side on one runtime, until the last has ended.

    Args:
        modules: for each guest the path of a module, or a whole module specification
            (`path=...; capabilities=...`), whose path is looked for in the directory `modules` of the work
            directory. They are started in this order.
        options: what holds for all of them.

    Returns:
        0 when every guest ended normally, 3 when one did not: it trapped, exceeded a limit, was killed.

    Raises:
        Refusal: a guest cannot be described so, or cannot be started; those that were started are ended.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO)
    guests = [(module, _describe(module, options)) for module in modules]
    with quietly(ACTORS):  # the guests' ends are told below
        return trio.run(_run, guests, options)


def _describe(module: str, options: GuestOptions) -> Guest:
    path = Path(module)
    try:
        common = {
            "limits": limits_of(options.limits),
            "finds": options.finds,
            "registers": options.registers,
            "ends": options.ends,
        }
        if "=" in module and not path.is_file():
            if options.entrypoint is not None or options.capabilities is not None or options.parameters:
                raise Refusal(
                    "a module specification sets entrypoint, capabilities and args; drop the options"
                )
            spec = parse(module)
            return Guest.from_spec(attrs.evolve(spec, network=_network(options, spec.network)), **common)
        grants = parse_capabilities(options.capabilities or "")
        invocation = make_invocation(None, options.parameters)
        network = _network(options, Network.loopback())
        spec = ModuleSpec(module, grants, options.entrypoint or "start", "", invocation, network)
    except ValueError as error:
        raise Refusal(str(error)) from error
    if not path.is_file():
        beside = options.work_directory / "modules" / path
        there = f"; there is {beside}" if beside.is_file() else nearest_file(path)
        raise Refusal(f"there is no module {module}{there}")
    return attrs.evolve(Guest.from_spec(spec, **common), module=path)


def _network(options: GuestOptions, given: Network) -> Network:
    """The network policy: the options' rules, in place of those that were given. Raises `ValueError`."""
    rules = network_of(options.net_bind, options.net_connect)
    return attrs.evolve(
        given,
        bind=given.bind if options.net_bind is None else rules.bind,
        connect=given.connect if options.net_connect is None else rules.connect,
    )


def _certificate(directory: Path) -> NetworkSettings:
    """The settings of the network, with the certificate in the work directory, if there is one."""
    certificate, key = directory / "certs" / "server.crt", directory / "certs" / "server.key"
    if not certificate.exists():
        return NetworkSettings()
    return read_network(certificate, key, None, {})


async def _run(guests: Sequence[tuple[str, Guest]], options: GuestOptions) -> int:
    """Start the guests in order, and tell how each has ended."""
    status = RETURNED
    async with open_node("guest", config=WATCHED) as node, node.mailbox(label="run") as me:
        policy = Policy(upstream=options.upstream_grants)
        open_guests(
            node,
            modules=options.work_directory / "modules",
            policy=policy,
            network=_certificate(options.work_directory),
        )
        me.trap_exits = True
        running: dict[Ref[Any], str] = {}
        for module, guest in guests:
            try:
                running[await me.spawn(guest, link=True)] = module
            except StartError as error:
                raise Refusal(f"{module}: {error.reason}") from error
            except HostcallError as error:
                raise Refusal(f"{module}: {error}") from error
        while running:
            exited = await me.receive(Exited)
            ended = running.pop(exited.ref, None)
            if ended is not None and not exited.reason.is_normal:
                status = FAILED
                which = "the guest" if len(guests) == 1 else ended
                typer.echo(f"enfilade: {which} ended: {_told(exited.reason)}", err=True)
    return status


def _told(reason: Reason) -> str:
    """An exit reason with the place where a trap happened."""
    where = f", in {reason.backtrace[0]}" if isinstance(reason, Trapped) and reason.backtrace else ""
    return f"{reason}{where}"
