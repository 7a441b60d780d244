"""A report of what this machine offers, in plain words."""

import importlib.metadata
import platform
import shutil
import sys
from collections.abc import Callable, Sequence

import attrs
from rich.console import Console
from rich.table import Table


@attrs.frozen
class Finding:
    """The result of one check: whether the thing is present, and what follows."""

    topic: str
    present: bool
    detail: str
    needed: bool = True


def _python() -> Finding:
    trio_version = importlib.metadata.version("trio")
    supported = (3, 11) <= sys.version_info[:2] <= (3, 14)
    detail = f"{platform.python_implementation()} {platform.python_version()}, trio {trio_version}"
    return Finding("Python", supported, detail if supported else f"{detail}: 3.11 to 3.14 is supported")


def _core() -> Finding:
    from enfilade.actors.core import choice
    from enfilade.actors.messages.loop_bypass import IS_AVAILABLE

    obstacle = choice.CHOICE.why_python()
    core = f"in Python ({obstacle})" if obstacle else "compiled"
    steps = "steps of tasks beside trio's loop" if IS_AVAILABLE else "every step of a task by trio's loop"
    return Finding("core", not obstacle, f"{core}; {steps}", needed=False)


def _ways() -> Finding:
    try:
        from enfilade.transport.core import choice
    except ImportError as error:
        return Finding("node links", False, str(error), needed=False)
    obstacle = choice.CHOICE.why_python()
    ways = f"in Python ({obstacle})" if obstacle else "compiled"
    return Finding("node links", not obstacle, f"ways of a frame {ways}", needed=False)


def _doors() -> Finding:
    try:
        from enfilade.transport.doors import Capabilities
    except ImportError as error:
        return Finding("doors", False, f"the compiled part is missing ({error}): run `pip install .` again")
    if Capabilities.HANDOFF in Capabilities.here():
        return Finding("doors", True, "the system's own")
    return Finding("doors", True, "emulated on sockets; docs/doors.md lists the differences")


def _wasmtime() -> Finding:
    version = importlib.metadata.version("wasmtime")
    try:
        from enfilade.hostcalls.engine import Engine

        Engine().close()
    except (ImportError, OSError, RuntimeError) as error:
        return Finding("WebAssembly", False, f"wasmtime {version} does not start: {error}")
    return Finding("WebAssembly", True, f"wasmtime {version}, guests on fibers, preempted by epochs")


def _namespaces() -> Finding:
    from enfilade.transport.namespaces import KINDS, available

    if not sys.platform.startswith("linux"):
        return Finding(
            "namespaces", False, "exist on Linux only; here the system provides zones", needed=False
        )
    kinds = available()
    if not kinds:
        detail = "not permitted here: the demo's zones are plain processes"
    elif set(kinds) == set(KINDS):
        detail = "a zone gets its own " + ", ".join(kinds)
    else:
        missing = ", ".join(kind for kind in KINDS if kind not in kinds)
        detail = f"a zone gets its own {', '.join(kinds)}, but not {missing}"
    return Finding("namespaces", bool(kinds), detail, needed=False)


def _tool(topic: str, names: tuple[str, ...], purpose: str) -> Callable[[], Finding]:
    def look() -> Finding:
        path = next((found for name in names if (found := shutil.which(name))), None)
        detail = f"{path}: {purpose}" if path else f"none of {', '.join(names)} on the PATH: no {purpose}"
        return Finding(topic, path is not None, detail, needed=False)

    return look


CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _core,
    _ways,
    _doors,
    _wasmtime,
    _namespaces,
    _tool("C compiler", ("cc", "gcc", "clang"), "building from source"),
    _tool("clang for wasm", ("wasm-ld", "wasm-ld-14", "wasm-ld-19"), "guests written in C"),
    _tool("Erlang", ("erl",), "comparing supervision with OTP in the tests"),
)


def run_doctor(further: Sequence[Finding] = ()) -> int:
    """Print a table of findings; the status is 0 when everything that the runtime needs is there, else 1.

    Args:
        further: findings about what the user has asked for beside the machine.
    """
    findings = [*(check() for check in CHECKS), *further]
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        mark = "[green]yes[/]" if finding.present else ("[red]no[/]" if finding.needed else "[yellow]no[/]")
        table.add_row(finding.topic, mark, finding.detail)
    console = Console()
    console.print(table)
    missing = [finding.topic for finding in findings if finding.needed and not finding.present]
    if missing:
        console.print(f"\nEnfilade does not run here: {', '.join(missing)}.")
        return 1
    console.print("\nEnfilade runs here.")
    return 0
