"""The command line: names and parameters of the sub-commands, each of which is a file beside this one.

Sub-commands import their part when they run, so that `enfilade --help` answers at once, and it and `enfilade
doctor` work on a machine where a compiled part is missing.
"""

import errno
import gc
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from enfilade.actors.cli.mesh_app import mesh
from enfilade.actors.cli.numbers import number
from enfilade.actors.cli.observing_app import Secret, looking
from enfilade.actors.cli.refusal import Refusal

app = typer.Typer(
    name="enfilade",
    help="Supervised processes for Python: actors and WebAssembly guests, across zones, through doors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
zone = typer.Typer(
    help="Start a node from a file; talk to a running node through its door.", no_args_is_help=True
)
guest = typer.Typer(help="Run WebAssembly guests.", no_args_is_help=True)
app.add_typer(zone, name="zone")
app.add_typer(guest, name="guest")
app.add_typer(mesh, name="mesh")
app.add_typer(looking)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # a tenth of the time of `enfilade --help`

        typer.echo(f"enfilade {version('enfilade')}")
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
    pace: Annotated[float, number(min=0.1, max=60.0, help="Seconds to pause around each act.")] = 2.0,
    plain: Annotated[bool, typer.Option(help="Print plain lines, even on a terminal.")] = False,
    isolate: Annotated[bool, typer.Option(help="Run each zone in its own namespaces.")] = True,
) -> None:
    """Show two zones that talk through doors, and how they recover from a killed guest and a killed zone."""
    from enfilade.actors.cli.demo import run_demo

    raise typer.Exit(run_demo(pace=pace, plain=plain, isolate=isolate))


@app.command()
def doctor(
    file: Annotated[
        Path | None,
        typer.Argument(help="A zone file; its table `mesh` is tried, too.", exists=True, dir_okay=False),
    ] = None,
    identity: Annotated[
        Path | None, typer.Option(help="A directory of `mesh join` to try, and the servers that it names.")
    ] = None,
    mesh: Annotated[
        str | None,
        typer.Option(help='A mesh of this machine to try: "embedded", "embedded:NAME", an address.'),
    ] = None,
) -> None:
    """Report what this machine offers: doors, WebAssembly, namespaces, a compiler. Try a mesh."""
    from enfilade.actors.cli.doctor import run_doctor

    if file is None and identity is None and mesh is None:
        raise typer.Exit(run_doctor())
    from enfilade.actors.cli.mesh_doctor import examine

    raise typer.Exit(run_doctor(examine(file, identity, mesh)))


@zone.command("run")
def zone_run(
    file: Annotated[Path, typer.Argument(help="The zone file (TOML).", exists=True, dir_okay=False)],
    until_eof: Annotated[
        bool,
        typer.Option(help="Also stop when standard input ends, as it does when the parent dies."),
    ] = False,
    log_format: Annotated[
        Literal["text", "json"] | None,
        typer.Option(help="Log lines of text, or of JSON objects; by default as FILE says, else text."),
    ] = None,
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] | None,
        typer.Option(help="The lowest level to log; by default as FILE says, else WARNING."),
    ] = None,
) -> None:
    """Start the node that FILE describes; run it until `zone stop`, SIGINT, SIGTERM or SIGHUP."""
    from enfilade.actors.cli.zone import run_zone

    raise typer.Exit(run_zone(file, until_eof=until_eof, log_format=log_format, log_level=log_level))


Door = Annotated[
    Path,
    typer.Argument(
        help="The node: its door, zone file, name or process id; in a mesh its full name, as bank@east."
    ),
]
IdentityOption = Annotated[
    Path | None, typer.Option(help="Reach the node over its mesh, with this directory of `mesh join`.")
]
MeshOption = Annotated[
    str | None,
    typer.Option(help='Reach the node over a mesh of this machine: "embedded", "embedded:NAME", an address.'),
]
Name = Annotated[str, typer.Argument(help="A registered name that the node exports to us.")]


@zone.command("ps")
def zone_ps(
    door: Door, secret: Secret = None, identity: IdentityOption = None, mesh: MeshOption = None
) -> None:
    """List the processes of the node at DOOR: each one's name, code, supervisor, and queue."""
    from enfilade.actors.cli.mesh_place import reached
    from enfilade.actors.cli.operator import list_processes

    raise typer.Exit(list_processes(*reached(door, identity, mesh, secret)))


