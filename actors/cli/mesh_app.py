"""The commands of `enfilade mesh`: names and parameters; `mesh.py` and `mesh_authority.py` do the work."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from enfilade.actors.cli.numbers import number

__all__ = ["mesh"]

mesh = typer.Typer(
    help="Run nodes on several machines: servers, certificates, and their state.", no_args_is_help=True
)
authority = typer.Typer(help="Keep the certificate authority of a mesh.", no_args_is_help=True)
mesh.add_typer(authority, name="ca")

Authority = Annotated[Path, typer.Argument(help="The directory of the authority.")]
NodeName = Annotated[str, typer.Argument(help="A node with its zone, such as bank@east.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="The file for the bundle; only its owner can read it.")
]
Days = Annotated[float, number(min=0.001, help="Days until the certificate expires.")]
Also = Annotated[
    list[str] | None, typer.Option(help="A further name that the node may use; may be repeated.")
]
Operator = Annotated[bool, typer.Option("--operator", help="Let it administer the servers.")]
RegistryRight = Annotated[
    Literal["none", "read", "write"], typer.Option(help="Its rights to global names and leases.")
]
IdentityOption = Annotated[
    Path | None, typer.Option(help="The identity directory to speak with; its mesh.toml names the servers.")
]
MeshOption = Annotated[
    str | None,
    typer.Option(help='A mesh of this machine instead: "embedded", "embedded:NAME", or a local address.'),
]
Where = Annotated[
    str | None,
    typer.Argument(help="The identity directory, or a mesh of this machine, instead of these options."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@authority.command("init")
def ca_init(
    directory: Authority,
    name: Annotated[str, typer.Option(help="The name of the mesh.")] = "default",
    server: Annotated[
        list[str] | None, typer.Option(help="The address of a server, as tls://one.example; may be repeated.")
    ] = None,
) -> None:
    """Make a certificate authority in DIRECTORY: its key, its certificate, an empty list of nodes."""
    from enfilade.actors.cli.mesh_authority import create

    create(directory, name, server or [])


@authority.command("issue")
def ca_issue(
    directory: Authority,
    output: Output,
    node: Annotated[str | None, typer.Argument(help="A node with its zone, such as bank@east.")] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(help="Issue to a server instead: a host name or address of it; may be repeated."),
    ] = None,
    also: Also = None,
    operator: Operator = False,
    registry: RegistryRight = "write",
    days: Days = 90,
) -> None:
    """Issue a certificate with a new key to NODE, or to a server, as a bundle for `mesh join`."""
    from enfilade.actors.cli.mesh_authority import Grant, issue

    grant = Grant(also=also or (), is_operator=operator, registry=registry, days=days)
    issue(directory, node, server or [], output, grant)


@authority.command("sign")
def ca_sign(
    directory: Authority,
    request: Annotated[
        Path, typer.Argument(help="The file that `mesh request` wrote.", exists=True, dir_okay=False)
    ],
    output: Output,
    node: Annotated[
        str | None, typer.Argument(help="The node, if the request does not name it; otherwise the same.")
    ] = None,
    also: Also = None,
    operator: Operator = False,
    registry: RegistryRight = "write",
    days: Days = 90,
) -> None:
    """Issue a certificate to the node of REQUEST, for a key that never left its machine."""
    from enfilade.actors.cli.mesh_authority import Grant, sign

    grant = Grant(also=also or (), is_operator=operator, registry=registry, days=days)
    sign(directory, request, node, output, grant)


@authority.command("renew")
def ca_renew(directory: Authority, node: NodeName, output: Output, days: Days = 90) -> None:
    """Issue another certificate to NODE; the one it has stays valid until it expires."""
    from enfilade.actors.cli.mesh_authority import renew

    renew(directory, node, output, days)


@authority.command("revoke")
def ca_revoke(directory: Authority, node: NodeName) -> None:
    """Take NODE off the list: servers with the new list disconnect it and refuse it."""
    from enfilade.actors.cli.mesh_authority import revoke

    revoke(directory, node)


@authority.command("list")
def ca_list(directory: Authority, as_json: AsJson = False) -> None:
    """List the nodes that may be in the mesh."""
    from enfilade.actors.cli.mesh_authority import show

    show(directory, as_json=as_json)


@mesh.command()
def request(
    directory: Annotated[Path, typer.Argument(help="The identity directory to begin.")],
    node: NodeName,
    output: Output,
) -> None:
    """Make a key that stays in DIRECTORY, and a request for `mesh ca sign`."""
    from enfilade.actors.cli.mesh_authority import make_request

    make_request(directory, node, output)


@mesh.command()
def join(
    bundle: Annotated[Path, typer.Argument(help="The file that `mesh ca issue`, `sign` or `renew` wrote.")],
    directory: Annotated[Path, typer.Argument(help="The identity directory to make, or to renew.")],
) -> None:
    """Install BUNDLE as an identity in DIRECTORY, connect once, and print the lines for a zone file."""
    from enfilade.actors.cli.mesh import install

    raise typer.Exit(install(bundle, directory))


@mesh.command()
def up(file: Annotated[Path, typer.Argument(help="The server's file.", exists=True, dir_okay=False)]) -> None:
    """Run this machine's server as FILE says, until SIGTERM or SIGINT; its clients then move to others."""
    from enfilade.actors.cli.mesh import run_server

    raise typer.Exit(run_server(file))


