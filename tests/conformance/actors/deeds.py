"""What a process does to another one over a node link, at once: the words of random and of crossing tests."""

from typing import Any, Final

from enfilade.actors import KILL, Custom, Process, Ref

BOOM: Final = Custom("boom")

DEEDS: Final = ("link", "unlink", "relink", "die", "end", "kill")


def do(deed: str, process: Process, other: Ref[Any]) -> None:
    """Have a process do one of `DEEDS` to another one, or to itself."""
    match deed:
        case "link":
            process.link(other)
        case "unlink":
            process.unlink(other)
        case "relink":
            process.unlink(other)
            process.link(other)
        case "die":
            process.exit(process.ref, BOOM)
        case "end":
            process.exit(other, BOOM)
        case "kill":
            process.exit(other, KILL)
        case _:
            raise ValueError(deed)
