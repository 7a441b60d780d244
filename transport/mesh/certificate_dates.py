"""The end of a certificate, which is warned of while there is time to renew it, and while its node runs."""

import logging
from typing import Final

import trio

from enfilade.transport.mesh.identity import Identity, read_identity
from enfilade.transport.mesh.settings import MeshError

__all__ = ["WARNING_DAYS", "warn_of_end", "watch_end"]

logger = logging.getLogger("enfilade.mesh")

WARNING_DAYS: Final = 14
"""Days before its end from which on a certificate is warned of."""

DAY: Final = 86400.0
LEAST_PAUSE: Final = 1.0
"""Seconds between two looks at a certificate, at most and at least."""


def warn_of_end(identity: Identity, who: str) -> None:
    """Say in the log that a certificate ends soon, or has ended; nothing while there is time.

    Args:
        identity: with the certificate.
        who: the node or server that uses it.
    """
    left = identity.days_left
    command = "enfilade mesh ca issue --server" if identity.hosts else "enfilade mesh ca renew"
    if left <= 0:
        logger.error(
            "the certificate of %s has ended, and is refused at the next connection: renew it with `%s`, and "
            "`enfilade mesh join` the bundle into %s",
            who,
            command,
            identity.directory,
        )
    elif left < WARNING_DAYS:
        logger.warning("the certificate of %s ends in %.1f days: renew it with `%s`", who, left, command)


async def watch_end(
    identity: Identity, who: str, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED
) -> None:
    """Look at a certificate again and again, and warn of its end once a day; also when it has been renewed.

    Args:
        identity: with the certificate, which was warned of if need be.
        who: the node or server that uses it.
        task_status: for a nursery.
    """
    task_status.started()
    while True:
        await trio.sleep(_pause(identity.days_left))
        try:
            identity = read_identity(identity.directory)
        except MeshError as error:
            logger.warning("the certificate of %s cannot be renewed there: %s", who, error)
        else:
            warn_of_end(identity, who)


def _pause(left: float) -> float:
    """Return the seconds to the next look: a day, or less if there is something to say before."""
    ahead = left - WARNING_DAYS if left > WARNING_DAYS else left if left > 0 else 1.0
    return min(DAY, max(LEAST_PAUSE, ahead * DAY))
