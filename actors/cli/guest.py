"""`enfilade guest run`: one guest, from its start to its end, with its log on the terminal."""

import logging
from pathlib import Path

import attrs
import trio
import typer

from actors.cli.refusal import Refusal
from actors.errors import StartError
from actors.guest import Guest, open_guests, run_guest
from actors.node import open_node
from actors.reasons import Reason
from hostcalls.errors import HostcallError
from hostcalls.modulespec import ModuleSpec, ModuleSpecError, parse, parse_capabilities, parse_invocation

__all__ = ["run_guest_command"]

RETURNED = 0
FAILED = 3


def run_guest_command(
    module: str, entrypoint: str, capabilities: str, parameters: list[str], work_directory: Path
) -> int:
    """Run one guest.

    Args:
        module: the path of a module, or a whole module specification (`path=...; capabilities=...`), whose
            path is looked for in the directory `modules` of the work directory.
        entrypoint: the export to call; not with a specification.
        capabilities: a comma list; not with a specification.
        parameters: arguments as KIND:VALUE; not with a specification.
        work_directory: where `modules` lies.

    Returns:
        0 when the entrypoint returned, 3 when the guest trapped or was stopped.

    Raises:
        Refusal: the guest cannot be described so, or cannot be started.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO)
    logging.getLogger("enfilade.actors").setLevel(logging.CRITICAL)  # the guest's end is told below
    guest = _describe(module, entrypoint, capabilities, parameters)
    try:
        reason = trio.run(_run, guest, work_directory)
    except (StartError, HostcallError) as error:
        raise Refusal(f"{module}: {_root_cause(error)}") from error
    if reason.is_normal:
        return RETURNED
    typer.echo(f"enfilade: the guest ended: {reason}", err=True)
    return FAILED


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _describe(module: str, entrypoint: str, capabilities: str, parameters: list[str]) -> Guest:
    try:
        if "=" in module:
            if capabilities or parameters:
                raise Refusal("a module specification has its own capabilities and args; give no options")
            return Guest.from_spec(parse(module))
        invocation = parse_invocation(None, ",".join(parameters))
        spec = ModuleSpec(module, parse_capabilities(capabilities), entrypoint, "", invocation)
    except ModuleSpecError as error:
        raise Refusal(str(error)) from error
    path = Path(module)
    if not path.is_file():
        raise Refusal(f"there is no module {module}")
    return attrs.evolve(Guest.from_spec(spec), module=path)


async def _run(guest: Guest, work_directory: Path) -> Reason:
    async with open_node("guest") as node:
        open_guests(node, modules=work_directory / "modules")
        return await run_guest(node, guest)