@zone.command("tree")
def zone_tree(
    door: Door, secret: Secret = None, identity: IdentityOption = None, mesh: MeshOption = None
) -> None:
    """Show the supervision tree of the node at DOOR."""
    from enfilade.actors.cli.mesh_place import reached
    from enfilade.actors.cli.operator import draw_tree

    raise typer.Exit(draw_tree(*reached(door, identity, mesh, secret)))


@zone.command("call")
def zone_call(
    door: Door,
    name: Name,
    method: Annotated[str, typer.Argument(help="A public method.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="Its arguments, each as JSON.")] = None,
    keyword: Annotated[
        list[str] | None, typer.Option(help="A keyword argument as NAME=JSON; may be repeated.")
    ] = None,
    timeout: Annotated[float, number(min=0.0, help="Seconds to wait for the reply.")] = 5.0,
    secret: Secret = None,
    identity: IdentityOption = None,
    mesh: MeshOption = None,
) -> None:
    """Call METHOD of the process NAME on the node at DOOR, and print the reply as JSON."""
    from enfilade.actors.cli.mesh_place import reached
    from enfilade.actors.cli.operator import call_process

    place, secret = reached(door, identity, mesh, secret)
    raise typer.Exit(call_process(place, name, method, arguments or [], keyword or [], timeout, secret))


@zone.command("send")
def zone_send(
    door: Door,
    name: Name,
    message: Annotated[str, typer.Argument(help="The message, as JSON.")],
    secret: Secret = None,
    identity: IdentityOption = None,
    mesh: MeshOption = None,
) -> None:
    """Send MESSAGE to the process NAME on the node at DOOR."""
    from enfilade.actors.cli.mesh_place import reached
    from enfilade.actors.cli.operator import send_message

    place, secret = reached(door, identity, mesh, secret)
    raise typer.Exit(send_message(place, name, message, secret))


@zone.command("stop")
def zone_stop(
    door: Door,
    timeout: Annotated[float, number(min=0.0, help="Seconds to wait for it to stop.")] = 60.0,
    secret: Secret = None,
    identity: IdentityOption = None,
    mesh: MeshOption = None,
) -> None:
    """Shut down the node at DOOR in order, and wait until it has stopped."""
    from enfilade.actors.cli.mesh_place import reached
    from enfilade.actors.cli.operator import stop_node

    place, secret = reached(door, identity, mesh, secret)
    raise typer.Exit(stop_node(place, timeout, secret))


@zone.command("upgrade")
def zone_upgrade(
    door: Door,
    name: Annotated[str, typer.Argument(help="The registered name of a guest.")],
    module: Annotated[Path, typer.Argument(help="The new module, a path that the node can read.")],
    timeout: Annotated[float, number(min=0.0, help="Seconds for the hand-over.")] = 5.0,
    secret: Secret = None,
) -> None:
    """Move the guest NAME of the node at DOOR to another MODULE: its state is handed over, messages wait."""
    from enfilade.actors.cli.operator import upgrade_guest
    from enfilade.actors.cli.places import place_of

    place = place_of(door, secret)
    raise typer.Exit(upgrade_guest(place.door, name, module, timeout, place.secret))


@app.command()
def simulate(
    test: Annotated[
        str,
        typer.Argument(
            help="A test of a world, as FILE.py::NAME or package.module::NAME; or a log, to --compare."
        ),
    ],
    seed: Annotated[int, typer.Option(help="The seed, or the first of several.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="The number of seeds to run, until one fails.")] = 1,
    until: Annotated[
        float | None, number(min=0.0, help="Stop at this virtual time, and show what the hosts are doing.")
    ] = None,
    log: Annotated[Path | None, typer.Option(help="Write the log of the seed to a file.")] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            help="Show the first event in which the seed, or a second log, differs from a saved log."
        ),
    ] = None,
    shell: Annotated[
        bool, typer.Option("--shell", help="With --until: look around there with Python's own prompt.")
    ] = False,
    doctor: Annotated[
        bool, typer.Option("--doctor", help="Check that a run of the seed can be repeated, and say why not.")
    ] = False,
) -> None:
    """Run a test of a simulated world by its seeds; explain the first that fails, with status 1."""
    from enfilade.actors.cli.simulate import compare_logs, examine, look_into, play

    if shell and until is None:
        raise typer.BadParameter("expected --until with --shell: the time at which to look around")
    is_look = until is not None or log is not None or compare is not None
    if count != 1 and (is_look or doctor):
        raise typer.BadParameter("expected one seed with --until, --log, --compare and --doctor, got several")
    if doctor:
        raise typer.Exit(examine(test, seed))
    if compare is not None and "::" not in test:
        if until is not None or log is not None or seed:
            raise typer.BadParameter("expected two logs alone: nothing is run when they are compared")
        raise typer.Exit(compare_logs(compare, Path(test)))
    if is_look:
        raise typer.Exit(look_into(test, seed, until=until, log=log, compare=compare, shell=shell))
    raise typer.Exit(play(test, seed, count))


Patterns = list[str] | None


@guest.command("run")
def guest_run(
    module: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE]", help="A module's path (.wasm or .wat), or a module specification."
        ),
    ] = None,
    more: Annotated[
        list[str] | None,
        typer.Option(
            "--module",
            metavar="MODULE",
            help="A further guest on the same runtime, started after those before it; may be repeated.",
        ),
    ] = None,
    entrypoint: Annotated[
        str | None, typer.Option(help="The exported function to run.", show_default="start")
    ] = None,
    capabilities: Annotated[
        str | None,
        typer.Option(help="Its capabilities: names separated by commas.", show_default="none"),
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="An argument as KIND:VALUE, such as u32:7; may be repeated.")
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="A limit of each guest, such as memory=64MiB; may be repeated."
        ),
    ] = None,
    finds: Annotated[
        Patterns, typer.Option(metavar="PATTERN", help="Names that each guest may find; may be repeated.")
    ] = None,
    registers: Annotated[
        Patterns, typer.Option(metavar="PATTERN", help="Names that each guest may register; may be repeated.")
    ] = None,
    ends: Annotated[
        Patterns,
        typer.Option(metavar="PATTERN", help="Names of processes that each guest may end; may be repeated."),
    ] = None,
    net_bind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help="Addresses where guests may listen, such as 127.0.0.1:8000-8099, or none; may be repeated.",
            show_default="127.0.0.1:1024-65535",
        ),
    ] = None,
    net_connect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help="Addresses guests may connect to, such as api.example.com:443, or none; may be repeated.",
            show_default="this machine",
        ),
    ] = None,
    upstream_grants: Annotated[
        bool,
        typer.Option(
            "--upstream-grants",
            help="Rules between guests as upstream has them: a guest may grant its children what it does not "
            "have, and stop any guest.",
        ),
    ] = False,
    work_dir: Annotated[
        Path,
        typer.Option(
            help="The directory of `modules`, where a specification's path is looked up, and of "
            "`certs/server.crt` and `server.key`, the certificate of listeners."
        ),
    ] = Path(),
) -> None:
    """Run guests on one runtime, print their logs; exit with status 0 if all returned, 3 if one trapped."""
    from enfilade.actors.cli.guest import GuestOptions, run_guests

    modules = [*([] if module is None else [module]), *(more or ())]
    if not modules:
        raise typer.BadParameter("expected a module, as MODULE or --module MODULE")
    options = GuestOptions(
        entrypoint=entrypoint,
        capabilities=capabilities,
        parameters=param or (),
        limits=limit or (),
        finds=finds or (),
        registers=registers or (),
        ends=ends or (),
        net_bind=net_bind,
        net_connect=net_connect,
        upstream_grants=upstream_grants,
        work_directory=work_dir,
    )
    raise typer.Exit(run_guests(modules, options))


