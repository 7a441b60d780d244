"""The introduction of a server when a client connects, and its check."""

import re
from typing import Any, Final

from enfilade.transport.mesh.settings import MeshError, Server
from enfilade.transport.printable import printable

__all__ = ["LEAST_VERSION", "check_introduction", "shown"]

LEAST_VERSION: Final = (2, 12)
LEAST_PAYLOAD: Final = 256 * 1024
"""What a server must be, and must take."""

LONGEST_NAME: Final = 64
"""Characters of a server's name that logs show."""

_VERSION: Final = re.compile(r"\d{1,6}(\.\d{1,6})*")


def check_introduction(info: dict[str, Any], *, has_tls: bool) -> None:
    """Refuse a server that this client does not get along with.

    Raises:
        MeshError: it is too old, too narrow, or wants what this client does not have.
    """
    version = str(info.get("version", ""))
    numbers = _VERSION.match(version)
    if numbers is None or tuple(map(int, numbers[0].split("."))) < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise MeshError(f"expected a NATS server of version {least} or later, got {version[:20]!r}")
    payload = info.get("max_payload")
    if not isinstance(payload, int) or payload < LEAST_PAYLOAD:
        raise MeshError(f"its max_payload must be {LEAST_PAYLOAD} or more, got {payload!r:.40}")
    if info.get("headers") is not True:
        raise MeshError("it must take messages with headers")
    if has_tls and not (info.get("tls_required") or info.get("tls_available")):
        raise MeshError("it does not offer TLS, and this node insists on it")
    if info.get("tls_required") and not has_tls:
        raise MeshError("it asks for TLS, and this node has no certificate: give it an identity")


def shown(info: dict[str, Any], server: Server) -> str:
    """Return a server as logs show it: its name, if it was given one, and its address."""
    name = info.get("server_name")
    if not isinstance(name, str) or not name or name == info.get("server_id"):
        return str(server)
    return f"{printable(name, LONGEST_NAME)} ({server})"
