"""Connecting: from a domain that the policy allows to a TCP connection, secured if need be."""

from __future__ import annotations

import errno
import os
import ssl

import trio

from enfilade.hostcalls.abi.errors import HostcallError, SubsystemError
from enfilade.hostcalls.net.destination import Destination
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.sockets import Sockets, system_error
from enfilade.hostcalls.net.tls import describe, server_name


async def dial(
    destination: Destination, sockets: Sockets, settings: NetworkSettings
) -> trio.abc.HalfCloseableStream:
    """Open a TCP connection to the first address that answers. A checkpoint; cancelled, nothing stays open.

    Raises `SubsystemError` and `PermissionDenied`.
    """
    try:
        with trio.fail_after(settings.connect_timeout):
            addresses = await destination.resolve(sockets)
            deadline = trio.current_time() + settings.connect_timeout
            failure = _timed_out()
            for index, address in enumerate(addresses):
                share = (deadline - trio.current_time()) / (len(addresses) - index)
                with trio.move_on_after(share):
                    try:
                        return await sockets.connect(address, destination.port)
                    except OSError as error:
                        failure = error
            raise failure
    except trio.TooSlowError:
        raise system_error("failed to connect", _timed_out()) from None
    except OSError as error:
        raise system_error("failed to connect", error) from None


def _timed_out() -> OSError:
    return OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


async def secure(
    stream: trio.abc.HalfCloseableStream,
    destination: Destination,
    context: ssl.SSLContext,
    settings: NetworkSettings,
) -> trio.SSLStream[trio.abc.HalfCloseableStream]:
    """Secure a connection to the destination. A checkpoint; the stream is closed unless it succeeds.

    Raises `SubsystemError`.
    """
    name = server_name(destination.domain.name)
    failure: HostcallError
    try:
        secured = trio.SSLStream(stream, context, server_hostname=name, https_compatible=True)
        with trio.fail_after(settings.tls_handshake_timeout):
            await secured.do_handshake()
    except trio.TooSlowError:
        failure = SubsystemError("TLS handshake failed: timed out")
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        failure = SubsystemError(f"TLS handshake failed: {describe(error)}")
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    else:
        return secured
    await trio.aclose_forcefully(stream)
    raise failure
