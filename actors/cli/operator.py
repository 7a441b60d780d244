"""An operator's short visit to a running node, through its door: `enfilade zone ps`, `tree`, `stop`.

The command is a node of its own for the length of the visit, with a name and the kernel's word for who runs
it, so that the visited node's policy decides about it as about any other peer. It exports nothing itself.

`door` is the path of the node's door throughout, or the node's place in a mesh; `secret` is the file of the
secret that it asks for, or None.
"""

import math
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import msgspec
import trio
import typer

from enfilade.actors.cli.files import read_secret
from enfilade.actors.cli.quiet import quietly
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.messages.blocks import async_block
from enfilade.actors.messages.errors import NoProcess, Refused, RuntimeFault
from enfilade.actors.node.node import Node
from enfilade.actors.observing.tables.listing import Branch, Listing, ProcessEntry
from enfilade.actors.observing.watches.control import Control
from enfilade.actors.opening import open_node
from enfilade.actors.peers.events import NodeDown
from enfilade.transport import zones
from enfilade.transport.carrier import CarrierError
from enfilade.transport.policy import CONTROL, OBSERVE, NotAdmitted, Policy, Rights, Rule
from enfilade.transport.records import PayloadError
from enfilade.transport.rendezvous import HandshakeFailed

if TYPE_CHECKING:
    from rich.tree import Tree

    from enfilade.actors.cli.mesh_place import MeshPlace

__all__ = [
    "NoAnswer",
    "call_process",
    "connected",
    "drain_node",
    "draw_tree",
    "list_processes",
    "one_line",
    "send_message",
    "stop_node",
    "upgrade_guest",
    "visit_node",
]

R = TypeVar("R")
Visit = Callable[[Node, str], Awaitable[R]]
Door: TypeAlias = "Path | MeshPlace"

ANSWER_SECONDS: Final = 5.0
COMPILATION_SECONDS: Final = 60.0
STOPPING_SECONDS: Final = 60.0
HEADINGS: Final = ("SERIAL", "NAME", "LABEL", "KIND", "ACTOR", "CHILD", "PARENT", "QUEUED")


