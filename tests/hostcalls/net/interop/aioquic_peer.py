"""A QUIC server or client as aioquic itself has them, on asyncio: a program for a process of its own.

    python aioquic_peer.py serve CERTIFICATE KEY ALPN
    python aioquic_peer.py connect PORT CA ALPN [CERTIFICATE KEY]

The server prints its port, and answers each stream with what it has received, in upper case, when the
client has finished. The client sends `hello` on one stream, finishes it, and prints what it receives.
An ALPN of "-" is none.
"""

from __future__ import annotations

import asyncio
import socket
import sys

from aioquic.asyncio import connect, serve
from aioquic.quic.configuration import QuicConfiguration


def names(alpn: str) -> list[str] | None:
    """The list of protocols that an argument stands for."""
    return None if alpn == "-" else alpn.split(",")


async def run_server(certificate: str, key: str, alpn: str) -> None:
    """Answer until the standard input ends."""
    configuration = QuicConfiguration(is_client=False, alpn_protocols=names(alpn))
    configuration.load_cert_chain(certificate, key)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        writer.write_eof()

    def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(answer(reader, writer)))

    tasks: set[asyncio.Task[None]] = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = await serve("127.0.0.1", port, configuration=configuration, stream_handler=handle)
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


async def run_client(port: str, ca: str, alpn: str, certificate: str = "", key: str = "") -> None:
    """Ask once."""
    configuration = QuicConfiguration(alpn_protocols=names(alpn), server_name="localhost")
    configuration.load_verify_locations(ca)
    if certificate:
        configuration.load_cert_chain(certificate, key)
    async with connect("127.0.0.1", int(port), configuration=configuration) as client:
        reader, writer = await client.create_stream()
        writer.write(b"hello")
        writer.write_eof()
        print((await reader.read()).decode(), flush=True)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    asyncio.run(run_server(*arguments) if command == "serve" else run_client(*arguments))
