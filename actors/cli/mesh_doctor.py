"""The findings of `enfilade doctor` about a mesh: the server's program, the identity, and each server.

The permissions guard is part of each connection: a server that lets this client publish under another's name
is refused, and the finding says so.
"""

import importlib.metadata
import importlib.util
import os
import re
import resource
import subprocess
import time
from pathlib import Path
from typing import Final

import trio

from enfilade.actors.cli.doctor import Finding
from enfilade.actors.cli.refusal import Refusal
from enfilade.transport.mesh.certificate_dates import WARNING_DAYS
from enfilade.transport.mesh.identity import read_identity
from enfilade.transport.mesh.introduction import LEAST_VERSION
from enfilade.transport.mesh.server import find_program
from enfilade.transport.mesh.settings import Mesh, MeshError

__all__ = ["examine"]

VERSION_SECONDS: Final = 5.0
"""Time for the server's program to say its version."""

DESCRIPTORS: Final = 4096
"""Files that a process should be able to have open, with node links, guests and servers."""


def examine(zone_file: Path | None, identity: Path | None, mesh: str | None) -> list[Finding]:
    """Examine what a node of a mesh needs on this machine.

    Args:
        zone_file: of the node; None.
        identity: the directory of `enfilade mesh join`; None.
        mesh: "embedded", "embedded:NAME" or an address on this machine; None.

    Raises:
        Refusal: the zone file is wrong, or has no mesh, or more than one of the three is given.
    """
    if sum(each is not None for each in (zone_file, identity, mesh)) > 1:
        raise Refusal("expected a zone file, --identity or --mesh, got more than one of them")
    settings = None
    if zone_file is not None:
        settings = _of_zone_file(zone_file)
        identity = None if settings.identity is None else Path(settings.identity)
    needs_program = mesh is not None or (settings is not None and settings.is_embedded)
    found = [
        _program(None if settings is None else settings.server, needed=needs_program),
        _cryptography(),
        _clock(),
        _descriptors(),
    ]
    if identity is None:
        return [*found, *_servers(settings, None, mesh)]
    try:
        who = read_identity(identity)
    except MeshError as error:
        return [*found, Finding("identity", False, str(error))]
    days = f"{who.node} in mesh {who.mesh}, its certificate ends in {who.days_left:.0f} days"
    if who.days_left < WARNING_DAYS:
        days += ": renew it with `enfilade mesh ca renew`"
    return [*found, Finding("identity", who.days_left > 0, days), *_servers(settings, identity, None)]


def _of_zone_file(path: Path) -> Mesh:
    from enfilade.actors.cli.zonefile import read_zone_file

    settings = read_zone_file(path).mesh_settings(path.resolve().parent)
    if settings is None:
        raise Refusal(f"{path} has no [mesh]")
    return settings


def _program(given: str | os.PathLike[str] | None, *, needed: bool) -> Finding:
    try:
        program = find_program(given)
        told = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=True, timeout=VERSION_SECONDS
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("nats-server", False, str(error), needed)
    numbers = re.search(r"(\d{1,6})\.(\d{1,6})", told)
    is_new = numbers is not None and tuple(map(int, numbers.groups())) >= LEAST_VERSION
    least = "" if is_new else f": {'.'.join(map(str, LEAST_VERSION))} or later is needed"
    return Finding("nats-server", is_new, f"{program}, {told}{least}", needed)


def _cryptography() -> Finding:
    if importlib.util.find_spec("cryptography") is None:
        return Finding(
            "certificates", False, "they need the extra \"mesh\": pip install 'enfilade[mesh]'", needed=False
        )
    version = importlib.metadata.version("cryptography")
    return Finding("certificates", True, f"cryptography {version}", needed=False)


def _clock() -> Finding:
    if hasattr(time, "CLOCK_BOOTTIME"):
        return Finding("clock of leases", True, "it runs while the machine is suspended")
    return Finding("clock of leases", False, "it stops while the machine is suspended", needed=False)


def _descriptors() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= DESCRIPTORS:
        return Finding("open files", True, "as many as are asked for" if soft < 0 else f"{soft}")
    detail = f"{soft}: {DESCRIPTORS} or more are better (`ulimit -n`, or LimitNOFILE of systemd)"
    return Finding("open files", False, detail, needed=False)


def _servers(settings: Mesh | None, identity: Path | None, mesh: str | None) -> list[Finding]:
    """Connect to each server once."""
    if settings is None and identity is None and mesh is None:
        return []
    from enfilade.actors.cli.mesh import try_all
    from enfilade.actors.cli.mesh_place import Visitor, visitor_of

    if settings is not None:
        who = None if identity is None else read_identity(identity)
        visitor = Visitor("doctor@mesh" if who is None else who.node, settings, who)
    else:
        visitor = visitor_of(identity, mesh)
    tried = trio.run(try_all, visitor)
    if not tried:
        return [Finding("server", True, "none runs yet: the first program of this user starts it")]
    takes = "takes this node" if visitor.identity is None else "takes this node, under its own names only"
    return [
        Finding(
            f"server {each['address']}",
            not each["problem"],
            each["problem"] or f"{takes}, and answers in {1000 * each['seconds']:.1f} ms",
        )
        for each in tried
    ]