def list_processes(door: Door, secret: Path | None) -> int:
    """Print a table of the node's processes.

    Returns:
        0.

    Raises:
        Refusal: the node cannot be reached, or does not let us.
    """

    entries: list[ProcessEntry] = visit_node(
        door, secret, lambda node, peer: _ask(node, peer, Listing.processes)
    )
    rows = [HEADINGS, *(_row(entry) for entry in entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(map(str.ljust, row, widths)).rstrip())
    return 0


def draw_tree(door: Door, secret: Path | None) -> int:
    """Print the node's supervision tree: drawn on a terminal, else as indented lines.

    Returns:
        0.

    Raises:
        Refusal: the node cannot be reached, does not let us, or has no supervision tree.
    """

    root: Branch | None = visit_node(door, secret, lambda node, peer: _ask(node, peer, Listing.tree))
    if root is None:
        raise Refusal("the node has no supervision tree; if it has just started, try again")
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(_drawn(root, None))
    else:
        _print_lines(root, 0)
    return 0


def call_process(
    door: Door,
    name: str,
    method: str,
    arguments: Sequence[str],
    keywords: Sequence[str],
    timeout: float,
    secret: Path | None,
) -> int:
    """Call a method of the process of that name, and print what it returns as JSON.

    Args:
        name: a name that the node exports to us.
        method: a public method.
        arguments: its positional arguments, each as JSON.
        keywords: its keyword arguments, each as NAME=JSON.
        timeout: seconds to wait for the reply.

    Returns:
        0.

    Raises:
        Refusal: the call cannot be made, or ended without a reply.
    """
    values = [_value(argument) for argument in arguments]
    named_values = dict(_named_value(keyword) for keyword in keywords)

    def named(*_: Any) -> None:
        """Stands for the method, whose class is not known here; a call carries no more than its name."""

    named.__name__ = named.__qualname__ = method

    async def visit(node: Node, peer: str) -> Any:
        return await node.remote(name, peer).within(timeout).call(named, *values, **named_values)

    answer = visit_node(door, secret, visit)
    try:
        typer.echo(msgspec.json.encode(answer, enc_hook=str).decode())
    except (TypeError, ValueError, RecursionError) as error:
        raise Refusal(f"the reply cannot be written as JSON: {one_line(error)}") from error
    return 0


def send_message(door: Door, name: str, message: str, secret: Path | None) -> int:
    """Send a message, given as JSON, to the process of that name; it has been taken in when this returns.

    Returns:
        0.

    Raises:
        Refusal: the message cannot be sent, or the node exports no such name to us.
    """
    value = _value(message)

    async def visit(node: Node, peer: str) -> None:
        with trio.fail_after(ANSWER_SECONDS):
            ref = await node.whereis_on(peer, name)
            if ref is None:
                raise Refusal(f"node {peer} exports nothing under {name!r} to us, or has no such process")
            ref.send(value)
            await node.whereis_on(peer, name)  # an answer to what was said after the message

    visit_node(door, secret, visit)
    return 0


def stop_node(door: Door, timeout: float, secret: Path | None) -> int:
    """Have the node shut down in order, and wait until it has.

    The wait ends with the node's process where that can be seen (a Linux with process file descriptors, a
    process id that means something in this zone), and otherwise with the node's goodbye, which comes when
    its supervision tree has stopped.

    Args:
        timeout: seconds to wait.

    Returns:
        0.

    Raises:
        Refusal: the node cannot be reached, does not let us, or has not stopped in time.
    """

    visit_node(door, secret, lambda node, peer: _end(node, peer, timeout, Control.stop))
    return 0


def drain_node(door: Door, timeout: float, secret: Path | None) -> int:
    """Have other nodes take over what they can, and the node shut down in order; wait until it has.

    Args:
        timeout: seconds for the handing over.

    Returns:
        0.

    Raises:
        Refusal: the node cannot be reached, does not let us, is in no mesh, or has not stopped in time.
    """
    limit = timeout + STOPPING_SECONDS
    visit_node(door, secret, lambda node, peer: _end(node, peer, limit, Control.drain, timeout))
    return 0


async def _end(node: Node, peer: str, timeout: float, method: Callable[..., Any], *args: Any) -> None:
    """Call a method of the control process that stops the node, and wait until it has stopped."""
    process = _watch_process(node.distribution.rendezvous.peers[peer].identity.credentials.pid)
    try:
        async with node.mailbox() as me:
            node.distribution.monitor_nodes(me.ref)
            await _ask(node, peer, method, *args)
            with trio.move_on_after(timeout):
                await me.receive(NodeDown)
                if process is not None:
                    await trio.lowlevel.wait_readable(process)
                return
        raise Refusal(f"node {peer} did not stop within {timeout:g} s after the request to stop")
    finally:
        if process is not None:
            os.close(process)


def upgrade_guest(door: Path, name: str, module: Path, timeout: float, secret: Path | None) -> int:
    """Have the node move the guest of that name to another module, without a gap.

    Args:
        name: the guest's registered name.
        module: the new module, a file that the node can read under this path.
        timeout: seconds for the hand-over.

    Returns:
        0.

    Raises:
        Refusal: the node cannot be reached, does not let us, or the guest goes on as it was.
    """
    wanted = name, str(module.absolute()), timeout

    async def visit(node: Node, peer: str) -> None:
        problem = await _ask(node, peer, Control.upgrade, *wanted, within=COMPILATION_SECONDS + timeout)
        if problem is not None:
            raise Refusal(one_line(problem))

    visit_node(door, secret, visit)
    return 0


def _watch_process(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None when it cannot be watched from here."""
    if pid <= 0 or not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


class NoAnswer(Refusal):
    """The node has not answered in time: its loop may be held."""


def visit_node(door: Door, secret: Path | None, visit: Visit[R], *, patience: float = math.inf) -> R:
    """Connect to the node behind the door, do something there, and leave.

    Args:
        visit: what to do, with our own node and the full name of the other.
        patience: seconds to wait for the connection.

    Raises:
        NoAnswer: there was no connection within `patience`.
        Refusal: whatever else went wrong.
    """
    try:
        with quietly():  # what went wrong is told once, below
            return trio.run(
                _connected, door, None if secret is None else read_secret(secret), visit, patience
            )
    except CarrierError as error:
        raise Refusal(one_line(error)) from error
    except HandshakeFailed as error:
        raise Refusal(f"the door {door} is not the door of a node: {one_line(error)}") from error
    except trio.TooSlowError as error:
        raise Refusal(f"the node at {door} did not answer within {ANSWER_SECONDS:g} s") from error
    except (Refusal, BrokenPipeError):
        raise  # the second is of our own output, whose reader has gone: the command ends without a word
    except OSError as error:
        raise Refusal(one_line(error)) from error
    except (NotAdmitted, RuntimeFault, PayloadError) as error:
        raise Refusal(one_line(error)) from error
    except Exception as error:  # what the callee answered in the place of a reply
        raise Refusal(f"{type(error).__name__}: {one_line(error)}") from error


async def _connected(door: Door, secret: bytes | None, visit: Visit[R], patience: float) -> R:
    async with connected(door, secret, patience=patience) as (node, peer):
        return await visit(node, peer)


@async_block
async def connected(
    door: Door, secret: bytes | None, number: int = 1, *, patience: float = math.inf
) -> AsyncIterator[tuple[Node, str]]:
    """Be a node that is connected to the one behind the door, for the length of a block.

    Args:
        door: the path of the node's door, or its place in a mesh.
        secret: what it asks for; None.
        number: tells the nodes of this OS process apart, if there are several.
        patience: seconds to wait for the connection.

    Yields:
        our node, and the full name of the other.

    Raises:
        NoAnswer: there was no connection within `patience`.
        CarrierError, HandshakeFailed, NotAdmitted, RuntimeFault: there is no connection.
    """
    # Whose door it is, its path says; we let the node that serves it do nothing here.
    anybody = Policy(rules=[Rule(rights=Rights())], secret=secret)
    name, zone, mesh = f"operator-{os.getpid()}", zones.own().name, None
    if not isinstance(door, Path):
        anybody = Policy(rules=[Rule(over="mesh", rights=Rights())], secret=secret)
        mesh = door.mesh
        name, _, zone = door.own.partition("@")
    name += f"-{number}" if number > 1 else ""
    async with open_node(name, zone=zone, policy=anybody, observe=False, mesh=mesh) as node:
        with trio.move_on_after(patience) as waiting:
            peer = await node.connect(str(door))
        if waiting.cancelled_caught:
            raise NoAnswer(f"the node at {door} did not answer within {patience:g} s")
        try:
            yield node, peer
        finally:
            node.distribution.disconnect(peer)  # all was answered, and nobody waits for a goodbye


async def _ask(
    node: Node, peer: str, method: Callable[..., Any], *args: Any, within: float = ANSWER_SECONDS
) -> Any:
    """Call a method of the control process; or, if that refuses and it will do, of the one for observers."""
    for name in (CONTROL, OBSERVE) if hasattr(Listing, method.__name__) else (CONTROL,):
        try:
            return await node.remote(name, peer).within(within).call(method, *args)
        except Refused as error:
            refused = error
        except NoProcess as error:
            problem = f"node {peer} has no control process: `enfilade zone run` did not start it"
            raise Refusal(problem) from error
    raise Refusal(f"node {peer} does not let us control it") from refused


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Refusal(
            f"expected JSON, got {text!r:.80} ({one_line(error)}); "
            "write a string in quotes, and keep them from the shell, as in '\"text\"'"
        ) from error


def _named_value(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name.isidentifier() or not equals:
        raise Refusal(f"expected NAME=JSON, got {text!r:.80}")
    return name, _value(value)


def one_line(text: object) -> str:
    """A text that may come from elsewhere as one line that a terminal can be trusted with."""
    return "".join(c if c.isprintable() else " " for c in " ".join(str(text).split()))


def _row(entry: ProcessEntry) -> tuple[str, ...]:
    texts = (entry.name, entry.label, entry.kind, entry.actor, entry.child, entry.parent)
    return (str(entry.serial), *(one_line(text or "-") for text in texts), str(entry.queued))


def _described(branch: Branch) -> str:
    parts = [] if branch.state == "running" else [branch.state]
    if branch.node is not None:
        parts.append(f"on {branch.node}")
    if branch.process is not None:
        entry = branch.process
        parts.insert(0, f"{entry.kind} {entry.serial}")
        if entry.kind != "supervisor" and entry.actor is not None:
            parts.insert(1, entry.actor)
        if entry.name not in (None, branch.id):
            parts.append(f"named {entry.name}")
        if entry.label not in (None, branch.id):
            parts.append(f"label {entry.label}")
    if branch.restart is not None:
        parts.append(branch.restart)
    return one_line(", ".join(parts))


def _drawn(branch: Branch, parent: "Tree | None") -> "Tree":
    from rich.text import Text
    from rich.tree import Tree

    text = Text.assemble((one_line(branch.id), "bold"), "  ", (_described(branch), "dim"))
    if branch.state not in ("running", "elsewhere"):
        text.stylize("red")
    tree = Tree(text) if parent is None else parent.add(text)
    for child in branch.children:
        _drawn(child, tree)
    return tree


def _print_lines(branch: Branch, depth: int) -> None:
    typer.echo(f"{'  ' * depth}{one_line(branch.id)}: {_described(branch)}")
    for child in branch.children:
        _print_lines(child, depth + 1)
