"""File descriptors as parts of messages, of kinds that are not like others."""

import ctypes
import os
import sys

import pytest

from enfilade.transport import Codec, FileDescriptor, PayloadError, TypeRegistry
from tests.descriptors import open_descriptors


def io_uring() -> int:
    """A descriptor that the kernel gives to no other process."""
    number = ctypes.CDLL(None, use_errno=True).syscall(425, 4, ctypes.create_string_buffer(120))
    if number < 0:
        pytest.skip("this system has no io_uring")
    return int(number)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
def test_a_descriptor_that_cannot_travel_fails_its_message_alone() -> None:
    """Found before it is handed over, where it would end the node link."""
    pipe, ring = os.pipe(), io_uring()
    before = len(open_descriptors())
    codec = Codec(TypeRegistry())
    with pytest.raises(PayloadError, match="io_uring belongs to one process"):
        codec.encode([FileDescriptor(pipe[0]), FileDescriptor(ring)])
    assert len(open_descriptors()) == before
    for fileno in (*pipe, ring):
        os.close(fileno)
