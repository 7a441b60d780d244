"""Hosts for the tests of cuts: network namespaces at the ports of a bridge, which is in a namespace, too.

The tests' own sockets are made in the namespace of the bridge while a test has hosts. A host is cut off by
taking its port from the bridge: nothing tells either side.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

__all__ = ["Hosts", "hosts"]

CLONE_NEWNET = 0x40000000

NAMESPACES = Path("/run/netns")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Hosts:
    """Hosts, each a namespace; numbers begin at 1.

    Attributes:
        address: of the tests themselves, and of servers that they run.
    """

    address = "10.0.0.254"

    def __init__(self, count: int) -> None:
        self._prefix = f"enfilade-{os.getpid()}"
        self._hub = f"{self._prefix}-hub"
        self._names = [self._hub]
        self._count = count

    @contextmanager
    def running(self) -> Iterator[None]:
        """Make them for the length of a block; skip the test where that cannot be."""
        with ExitStack() as stack:
            try:
                stack.callback(self._remove)
                self._make()
                stack.enter_context(self._inside())
            except (OSError, subprocess.CalledProcessError) as error:
                pytest.skip(f"needs namespaces of networks, and the program ip: {error}")
            yield
        assert not [each.name for each in NAMESPACES.glob(f"{self._prefix}-*")], "none is left"

    def _make(self) -> None:
        _ip("netns", "add", self._hub)
        _ip("-n", self._hub, "link", "set", "lo", "up")
        _ip("-n", self._hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._hub, "addr", "add", f"{self.address}/24", "dev", "bridge")
        _ip("-n", self._hub, "link", "set", "bridge", "up")
        for number in range(1, self._count + 1):
            name, port = self.name(number), f"port{number}"
            self._names.append(name)
            _ip("netns", "add", name)
            _ip(
                *("-n", self._hub, "link", "add", port, "type", "veth"),
                *("peer", "name", "eth0", "netns", name),
            )
            _ip("-n", self._hub, "link", "set", port, "master", "bridge", "up")
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "addr", "add", f"10.0.0.{number}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")

    def _remove(self) -> None:
        for name in self._names:
            if (NAMESPACES / name).exists():
                _ip("netns", "delete", name)

    @contextmanager
    def _inside(self) -> Iterator[None]:
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/proc/thread-self/ns/net").open() as own, (NAMESPACES / self._hub).open() as hub:
            if libc.setns(hub.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                libc.setns(own.fileno(), CLONE_NEWNET)

    def name(self, number: int) -> str:
        """The namespace of a host."""
        return f"{self._prefix}-{number}"

    def command(self, number: int) -> list[str]:
        """What comes before the words of a command that is to run on a host."""
        return ["ip", "netns", "exec", self.name(number)]

    def cut(self, number: int) -> None:
        """Cut a host off, without a word to anybody."""
        _ip("-n", self._hub, "link", "set", f"port{number}", "nomaster")

    def heal(self, number: int) -> None:
        """Undo a cut."""
        _ip("-n", self._hub, "link", "set", f"port{number}", "master", "bridge")

    def silence(self, number: int) -> None:
        """Drop what a host says; it hears the others."""
        _ip("-n", self.name(number), "route", "add", "blackhole", f"{self.address}/32")

    def hear(self, number: int) -> None:
        """Undo `silence`."""
        _ip("-n", self.name(number), "route", "delete", "blackhole", f"{self.address}/32")


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Two hosts."""
    made = Hosts(2)
    with made.running():
        yield made
