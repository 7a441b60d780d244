"""`enfilade mesh ca`: certificates, and the list of the nodes that may be in a mesh."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
import typer

from enfilade.actors.cli.refusal import Refusal

try:
    from enfilade.transport.mesh.authority import Authority, Grant, Listed, check_names, request
except ImportError as error:
    raise Refusal("certificates need the extra \"mesh\": pip install 'enfilade[mesh]'") from error

from enfilade.transport.mesh.configuration import permissions
from enfilade.transport.mesh.files import write_private
from enfilade.transport.mesh.settings import MeshError

__all__ = ["Grant", "create", "issue", "make_request", "renew", "revoke", "show", "show_permissions", "sign"]


@contextmanager
def refusals() -> Iterator[None]:
    """Tell the user what is wrong, in one line."""
    try:
        yield
    except (MeshError, ValueError) as error:
        raise Refusal(str(error)) from error
    except OSError as error:
        raise Refusal(f"{error.filename}: {error.strerror}") from error


def create(directory: Path, mesh: str, servers: Sequence[str]) -> None:
    """Make an authority."""
    with refusals():
        Authority.create(directory, mesh=mesh, servers=servers)
    typer.echo(f"{directory} is the authority of mesh {mesh}; keep {directory / 'ca.key'} where no server is")


def _write(output: Path, make: Callable[[], bytes]) -> None:
    """Write a bundle, where there is none yet."""
    with refusals():
        if output.exists():
            raise MeshError(f"{output} exists; remove it, or name another file")
        write_private(output, b"")  # before anything is signed, and listed, that could not be written
        try:
            write_private(output, make())
        except BaseException:
            output.unlink(missing_ok=True)
            raise
    typer.echo(
        f"wrote {output}; take it there in a safe way, and run: enfilade mesh join {output.name} DIRECTORY"
    )


def issue(directory: Path, node: str | None, hosts: Sequence[str], output: Path, grant: Grant) -> None:
    """Issue a certificate to a node, or to a server."""
    if (node is None) == (not hosts):
        raise Refusal("expected the name of a node, or --server with a host, and not both")
    with refusals():
        authority = Authority(directory)
    if node is None:
        _write(output, lambda: authority.issue_server(hosts, days=grant.days))
    else:
        _write(output, lambda: authority.issue(node, grant))


def sign(directory: Path, request_path: Path, node: str | None, output: Path, grant: Grant) -> None:
    """Issue a certificate for a key that never left its machine; the request says for which node."""
    with refusals():
        authority = Authority(directory)
        pem = request_path.read_bytes()
    _write(output, lambda: authority.sign(pem, node, grant))


def renew(directory: Path, node: str, output: Path, days: float) -> None:
    """Issue a further certificate to a node."""
    with refusals():
        authority = Authority(directory)
    _write(output, lambda: authority.renew(node, days=days))


def revoke(directory: Path, node: str) -> None:
    """Take a node off the list."""
    with refusals():
        authority = Authority(directory)
        authority.revoke(node)
    typer.echo(f"{node} is off the list, which has number {authority.nodes.number} now")


def show(directory: Path, *, as_json: bool) -> None:
    """List the nodes."""
    with refusals():
        nodes = Authority(directory).nodes
    if as_json:
        typer.echo(json.dumps(attrs.asdict(nodes)))
        return
    for node in nodes.nodes:
        also = f", also {', '.join(node.also)}" if node.also else ""
        operator = ", operator" if node.is_operator else ""
        typer.echo(f"{node.name}: registry {node.registry}{operator}{also}, until {node.expires}")
    for name, _ in nodes.revoked:
        if nodes.find(name) is None:
            typer.echo(f"{name}: revoked")


def make_request(directory: Path, node: str, output: Path) -> None:
    """Make a key and a request."""
    with refusals():
        write_private(output, request(directory, node))
    typer.echo(f"wrote {output}; have it signed: enfilade mesh ca sign AUTHORITY {output.name} -o BUNDLE")


def show_permissions(node: str, mesh: str, grant: Grant) -> None:
    """Print the permissions of a node at foreign servers."""
    with refusals():
        check_names(node, *grant.also)
        listed = Listed(node, 1, grant.also, grant.is_operator, grant.registry, "")
        typer.echo(json.dumps({"user": listed.user, "permissions": permissions(mesh, listed)}, indent=1))
