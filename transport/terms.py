"""The terms on which nodes meet: versions, names, times and sizes.

A node speaks one version, which follows from its secret and from what its carrier promises. Two nodes that
expect different things of each other learn in the handshake which.
"""

import math

from enfilade.node_names import LONGEST, is_full_name
from enfilade.transport.policy import NotAdmitted
from enfilade.transport.wire import RESUMING, SEALED_VERSION, VERSION, Hello, Welcome

__all__ = ["check_terms", "check_version", "version_of"]


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


def check_terms(terms: Hello | Welcome, own_name: str) -> None:
    """Check that a peer's names, period and window can be used.

    Raises:
        NotAdmitted: one of them cannot.
    """
    for name in (terms.name, terms.zone):
        if not is_full_name(name):
            raise NotAdmitted(
                f"names must have 1 to {LONGEST} characters that can be printed, without '/', ':' and "
                f"blanks at the ends, got {name[:LONGEST]!a}"
            )
    if terms.name == own_name:
        raise NotAdmitted(f"both nodes have the name {own_name!r}")
    if not (0 < terms.period < math.inf and terms.window > 0):
        raise NotAdmitted(
            f"period and window must be more than 0, got {terms.period!r} s and {terms.window!r} bytes"
        )
