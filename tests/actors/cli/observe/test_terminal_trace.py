"""The processes that are named for a trace, as they are typed on the terminal."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("textual")

from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.terminal.glyphs import UNICODE
from enfilade.actors.cli.observe.terminal.trace import TracePage
from tests.actors.cli.observe import recorded


class Desk:
    """Keeps what is asked, and takes the answer."""

    glyphs = UNICODE

    def ask(self, question: str, given: str, answer: Any) -> None:
        self.given = given
        self.answer = answer

    def soon_sync(self, *_: Any) -> None:
        """Not done."""


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("5 ledger till*", (5, "ledger", "till*")),
        ("5,ledger,  till*", (5, "ledger", "till*")),
        ('"till 00001" 7', ("till 00001", 7)),
        ('"7"', ("7",)),
        ("actor:Till", ("actor:Till",)),
        ('"a,b" c', ("a,b", "c")),
        ("\u0665", (5,)),
    ],
)
def test_processes_are_named_by_words_and_quotes(typed: str, named: tuple[Any, ...]) -> None:
    desk: Any = Desk()
    page = TracePage(desk, Sight(recorded.observed()))
    for _ in range(2):  # what is proposed the next time means the same
        page.key("/")
        desk.answer(typed)
        assert page._view is not None
        assert page._view.processes == named
        page.key("/")
        typed = desk.given
