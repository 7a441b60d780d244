"""What a peer may send as a descriptor: files that keep waiting whoever closes them, and all other kinds."""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import platform
import select
import signal
import socket
import struct
import time
from collections.abc import Callable

__all__ = ["KINDS", "Lingering", "SilentFileSystem", "is_open", "of_kind", "within"]

LINGER_SECONDS = 30


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


class Lingering:
    """A socket whose closing takes until the other end reads what was sent, or is gone."""

    def __init__(self) -> None:
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            server.bind(("127.0.0.1", 0))
            server.listen(1)
            near = socket.socket()
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            near.connect(server.getsockname())
            self.far, _ = server.accept()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER_SECONDS))
        near.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                near.send(bytes(65536))
        self.fileno = near.detach()

    def let_go(self) -> None:
        self.far.close()


INIT, GETATTR, OPEN, FLUSH = 26, 3, 14, 25
HEADER, REPLY = struct.Struct("=IIQQIIII"), struct.Struct("=IiQ")
ATTRIBUTES = struct.pack("=QII", 1, 0, 0) + struct.pack("=QQQQQQ10I", *[1] + [0] * 8, 0o100644, 1, *[0] * 5)
ANSWERS = {
    INIT: struct.pack("=IIIIHHIIHHI28s", 7, 31, 65536, 0, 16, 12, 4096, 1, 0, 0, 0, b""),
    GETATTR: ATTRIBUTES,
    OPEN: struct.pack("=QII", 1, 0, 0),
}
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18


