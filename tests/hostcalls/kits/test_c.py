"""The archives of the C kit: what it writes is what the host's codec writes, byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from enfilade.actors import open_node
from enfilade.actors.guests import Guest
from enfilade.actors.observing.telemetry import use
from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import actor_types
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.codec.rkyv import codec
from tests.hostcalls.kits.builds import build_c, needs_clang

pytestmark = [pytest.mark.real, needs_clang]

PROGRAMS = Path(__file__).parent


def number(kind: abi.ScalarType, value: float) -> abi.ScalarArg:
    return abi.ScalarArg(abi.ScalarValue(kind, value))


SPAWN = actor_types.ActorSpawn(
    abi.ProcessStart(
        "guests/worker.wasm",
        "start",
        (Capability.TIME_READ, Capability.ACTOR_MESSAGE),
        abi.EntrypointInvocation(
            abi.AbiSignature(
                (
                    abi.ScalarParam(abi.ScalarType.U8),
                    abi.BufferParam(),
                    abi.ScalarParam(abi.ScalarType.I16),
                    abi.ScalarParam(abi.ScalarType.F64),
                    abi.ScalarParam(abi.ScalarType.I32),
                    abi.BufferParam(),
                    abi.ScalarParam(abi.ScalarType.U64),
                )
            ),
            (
                number(abi.ScalarType.U8, 200),
                abi.BufferArg(b"first of two"),
                number(abi.ScalarType.I16, -2),
                number(abi.ScalarType.F64, 1.5),
                abi.ResourceArg(5),
                abi.BufferArg(b""),
                number(abi.ScalarType.U64, 0x1122334455667788),
            ),
        ),
    ),
    link=True,
    monitor=False,
)

ARCHIVES: dict[str, object] = {
    "0": abi.NetConnect(abi.NetProtocol.QUIC, "localhost", 7000, 2),
    "1": abi.NetCreateListener(abi.NetProtocol.HTTP, "::1", 8080, None),
    "2": abi.IoWrite(7, b"payload"),
    "3": SPAWN,
    "4": abi.NetTlsServerConfig(abi.TlsServerBundle(b"chain", b"the key", None, None, False)),
    "5": abi.NetTlsClientConfig(abi.TlsClientBundle(b"roots", None, None, None)),
    "6": actor_types.ActorExit(3, actor_types.ActorReason(actor_types.ReasonKind.OTHER, "out of patience")),
    "7": actor_types.ActorRegister("a longer name", 3),
}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_c(PROGRAMS / "archives.c", tmp_path_factory.mktemp("c"))


@pytest.mark.parametrize("which", ARCHIVES)
async def test_archives(archives: Path, which: str) -> None:
    """What the kit writes is what the codec writes, byte for byte."""
    value: Any = ARCHIVES[which]
    grants = ["ActorMessage", "ActorSpawn", "ActorLink", "ActorRegistry"]
    async with open_node("test") as node:
        guest = await node.spawn(Guest(archives, capabilities=grants))
        written = await guest.call(Guest.request, which.encode())
        assert written == codec(type(value)).encode(value)


async def test_what_does_not_fit(archives: Path) -> None:
    """Data that is longer than the scratch space is refused, and the next hostcall is made as ever."""
    async with open_node("test") as node:
        guest = await node.spawn(Guest(archives, capabilities=["ActorMessage"]))
        assert await guest.call(Guest.request, b"8") == b""
        assert await guest.call(Guest.request, b"2") == codec(abi.IoWrite).encode(abi.IoWrite(7, b"payload"))


async def test_obs_65_a_guest_in_c_reads_its_traceparent(tmp_path: Path) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    module = build_c(PROGRAMS / "traceparent.c", tmp_path)
    async with open_node("test") as node:
        for grants, answer in (
            (["ActorMessage", "TraceRead"], traceparent.encode()),
            (["ActorMessage"], b"no"),
        ):
            guest = await node.spawn(Guest(module, capabilities=["ActorMessage", *grants]))
            with use(traceparent):
                assert await guest.call(Guest.request, b"") == answer
