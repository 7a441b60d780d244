"""The command line: what each sub-command is called and takes; what it does lies in a file beside this one.

Sub-commands import their part when they run, so that `enfilade --help` and `enfilade doctor` work on a
machine where a compiled part is missing.
"""

import importlib.metadata
import sys
from pathlib import Path
from typing import Annotated

import typer

from actors.cli.refusal import Refusal

app = typer.Typer(
    name="enfilade",
    help="Supervised processes for Python: actors and WebAssembly guests, across zones, through doors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
zone = typer.Typer(help="Start a node from a file.", no_args_is_help=True)
guest = typer.Typer(help="Run WebAssembly guests.", no_args_is_help=True)
app.add_typer(zone, name="zone")
app.add_typer(guest, name="guest")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"enfilade {importlib.metadata.version('enfilade')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Supervised processes for Python: actors and WebAssembly guests, across zones, through doors."""


@app.command()
def demo(
    pace: Annotated[float, typer.Option(min=0.1, max=60.0, help="Seconds of calm around each act.")] = 2.0,
    plain: Annotated[bool, typer.Option(help="Plain lines, also on a terminal.")] = False,
    isolate: Annotated[bool, typer.Option(help="Give each zone namespaces of its own.")] = True,
) -> None:
    """Two zones, a supervision tree in each, messages through doors, a guest and a whole zone killed."""
    from actors.cli.demo import run_demo

    raise typer.Exit(run_demo(pace=pace, plain=plain, isolate=isolate))


@app.command()
def doctor() -> None:
    """Say what this machine offers: doors, WebAssembly, namespaces, a compiler."""
    from actors.cli.doctor import run_doctor

    raise typer.Exit(run_doctor())


@zone.command("run")
def zone_run(
    file: Annotated[Path, typer.Argument(help="The zone file (TOML).", exists=True, dir_okay=False)],
) -> None:
    """Start the node that FILE describes and keep it running until SIGINT or SIGTERM."""
    from actors.cli.zone import run_zone

    raise typer.Exit(run_zone(file))


@guest.command("run")
def guest_run(
    module: Annotated[
        str, typer.Argument(help="A module's path (.wasm or .wat), or a module specification.")
    ],
    entrypoint: Annotated[str, typer.Option(help="The exported function to run.")] = "start",
    capabilities: Annotated[str, typer.Option(help="What the guest may do: a comma list of names.")] = "",
    param: Annotated[
        list[str] | None, typer.Option(help="An argument as KIND:VALUE, such as u32:7; may be repeated.")
    ] = None,
    work_dir: Annotated[
        Path, typer.Option(help="Where `modules` lies, the directory of a specification's path.")
    ] = Path(),
) -> None:
    """Run one guest, print its log, and end with status 0 when it returned, 3 when it trapped."""
    from actors.cli.guest import run_guest_command

    raise typer.Exit(run_guest_command(module, entrypoint, capabilities, param or [], work_dir))


def main() -> None:
    """Run the `enfilade` command with the arguments of this process; never returns."""
    try:
        app()
    except Refusal as refusal:
        typer.echo(f"enfilade: {refusal}", err=True)
        sys.exit(1)
