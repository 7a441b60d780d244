"""The versions of what nodes say to each other.

A node speaks one version, which follows from its secret and from what its carrier promises. Two nodes that
expect different things of each other learn in the handshake which.
"""

from enfilade.transport.policy import NotAdmitted
from enfilade.transport.wire import RESUMING, SEALED_VERSION, VERSION

__all__ = ["check_version", "version_of"]


def version_of(*, has_secret: bool, is_lossless: bool) -> int:
    """Return the version that a node speaks."""
    return (SEALED_VERSION if has_secret else VERSION) + (0 if is_lossless else RESUMING)


def check_version(own: int, oldest: int, newest: int) -> None:
    """Check that a caller speaks this node's version.

    Raises:
        NotAdmitted: it does not.
    """
    if oldest <= own <= newest:
        return
    is_sealed = own in (SEALED_VERSION, SEALED_VERSION + RESUMING)
    if is_sealed and newest == own - 1:
        raise NotAdmitted("this node asks for a secret, and the caller has none")
    if not is_sealed and oldest == own + 1:
        raise NotAdmitted("the caller asks for a secret, and this node has none")
    raise NotAdmitted(f"this node speaks version {own}, the caller versions {oldest} to {newest}")
