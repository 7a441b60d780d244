"""Lists of rows travel in one go, and come out as if each was looked at alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enfilade.transport import Codec, TypeRegistry, payload
from enfilade.transport.atoms import are_rows, types_of

plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
)
values = plain | st.binary(max_size=5) | st.lists(plain, max_size=3) | st.tuples(plain)
rows = st.lists(st.dictionaries(plain | st.text(max_size=3), values, max_size=4), max_size=4)


@given(rows)
def test_what_travels_is_the_same_as_of_one_by_one(given_rows: list[dict[Any, Any]]) -> None:
    codec = Codec(TypeRegistry())
    encoded = bytes(codec.encode(given_rows)[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(payload, "are_rows", lambda *_: False)
        assert bytes(codec.encode(given_rows)[0]) == encoded


@pytest.mark.parametrize(
    ("given_rows", "is_so"),
    [
        ([], False),
        ([1], False),
        ([{}, 1], False),
        ([{}], True),
        ([{"a": 1}, {"a": None, 2: "b"}], True),
        ([{"a": [1]}], False),
        ([{"a": b"1"}], False),
        ([{(1,): 1}], False),
        ([{"a": {"b": 1}}], False),
    ],
)
def test_rows_have_plain_keys_and_values(given_rows: list[Any], is_so: bool) -> None:
    assert are_rows(given_rows, types_of(given_rows)) == is_so
