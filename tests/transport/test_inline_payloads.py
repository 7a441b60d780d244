"""Payloads around the sizes at which they change their way of travelling."""

from typing import Any

import msgspec
import pytest

from enfilade.transport import Codec, TypeRegistry
from enfilade.transport.atoms import INLINE_LIMIT, LONGEST_INLINE

types = TypeRegistry()


class CountingEncoder:
    """An encoder that counts how often it makes something long."""

    def __init__(self) -> None:
        self.long = 0
        self._encoder = msgspec.msgpack.Encoder()

    def encode(self, value: Any) -> bytes:
        data = self._encoder.encode(value)
        self.long += len(data) > 1000
        return data


@pytest.mark.parametrize("kind", [str, bytes])
@pytest.mark.parametrize("limit", [2**16, 2**17, LONGEST_INLINE, INLINE_LIMIT])
@pytest.mark.parametrize("excess", [-6, -5, -1, 0, 1, 5])
def test_nothing_is_encoded_twice(kind: type[Any], limit: int, excess: int) -> None:
    """Whether something long goes inline is known before it is encoded, or costs no second encoding."""
    value = "x" * (limit + excess) if kind is str else b"x" * (limit + excess)
    for encode in (lambda codec: codec.encode(value), lambda codec: codec.encode_arguments((value, 1), {})):
        codec = Codec(types)
        codec._encoder = counting = CountingEncoder()  # type: ignore[assignment]
        payload, descriptors = encode(codec)
        assert counting.long <= 1
        again = Codec(types).decode(payload, descriptors)
        assert again in (value, [[value, 1], {}])
