"""The codecs of common shapes do exactly what the generic codec does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import actor_types
from enfilade.hostcalls.abi.actor_types import (
    ActorReason,
    ActorReceived,
    DownMessage,
    ExitedMessage,
    PlainMessage,
    ReasonKind,
    RequestMessage,
)
from enfilade.hostcalls.abi.received import ReceivedCodec
from enfilade.hostcalls.codec.rkyv import Codec, DecodeError, EncodeError, codec, layout

CARRIERS: list[Any] = [
    abi.IoFrame,
    abi.IoWrite,
    actor_types.ActorSend,
    actor_types.ActorBody,
    actor_types.ActorReply,
]
U32, U64 = st.integers(0, 0xFFFF_FFFF), st.integers(0, 0xFFFF_FFFF_FFFF_FFFF)
DATA, SLOTS = st.binary(max_size=40), st.lists(U32, max_size=3).map(tuple)
REASONS = st.builds(ActorReason, st.sampled_from(ReasonKind), st.text(max_size=12))
RECEIVED = st.one_of(
    st.none(),
    st.builds(PlainMessage, U64, DATA, SLOTS),
    st.builds(RequestMessage, U32, DATA, SLOTS),
    st.builds(ExitedMessage, U32, REASONS),
    st.builds(DownMessage, U64, U32, REASONS),
).map(ActorReceived)


def generic_codec(annotation: Any) -> Codec[Any]:
    return Codec(layout(annotation))


def carried(carrier: type) -> st.SearchStrategy[Any]:
    fields = {
        "payload": DATA,
        "data": DATA,
        "resources": SLOTS,
        "writer_id": st.integers(0, 0xFFFF),
        "tag": U64,
    }
    names = [field.name for field in carrier.__attrs_attrs__]  # type: ignore[attr-defined]
    return st.builds(carrier, *(fields.get(name, U32) for name in names))


def outcome(function: Any, value: Any) -> Any:
    try:
        return function(value)
    except (EncodeError, DecodeError) as error:
        return type(error)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_they_are_not_generic(carrier: type) -> None:
    assert type(codec(carrier)) is not Codec


@pytest.mark.parametrize("carrier", CARRIERS)
@given(data=st.data())
def test_carriers_of_data(carrier: type, data: st.DataObject) -> None:
    quick, generic = codec(carrier), generic_codec(carrier)
    value = data.draw(carried(carrier))
    encoded = quick.encode(value)
    assert encoded == generic.encode(value)
    assert quick.decode(encoded) == value


@pytest.mark.parametrize("carrier", CARRIERS)
@given(data=st.data())
def test_spoilt_carriers_of_data(carrier: type, data: st.DataObject) -> None:
    """What the one refuses the other refuses, and what it takes for something else, likewise."""
    quick, generic = codec(carrier), generic_codec(carrier)
    spoilt = bytearray(generic.encode(data.draw(carried(carrier))))
    for _ in range(data.draw(st.integers(1, 3))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(
            st.integers(0, 255) | st.sampled_from([0, 4, 8, 252, 255])
        )
    spoilt = spoilt[data.draw(st.sampled_from([0, 0, 0, 1, 4, 8])) :]
    assert outcome(quick.decode, bytes(spoilt)) == outcome(generic.decode, bytes(spoilt))


@given(value=RECEIVED)
def test_what_receive_gives(value: ActorReceived) -> None:
    quick, generic = ReceivedCodec(), generic_codec(ActorReceived)
    encoded = quick.encode(value)
    assert encoded == generic.encode(value)
    assert quick.decode(encoded) == value


@pytest.mark.parametrize(
    "value",
    [
        abi.IoFrame(0x10000, b"x"),
        abi.IoFrame(1, "text"),  # type: ignore[arg-type]
        abi.IoFrame(1, bytearray(b"bytes all the same")),  # type: ignore[arg-type]
        actor_types.ActorBody(b"", (-1,)),
        actor_types.ActorBody(b"", None),  # type: ignore[arg-type]
        ActorReceived(PlainMessage(-1, b"", ())),
        ActorReceived(PlainMessage(1, "text", ())),  # type: ignore[arg-type]
        ActorReceived(PlainMessage(1, bytearray(b"ab"), ())),  # type: ignore[arg-type]
        ActorReceived("text"),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_values_that_do_not_fit(value: Any) -> None:
    quick = ReceivedCodec() if isinstance(value, ActorReceived) else codec(type(value))
    found = outcome(quick.encode, value)
    assert found == outcome(generic_codec(type(value)).encode, value)
    assert not isinstance(found, bytearray)
