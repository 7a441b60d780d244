"""`enfilade guest`: one guest, from its start to its end, with its log on the terminal; and the kits."""

import logging
from pathlib import Path

import attrs
import trio
import typer

from enfilade.actors.cli.config import WATCHED
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.guests import Guest, open_guests, run_guest
from enfilade.actors.messages.errors import StartError
from enfilade.actors.messages.reasons import Reason, Trapped
from enfilade.actors.opening import open_node
from enfilade.hostcalls import sdk
from enfilade.hostcalls.abi.errors import HostcallError
from enfilade.hostcalls.kernel.modulespec import (
    ModuleSpec,
    ModuleSpecError,
    make_invocation,
    parse,
    parse_capabilities,
)

__all__ = ["find_sdk", "run_guest_command"]

RETURNED = 0
FAILED = 3


def run_guest_command(
    module: str, entrypoint: str | None, capabilities: str | None, parameters: list[str], work_directory: Path
) -> int:
    """Run one guest.

    Args:
        module: the path of a module, or a whole module specification (`path=...; capabilities=...`), whose
            path is looked for in the directory `modules` of the work directory.
        entrypoint: the export to call, None for `start`; None with a specification, which has its own.
        capabilities: a comma list, None for none; None with a specification.
        parameters: arguments as KIND:VALUE; none with a specification.
        work_directory: where `modules` lies.

    Returns:
        0 when the guest ended normally, 3 when it did not: it trapped, exceeded a limit, was killed.

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
    where = f", in {reason.backtrace[0]}" if isinstance(reason, Trapped) and reason.backtrace else ""
    typer.echo(f"enfilade: the guest ended: {reason}{where}", err=True)
    return FAILED


def find_sdk() -> Path:
    """The directory of the kits for guests in C and Zig, with their examples."""
    return Path(sdk.__file__).parent


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _describe(module: str, entrypoint: str | None, capabilities: str | None, parameters: list[str]) -> Guest:
    path = Path(module)
    try:
        if "=" in module and not path.is_file():
            if entrypoint is not None or capabilities is not None or parameters:
                raise Refusal(
                    "a module specification sets entrypoint, capabilities and args; drop the options"
                )
            return Guest.from_spec(parse(module))
        grants = parse_capabilities(capabilities or "")
        spec = ModuleSpec(module, grants, entrypoint or "start", "", make_invocation(None, parameters))
    except ModuleSpecError as error:
        raise Refusal(str(error)) from error
    if not path.is_file():
        raise Refusal(f"there is no module {module}")
    return attrs.evolve(Guest.from_spec(spec), module=path)


async def _run(guest: Guest, work_directory: Path) -> Reason:
    async with open_node("guest", config=WATCHED) as node:
        open_guests(node, modules=work_directory / "modules")
        return await run_guest(node, guest)