@mesh.command()
def status(
    where: Where = None, identity: IdentityOption = None, mesh: MeshOption = None, as_json: AsJson = False
) -> None:
    """Report on servers, registry and nodes: exit 0 if all is well, 2 if no server answers, 1 otherwise."""
    from enfilade.actors.cli.mesh import show_status
    from enfilade.actors.cli.mesh_place import visitor_of

    raise typer.Exit(show_status(visitor_of(identity, mesh, where), as_json=as_json))


@mesh.command()
def nodes(
    where: Where = None, identity: IdentityOption = None, mesh: MeshOption = None, as_json: AsJson = False
) -> None:
    """List the nodes in the mesh."""
    from enfilade.actors.cli.mesh import show_nodes
    from enfilade.actors.cli.mesh_place import visitor_of

    raise typer.Exit(show_nodes(visitor_of(identity, mesh, where), as_json=as_json))


@mesh.command()
def kinds(
    where: Where = None, identity: IdentityOption = None, mesh: MeshOption = None, as_json: AsJson = False
) -> None:
    """List the kinds of keyed actors in the mesh, and the nodes that run each."""
    from enfilade.actors.cli.mesh import show_kinds
    from enfilade.actors.cli.mesh_place import visitor_of

    raise typer.Exit(show_kinds(visitor_of(identity, mesh, where), as_json=as_json))


@mesh.command()
def names(
    where: Where = None, identity: IdentityOption = None, mesh: MeshOption = None, as_json: AsJson = False
) -> None:
    """List the global names that are claimed, and the node that claims each."""
    from enfilade.actors.cli.mesh import show_names
    from enfilade.actors.cli.mesh_place import visitor_of

    raise typer.Exit(show_names(visitor_of(identity, mesh, where), as_json=as_json))


@mesh.command()
def drain(
    node: NodeName,
    timeout: Annotated[float, number(min=0.0, help="Seconds for others to take over.")] = 10.0,
    identity: IdentityOption = None,
    mesh: MeshOption = None,
) -> None:
    """Have other nodes take over what NODE can hand on, shut it down in order, and wait for its end."""
    from enfilade.actors.cli.mesh_place import reached
    from enfilade.actors.cli.operator import drain_node

    place, secret = reached(Path(node), identity, mesh, None)
    raise typer.Exit(drain_node(place, timeout, secret))


@mesh.command()
def permissions(
    node: NodeName,
    name: Annotated[str, typer.Option(help="The name of the mesh.")] = "default",
    also: Also = None,
    operator: Operator = False,
    registry: RegistryRight = "write",
) -> None:
    """Print the permissions that NODE needs on servers that are not yours."""
    from enfilade.actors.cli.mesh_authority import Grant, show_permissions

    show_permissions(node, name, Grant(also=also or (), is_operator=operator, registry=registry))
