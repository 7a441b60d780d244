"""Subjects: no name means anything to a server."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enfilade.transport.mesh.subjects import Subjects, from_token, to_token


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_mesh_15_a_token_holds_any_name_and_no_character_that_means_something(name: str) -> None:
    token = to_token(name)
    assert re.fullmatch(r"[A-Za-z0-9_=-]+", token)
    assert from_token(token) == name


@pytest.mark.parametrize("token", ["", "a.b", "=", "=4", "=zz", "=c3=a4", "=41", "=C3", "a b", "*", "=E4"])
def test_what_no_name_is_written_as_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="expected a token of a subject"):
        from_token(token)


def test_an_empty_name_has_no_token() -> None:
    with pytest.raises(ValueError, match="at least 1 character"):
        to_token("")


def test_two_names_have_two_tokens() -> None:
    assert to_token("bank@east") == "bank=40east"
    assert to_token("bank=40east") == "bank=3D40east"


def test_a_subject_holds_the_sender() -> None:
    mine = Subjects("default", "bank@east", 0xABC)
    assert mine.inlet("shop@west", 0x1F, 255) == "enf.default.l.shop=40west.1f.bank=40east.ff"
    assert Subjects("default", "shop@west", 0x1F).links == "enf.default.l.shop=40west.1f"
    assert mine.meeting_of("shop@west") == f"{Subjects('default', 'shop@west', 1).meeting}.bank=40east"
    assert mine.probe_of("shop@west", 1) == f"{Subjects('default', 'shop@west', 1).probes}.bank=40east"
    assert mine.beat_of("shop@west") == Subjects("default", "shop@west", 1).beat
    assert mine.all_of("b") == "enf.default.b.*"


@given(st.text("x@.*> ä", min_size=1, max_size=63), st.text("x@.*> ä", min_size=1, max_size=30))
def test_a_subject_is_short_enough(name: str, mesh: str) -> None:
    """Of the names that a node may have over a mesh, none makes a subject that a server cuts."""
    plain = Subjects("default", "n" * 63, 2**64 - 1)
    assert len(plain.inlet("m" * 63, 2**64 - 1, 2**64 - 1)) <= 255
    assert " " not in Subjects(mesh, name, 1).inlet(name, 1, 1)
