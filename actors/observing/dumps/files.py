"""The dump files of a node, and those that it leaves when it ends in another way than it should."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.blocks import block
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.hooks import Listener
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_str
from enfilade.actors.observing.dumps.dump import dump, text_of, written

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["KEPT", "DumpFiles", "dumping_while_held", "leaving_crash_dumps"]

KEPT: Final = 10
"""How many dump files of a node are kept."""


class DumpFiles:
    """The directory of the dump files of a node.

    Args:
        node: the node.
        directory: where they are written; it is made, for the owner alone, with the first of them.
    """

    def __init__(self, node: Node, directory: Path) -> None:
        self.node = node
        self.directory = directory

    @attempt(None)
    def write(self, cause: str, reason: str = "") -> None:
        """Write a dump to a file, or to standard error if no file can be written. Not a checkpoint.

        The file is named for the moment, the process and the cause; the oldest beyond the last ten go. A
        reader finds it whole, or not at all.
        """
        content = b"".join(written(dump(self.node, cause=cause, reason=reason)))
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            made = sorted(self.directory.glob("*.jsonl"))
            for old in made[: max(0, len(made) - KEPT + 1)]:
                old.unlink(missing_ok=True)
            path = self.directory / f"{moment}-{os.getpid()}-{time.monotonic_ns()}-{cause}.jsonl"
            _write_whole(path, content)
            log(logging.WARNING, "%s has left a dump: enfilade dump show %s", self.node.full_name, path)
        except OSError as error:
            self.show(cause, f"{reason}; no file can be written to {self.directory}: {error.strerror}")

    @attempt(None)
    def show(self, cause: str, reason: str = "") -> None:
        """Write a dump to standard error, as text. Not a checkpoint."""
        for line in text_of(dump(self.node, cause=cause, reason=reason)):
            sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file, which a reader finds whole or not at all. Raises OSError, and leaves nothing then."""
    hidden = path.with_suffix(".part")
    try:
        with open(os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        hidden.rename(path)
    except OSError:
        hidden.unlink(missing_ok=True)
        raise


@block
def leaving_crash_dumps(files: DumpFiles) -> Iterator[None]:
    """For the length of a block, have a dump written when the node does not end as it should: an error of its
    own stops it, its shutdown is over before its processes are, or a process cannot be killed.
    """
    return _listening(files.node, _Ends(files))


@block
def dumping_while_held(files: DumpFiles) -> Iterator[None]:
    """For the length of a block, have a dump written whenever the watchdog finds that the loop is held."""
    return _listening(files.node, _Holds(files))


def _listening(node: Node, listener: Listener) -> Iterator[None]:
    node.hooks.add(listener)
    try:
        yield
    finally:
        node.hooks.remove(listener)


class _Holds(Listener):
    def __init__(self, files: DumpFiles) -> None:
        self._files = files

    def loop_caught(self, words: str) -> None:
        self._files.write("held", words)


class _Ends(Listener):
    """Writes a dump at each end that should not be, the first of each kind."""

    def __init__(self, files: DumpFiles) -> None:
        self._files = files
        self._kinds: set[str] = set()

    def _write(self, kind: str, reason: str) -> None:
        if kind not in self._kinds:
            self._kinds.add(kind)
            self._files.write("crash", reason)

    def node_stopping(self, fatal: BaseException | None) -> None:
        if fatal is not None and not isinstance(fatal, KeyboardInterrupt | SystemExit):
            self._write("fatal", f"the node has failed: {type(fatal).__name__}: {safe_str(fatal)}")

    def grace_over(self, left: int) -> None:
        self._write("grace", f"the shutdown was over before {left} processes had ended; they are killed")

    def process_unkillable(self, ref: Ref[Any], frames: str) -> None:
        self._write("unkillable", f"{safe_str(ref)} was killed and did not end")
