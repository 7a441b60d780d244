"""Runs one page of the documentation, as its reader would.

Run as `python page.py PAGE` in an empty directory. A page is a list of fenced blocks, taken in order:

* ```` ```python ````: executed; all such blocks of a page share one namespace, as in one long session;
* ```` ```LANGUAGE name=FILE ````: written to FILE in the working directory (and not executed by itself);
* ```` ```console ````: every line that starts with `$ ` is run by bash and must succeed; the lines below it,
  if any, are what it prints, where `...` stands for anything, as in doctest.

Blocks in other languages are prose. A page whose first line is `<!-- page is not executed: REASON -->` is
left alone.
"""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import attrs

FENCE = re.compile(r"^```(?P<language>[\w{}-]*)[ ]*(?P<info>[^\n]*)\n(?P<body>.*?)^```[ ]*$", re.M | re.S)
NAMED = re.compile(r"\bname=(\S+)")
COMMAND_SECONDS = 300


@attrs.frozen
class Block:
    language: str
    name: str | None
    body: str
    line: int


def blocks(text: str) -> list[Block]:
    found = []
    for match in FENCE.finditer(text):
        named = NAMED.search(match["info"])
        line = text.count("\n", 0, match.start()) + 2
        found.append(Block(match["language"], named[1] if named else None, match["body"], line))
    return found


def commands(body: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output that the page shows for it."""
    found: list[tuple[str, str]] = []
    for line in body.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:].rstrip("\n"), ""))
        elif found:
            command, output = found[-1]
            found[-1] = (command, output + line)
    return found


def run_command(command: str, expected: str, where: str) -> None:
    result = subprocess.run(
        ["bash", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if result.returncode != 0:
        raise AssertionError(f"{where}: `{command}` ended with status {result.returncode}:\n{result.stdout}")
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if expected.strip() and not doctest.OutputChecker().check_output(expected, result.stdout, flags):
        raise AssertionError(f"{where}: `{command}` printed\n{result.stdout}where the page shows\n{expected}")


def run_page(path: Path) -> None:
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(path.read_text()):
        where = f"{path.name}:{block.line}"
        if block.name is not None:
            file = Path(block.name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.body)
        elif block.language == "python":
            # Padding keeps the page's own line numbers in tracebacks.
            exec(compile("\n" * (block.line - 1) + block.body, str(path), "exec"), namespace)
        elif block.language == "console":
            for command, expected in commands(block.body):
                run_command(command, expected, where)


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    run_page(Path(sys.argv[1]))