@guest.command("sdk")
def guest_sdk() -> None:
    """Print the directory of the kits for guests in C, Rust, Zig, AssemblyScript and the text format."""
    import enfilade  # to import `hostcalls` takes five times as long as all of the command

    typer.echo(Path(enfilade.__file__).parent / "hostcalls" / "sdk")


UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
"""The errors of an output that takes no more."""

IMPORTED: Final = 150_000
"""Objects that are more than what a command imports."""


def main() -> None:
    """Run the `enfilade` command with the arguments of this process; never returns."""
    collect_later()
    try:
        app()
    except Refusal as refusal:
        typer.echo(f"enfilade: {refusal}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        typer.echo(f"enfilade: the output cannot be written: {error.strerror}", err=True)
        with suppress(OSError):
            sys.stdout.close()  # or Python 3.13 tries once more, and ends with status 120
        sys.exit(1)


def collect_later() -> None:
    """Let the garbage collector look when there is more than what commands import, then as it did before.

    All that is imported stays, and to look through it takes a fifth of the time of a short command.
    """
    usual = gc.get_threshold()
    if usual[0] >= IMPORTED:
        return

    def settle(phase: str, info: dict[str, int]) -> None:
        if phase == "stop":
            gc.callbacks.remove(settle)
            gc.set_threshold(*usual)

    gc.callbacks.append(settle)
    gc.set_threshold(IMPORTED, *usual[1:])
