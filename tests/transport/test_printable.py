"""The words of strangers, as logs and terminals get them."""

import pytest
from trio.testing import wait_all_tasks_blocked

from enfilade.transport.printable import printable
from enfilade.transport.wire import Bye
from tests.transport.model import Start, message

HOSTILE = "\x1b[2J\nroot logged in\u202e"
SHOWN = r"\x1b[2J\nroot logged in\u202e"


@pytest.mark.parametrize(
    ("text", "most", "shown"),
    [("grüß Gott", 99, "grüß Gott"), ("it's fine", 4, "it's"), (HOSTILE, 99, SHOWN), ("", 9, "")],
)
def test_nothing_controls_a_terminal(text: str, most: int, shown: str) -> None:
    assert printable(text, most) == shown
    assert printable(text, most).isprintable()


async def test_a_goodbye_is_made_printable(start: Start, autojump_clock: object) -> None:
    """As what a server complains of is, and a refusal."""
    a, b = await start("a"), await start("b")
    peer = await a.rendezvous.connect("/b")
    peer.send(message(0))
    peer.send(Bye(HOSTILE))
    await wait_all_tasks_blocked()
    assert b.host.down == [("a", f"the peer said goodbye: {SHOWN}")]
