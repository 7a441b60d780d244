"""The introduction of a server when a client connects, and its check."""

import re
from typing import Any, Final

from enfilade.transport.mesh.settings import MeshError

__all__ = ["check_introduction"]

LEAST_VERSION: Final = (2, 12)
LEAST_PAYLOAD: Final = 256 * 1024
"""What a server must be, and must take."""

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
