"""Nodes of `enfilade zone run`, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["line_with", "running", "zone"]

ZONE = """
[node]
name = "{name}"
zone = "east"
door = "{name}.door"
{node}

[[child]]
id = "{child}"
actor = "books:{actor}"
name = "{child}"
"""


def zone(
    place: Path,
    books: str,
    *,
    name: str = "bank",
    child: str = "ledger",
    actor: str = "Ledger",
    node: str = "",
) -> Path:
    """Write a zone file with one child, and the module that it is in.

    Args:
        place: the directory.
        books: the source of the module.
        name: the name of the node, and of its door.
        child: the id and the name of the child.
        actor: what the child is, in the module.
        node: more lines of the table of the node.
    """
    (place / "books.py").write_text(books)
    path = place / f"{name}.toml"
    path.write_text(ZONE.format(name=name, child=child, actor=actor, node=node))
    return path


@contextmanager
def running(path: Path, until: str = "runs at", **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run the node of a zone file for the length of a block.

    Args:
        path: the zone file.
        until: what it prints when it is as far as the block needs it.
        options: as of `subprocess.Popen`.
    """
    command = [sys.executable, "-m", "enfilade", "zone", "run", path.name]
    with subprocess.Popen(command, cwd=path.parent, stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            line_with(process.stdout, until)
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:  # its loop is held
                process.kill()


def line_with(stream: Any, text: str) -> str:
    """The next line of a stream that has that text."""
    seen: list[str] = []
    while not seen or text not in seen[-1]:
        seen.append(stream.readline())
        assert seen[-1], f"no {text!r} in {''.join(seen)}"
    return seen[-1]
