"""The bytes of exit reasons. Those of nodes that do not tell who asked for an end stay readable."""

from __future__ import annotations

from typing import Any

import pytest

from enfilade.actors import (
    KILLED,
    NO_CONNECTION,
    NORMAL,
    SHUTDOWN,
    Custom,
    Node,
    Reason,
    Shutdown,
    Trapped,
)
from enfilade.actors.messages.reasons import asked_by
from enfilade.transport import PayloadError
from tests.conformance.actors.abroad import Abroad, autojump_clock, back_end, mesh_server, node

__all__ = ["autojump_clock", "back_end", "mesh_server", "node"]

BARE = {
    NORMAL: "c71705 93 af656e66696c6164652e4e6f726d616c 01 ce4188ccff",
    KILLED: "c71705 93 af656e66696c6164652e4b696c6c6564 01 ce4188ccff",
    NO_CONNECTION: "c71f05 93 b7656e66696c6164652e436f6e6e656374696f6e4c6f7374 01 ce4188ccff",
    SHUTDOWN: "c71a05 94 b1656e66696c6164652e53687574646f776e 01 cebf92a8a6 c0",
    Shutdown("d"): "c71b05 94 b1656e66696c6164652e53687574646f776e 01 cebf92a8a6 a164",
    Custom(("a", 1)): "c71d05 94 af656e66696c6164652e437573746f6d 01 ceedccfa7a d60192a16101",
    Trapped("fuel", "m"): "c72205 96 b0656e66696c6164652e54726170706564 01 ceba4c5ea4 a46675656c a16d d40190",
}
"""What nobody asked for, and everything that nodes sent which did not tell who asked."""

BY = "c71110 95 aa74686972644065617374 07 05 c400 a0"
"""Process 5 of incarnation 7 of third@east: without a token, and without an address."""

REF = "c71810 95 aa74686972644065617374 07 05 c40754304b454e2121 a0"
"""The same with a token, as a ref in a message has it."""


def codec(here: Node, there: Node) -> Any:
    carrier: Any = here.distribution._current[there.full_name]
    return carrier._codec


def asked(by: str, reason: Reason) -> bytes:
    """The golden bytes of a reason that `by` asked for."""
    content = b"\x92" + bytes.fromhex(by) + bytes.fromhex(BARE[reason])
    return bytes([0xC7, len(content), 18]) + content


@pytest.mark.parametrize("reason", BARE, ids=repr)
async def test_a_reason_that_nobody_asked_for(node: Abroad, autojump_clock: object, reason: Reason) -> None:
    """D8: its bytes have not changed, so nodes of all versions understand it."""
    home, far = codec(node.home, node.far), codec(node.far, node.home)
    golden = bytes.fromhex(BARE[reason])
    assert bytes(home.encode(reason)[0]) == golden
    decoded = far.decode(golden)
    assert decoded == reason
    assert type(decoded) is type(reason)
    assert decoded.by is None


@pytest.mark.parametrize("reason", BARE, ids=repr)
async def test_a_reason_that_somebody_asked_for(node: Abroad, autojump_clock: object, reason: Reason) -> None:
    """L9, D8: the ref comes first, and without what would give access."""
    home, far = codec(node.home, node.far), codec(node.far, node.home)
    golden = asked(BY, reason)
    decoded = far.decode(golden)
    assert decoded == reason
    assert decoded.by is not None
    assert (decoded.by.node_name, decoded.by.incarnation, decoded.by.serial) == ("third@east", 7, 5)
    ref = home.decode(bytes.fromhex(REF))
    assert bytes(home.encode(ref)[0]) == bytes.fromhex(REF)
    assert bytes(home.encode(asked_by(reason, ref))[0]) == golden


async def test_asked_by_what_is_no_ref(node: Abroad, autojump_clock: object) -> None:
    """D9: counts as nobody, and what is no reason is malformed; the next payload is understood."""
    far = codec(node.far, node.home)
    for nobody in ("c0", "01", BARE[NORMAL]):
        decoded = far.decode(asked(nobody, SHUTDOWN))
        assert (decoded, decoded.by) == (SHUTDOWN, None)
    for content in (b"\x92\xc0\x01", b"\x91\xc0", b"\x90", b"\x01", b"\x93\xc0\xc0\xc0"):
        with pytest.raises(PayloadError):
            far.decode(bytes([0xC7, len(content), 18]) + content)
    assert far.decode(bytes.fromhex(BARE[NORMAL])) == NORMAL