class SilentFileSystem:
    """A file system in user space with a single file, at a path, that does not answer when it is closed.

    Once it is hushed, it answers nothing.

    Raises:
        OSError: this process may mount nothing, or the system has no FUSE.
    """

    def __init__(self, path: str) -> None:
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        self._is_hushed = mmap.mmap(-1, 1)
        ready, tell = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._serve(path, tell)
            finally:
                os._exit(1)
        os.close(tell)
        try:
            if os.read(ready, 1) != b"r":
                os.close(self._device)
                os.waitpid(self._pid, 0)
                raise OSError(f"failed to mount a file system at {path!r}")
        finally:
            os.close(ready)

    def _serve(self, path: str, tell: int) -> None:
        """Mount it where nobody else sees it, and answer everything but FLUSH."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
            return
        options = f"fd={self._device},rootmode=100644,user_id=0,group_id=0,allow_other".encode()
        if libc.mount(b"silent", path.encode(), b"fuse", 0, options):
            return
        os.write(tell, b"r")
        while True:
            request = os.read(self._device, 1 << 17)
            code, number = HEADER.unpack_from(request)[1:3]
            if code == FLUSH or self._is_hushed[0]:
                select.select([], [], [])  # for ever
            answer = ANSWERS.get(code, b"")
            error = 0 if answer else -errno.ENOSYS
            os.write(self._device, REPLY.pack(REPLY.size + len(answer), error, number) + answer)

    def open(self, path: str) -> int:
        """Open the file, whose mount only its server sees."""
        return os.open(f"/proc/{self._pid}/root{path}", os.O_RDONLY | os.O_CLOEXEC)

    def hush(self) -> None:
        """Answer nothing from here on."""
        self._is_hushed[0] = 1

    def end(self) -> None:
        """End the file system: whoever waits for it is let go."""
        os.close(self._device)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _libc(name: str, *arguments: object) -> int:
    """A descriptor that Python has no function for."""
    libc = ctypes.CDLL(None, use_errno=True)
    number: int = getattr(libc, name)(*arguments)
    if number < 0:
        raise OSError(ctypes.get_errno(), f"{name} failed")
    return number


def _system_call(numbers: dict[str, int], *arguments: object) -> int:
    machine = platform.machine()
    if machine not in numbers:
        raise OSError(errno.ENOSYS, "the number of the system call is not known here")
    return _libc("syscall", ctypes.c_long(numbers[machine]), *arguments)


def _pipe(end: int) -> int:
    ends = os.pipe()
    os.close(ends[1 - end])
    return ends[end]


def _pair(kind: int) -> int:
    near, far = socket.socketpair(socket.AF_UNIX, kind)
    far.sendall(b"x")
    far.detach()  # its end is not seen by the other
    return near.detach()


def _socket(family: int, kind: int, protocol: int = 0) -> int:
    return socket.socket(family, kind, protocol).detach()


def _listening(family: int, kind: int) -> int:
    one = socket.socket(family, kind)
    one.bind(("127.0.0.1", 0) if family == socket.AF_INET else "")
    one.listen()
    return one.detach()


def _memory(size: int, written: bytes, seals: int, flags: int = 0) -> int:
    number = os.memfd_create("hostile", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | flags)
    os.ftruncate(number, size)
    os.pwrite(number, written, 0) if written else None
    fcntl.fcntl(number, fcntl.F_ADD_SEALS, seals)
    return number


def _busy_epoll() -> int:
    epoll = select.epoll()
    for _ in range(200):
        epoll.register(os.eventfd(0, os.EFD_CLOEXEC), select.EPOLLIN)
    number = os.dup(epoll.fileno())
    epoll.close()
    return number


def _locked() -> int:
    """A file with so many locks that it takes long to list them."""
    number = os.memfd_create("locked", os.MFD_CLOEXEC)
    os.ftruncate(number, 1 << 20)
    for at in range(0, 4000, 2):
        lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, at, 1, 0)
        fcntl.fcntl(number, fcntl.F_OFD_SETLK, lock)
    return number


ALL_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
UNIX, INET = socket.AF_UNIX, socket.AF_INET
STREAM, DATAGRAM, PACKETS = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET
IN_CREATE = 0x100

KINDS: dict[str, Callable[[], int]] = {
    "epoll": _busy_epoll,
    "eventfd": lambda: os.eventfd(1, os.EFD_CLOEXEC),
    "inotify": lambda: _libc("inotify_init1", os.O_CLOEXEC),
    "fanotify": lambda: _libc("fanotify_init", 0, os.O_RDONLY),
    "timerfd": lambda: _libc("timerfd_create", 1, os.O_CLOEXEC),
    "signalfd": lambda: _libc("signalfd", -1, ctypes.create_string_buffer(128), os.O_CLOEXEC),
    "pidfd": lambda: os.pidfd_open(os.getpid()),
    "userfaultfd": lambda: _system_call({"x86_64": 323, "aarch64": 282}, 1 | os.O_CLOEXEC),
    "secret_memory": lambda: _system_call({"x86_64": 447, "aarch64": 447}, os.O_CLOEXEC),
    "pipe_to_read": lambda: _pipe(0),
    "pipe_to_write": lambda: _pipe(1),
    "tcp": lambda: _socket(INET, STREAM),
    "tcp_listening": lambda: _listening(INET, STREAM),
    "udp": lambda: _socket(INET, DATAGRAM),
    "netlink": lambda: _socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "crypto": lambda: _socket(socket.AF_ALG, PACKETS),
    "unix_stream": lambda: _pair(STREAM),
    "unix_datagram": lambda: _pair(DATAGRAM),
    "unix_packets": lambda: _pair(PACKETS),
    "unix_unconnected": lambda: _socket(UNIX, PACKETS),
    "unix_listening": lambda: _listening(UNIX, PACKETS),
    "directory": lambda: os.open("/", os.O_RDONLY | os.O_DIRECTORY),
    "path": lambda: os.open("/", os.O_PATH),
    "link": lambda: os.open("/proc/self", os.O_PATH | os.O_NOFOLLOW),
    "file": lambda: os.open(__file__, os.O_RDONLY),
    "locked": _locked,
    "null": lambda: os.open("/dev/null", os.O_RDWR),
    "zero": lambda: os.open("/dev/zero", os.O_RDWR),
    "full": lambda: os.open("/dev/full", os.O_RDWR),
    "random": lambda: os.open("/dev/random", os.O_RDONLY),
    "terminal": lambda: os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY),
    "kernel_log": lambda: os.open("/dev/kmsg", os.O_RDONLY),
    "own_memory": lambda: os.open("/proc/self/mem", os.O_RDWR),
    "own_status": lambda: os.open("/proc/self/status", os.O_RDONLY),
    "namespace": lambda: os.open("/proc/self/ns/net", os.O_RDONLY),
    "memory_open_to_changes": lambda: _memory(100, b"x" * 100, 0),
    "memory_that_may_grow": lambda: _memory(100, b"x" * 100, ALL_SEALS & ~fcntl.F_SEAL_GROW),
    "memory_that_is_empty": lambda: _memory(0, b"", ALL_SEALS),
    "memory_that_is_sparse": lambda: _memory(1 << 40, b"x", ALL_SEALS),
    "memory_of_large_pages": lambda: _memory(2 << 20, b"", ALL_SEALS, os.MFD_HUGETLB),
}
"""How to open one of each kind."""


def of_kind(kind: str) -> int:
    """Open a descriptor.

    Raises:
        OSError: there is none of the kind here, or not for us.
    """
    return KINDS[kind]()
