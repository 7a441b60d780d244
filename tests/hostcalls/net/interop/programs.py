"""A guest on real sockets of the loopback interface, and the programs that ask it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Callable

import pytest
import trio

from enfilade.hostcalls.abi import NetProtocol
from enfilade.hostcalls.resources.futures import Future
from tests.hostcalls.net.offices import HTTP, Clerk, Office
from tests.ports import free_port


def needs(program: str) -> pytest.MarkDecorator:
    """Skip where a program is missing."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


async def run(
    *command: str, code: int | tuple[int, ...] = 0, stdin: bytes | None = None, seconds: float = 60
) -> str:
    """Run a program that ends with `code`, or one of them; what it prints."""
    with trio.fail_after(seconds):
        result = await trio.run_process(
            command, stdin=stdin or b"", capture_stdout=True, capture_stderr=True, check=False
        )
    codes = code if isinstance(code, tuple) else (code,)
    assert result.returncode in codes, (result.returncode, result.stdout, result.stderr)
    return result.stdout.decode()


async def curl(*arguments: str, code: int | tuple[int, ...] = 0, stdin: bytes | None = None) -> str:
    """Run curl; what it prints."""
    command = ["curl", "--silent", "--show-error", "--max-time", "20", "--noproxy", "*", *arguments]
    return await run(*command, code=code, stdin=stdin)


Respond = Callable[[bytes], bytes]


def echo(request: bytes) -> bytes:
    """A response whose body is the request as the guest has read it."""
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(request), request)


@contextlib.asynccontextmanager
async def serving(
    office: Office,
    protocol: NetProtocol = HTTP,
    respond: Respond = echo,
    tls: Callable[[Clerk], int] | None = None,
) -> AsyncIterator[int]:
    """A guest that serves during the block; its port."""
    guest, port = office.guest(), free_port()
    slot = guest.bind(port=port, protocol=protocol, tls=None if tls is None else tls(guest))

    async def work() -> None:
        while True:
            outcome = guest.accept(slot)
            accepted = await outcome.wait() if isinstance(outcome, Future) else outcome
            request = b""
            while part := await guest.read(accepted.reader):
                request += part
            await guest.write(accepted.writer, respond(request))
            guest.detach(accepted.reader)
            guest.detach(accepted.writer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        yield port
        nursery.cancel_scope.cancel()
    guest.end()
