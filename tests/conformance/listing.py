"""Which test checks which conformance case: docs/conformance.md, made from the names of the tests.

A test carries the ids of its cases in its name (`test_door_b11_...`), or as the id of a parameter
(`"act-F3"`). Run `python -m tests.conformance.listing` to write the page again.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "conformance.md"
CASES = frozenset(Path(__file__).with_name("cases.txt").read_text().split())
"""The ids of all conformance cases."""

UNTESTED = frozenset(Path(__file__).with_name("untested.txt").read_text().split())
"""The cases that no test checks: what is not built, or not tried."""

SUITES = {
    "act": "Actors",
    "door": "Doors",
    "chan": "Channels",
    "abi": "Guest ABI",
    "net": "Network",
    "obs": "Observation",
    "sim": "Simulation",
    "mesh": "Mesh",
}
IN_NAME = re.compile(rf"(?<![a-z])({'|'.join(SUITES)})_([a-z]?\d+)(?![0-9a-z])", re.I)
IN_TEXT = re.compile(rf"^({'|'.join(SUITES)})-([A-Z]?\d+)$")

HEAD = """\
# Conformance

Every conformance case that is tested, and the tests that carry its id. `act` are the semantics of processes
and supervision, derived from OTP's own test suites and from runs of Erlang; `door` are the observable rules
of illumos doors; `chan` those of the guest ABI's channels; `net` those of its network; `abi` are
its twelve points that a host must get right first; `obs` are about what a node tells of itself, `sim` about
the simulation, `mesh` about nodes on several machines. Cases that only illumos can show are skipped
elsewhere, with the reason. What has no test is at the end. This page is made by
`python -m tests.conformance.listing`.
"""


def cases(path: Path) -> Iterator[tuple[str, str, str]]:
    """Suite, case and test for every id in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
            continue
        for suite, number in IN_NAME.findall(node.name):
            yield suite, number.upper(), node.name
        for decorator in node.decorator_list:
            for constant in ast.walk(decorator):
                if isinstance(constant, ast.Constant) and (match := IN_TEXT.match(str(constant.value))):
                    yield match[1], match[2], node.name


def order(case: str) -> tuple[str, int]:
    """By group, then by number."""
    group = case.rstrip("0123456789")
    return group, int(case.removeprefix(group))


def by_suite(case: str) -> tuple[int, tuple[str, int]]:
    """By suite, then as within one."""
    suite, _, number = case.partition("-")
    return list(SUITES).index(suite), order(number)


def listing() -> str:
    """The page."""
    found: dict[str, dict[str, set[str]]] = {suite: defaultdict(set) for suite in SUITES}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = path.relative_to(ROOT / "tests").as_posix()
        for suite, case, test in cases(path):
            found[suite][case].add(f"`{name}`: `{test}`")
    lines = [HEAD]
    for suite, title in SUITES.items():
        lines += [f"## {title} ({len(found[suite])} cases)", "", "| case | tests |", "|---|---|"]
        for case in sorted(
            found[suite],
            key=lambda case: (case.rstrip("0123456789"), int(case.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))),
        ):
            lines.append(f"| {suite}-{case} | {'<br>'.join(sorted(found[suite][case]))} |")
        lines.append("")
    lines += [f"## Without a test ({len(UNTESTED)} cases)", "", ", ".join(sorted(UNTESTED, key=by_suite)), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(listing())
