"""The house rules of docs/architecture.md that a program can check: who may import whom, what lies where."""

import ast
import importlib
import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("actors", "hostcalls", "transport")
ACTORS = "actors"
FACADE = "enfilade"  # the package that the three are installed below

# The kernel: its rooms may name one another for the type checker, because a ref leads to a process, a process
# has its node, a node hands out refs. Whatever stands above it may know all of it.
KERNEL = ("messages", "processes", "node")

# Which room of `actors` may import what at run time, inside of functions too. A room is a folder, or a file
# beside the folders. For the type checker alone the same holds, but for the kernel.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "messages": (),
    "processes": ("messages",),
    "node": ("messages", "processes"),
    "system": KERNEL,
    "peers": (*KERNEL, "transport"),
    "guests": (*KERNEL, "hostcalls"),
    "supervision": (*KERNEL, "peers"),
    "patterns": (*KERNEL, "supervision"),
    "workers": (*KERNEL, "peers", "supervision", "transport.policy"),
    "opening": (*KERNEL, "peers", "workers"),
    "worker_main": ("opening", "workers", "transport.policy"),
}
OF_THE_TYPE_CHECKER = {**MAY_IMPORT, **dict.fromkeys(KERNEL, KERNEL)}

# Programs and tools, which stand above the runtime, and what users import from.
ABOVE = {"", "cli", "testing"}

EXPORTING = [*PACKAGES, "transport.doors", "hostcalls.engine", "actors.testing"]

TOP_LEVEL = {
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "Makefile",
    "README.md",
    "actors",
    "docs",
    "hostcalls",
    "pyproject.toml",
    "tests",
    "transport",
}

LONGEST_FILE = 600


def tracked(*patterns: str) -> list[Path]:
    """The files of the repository, or, outside of a checkout, every file that lies there."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode == 0:
        return [path for line in listing.stdout.splitlines() if (path := ROOT / line).is_file()]
    return [path for pattern in patterns or ("*",) for path in ROOT.rglob(pattern) if path.is_file()]


@attrs.frozen
class Import:
    """One import of a file: for the type checker alone, or at run time, inside of functions too."""

    importer: str
    imported: str
    line: int
    is_typing: bool


def imports_of(path: Path) -> Iterator[Import]:
    """The imports of a file, by the names of modules below the facade."""
    importer = module_of(path)
    pending: list[tuple[ast.AST, bool]] = [(ast.parse(path.read_text()), False)]
    while pending:
        node, is_typing = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += [(inner, True) for inner in node.body]
            pending += [(inner, is_typing) for inner in node.orelse]
            continue
        pending += [(inner, is_typing) for inner in ast.iter_child_nodes(node)]
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [below(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            # `from package import module` imports the module.
            inner = [below(f"{node.module}.{alias.name}") for alias in node.names]
            names = [name if is_module(name) else below(node.module) for name in inner]
        for name in dict.fromkeys(names):
            yield Import(importer, name, getattr(node, "lineno", 0), is_typing)


def below(name: str) -> str:
    return name.removeprefix(f"{FACADE}.")


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def imports_in(package: str) -> list[Import]:
    paths = sorted(ROOT.joinpath(*package.split(".")).rglob("*.py"))
    return [found for path in paths for found in imports_of(path)]


def room_of(module: str) -> str:
    """The room of a module of `actors`; what is not of `actors` stands for itself."""
    return module.removeprefix(ACTORS).lstrip(".").partition(".")[0] if is_within(module, ACTORS) else module


def is_within(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def is_ours(module: str) -> bool:
    return any(is_within(module, package) for package in (*PACKAGES, FACADE))


def circles(edges: dict[str, set[str]]) -> list[str]:
    """The modules that cannot be put on a level: those of a circle, and those above one."""
    return sorted(set(edges) - set(levels(edges)))


def levels(edges: dict[str, set[str]]) -> dict[str, int]:
    """How high each module stands: one above the highest that it imports."""
    found: dict[str, int] = {}
    while fit := {
        module: 1 + max((found[other] for other in others), default=-1)
        for module, others in edges.items()
        if module not in found and others <= found.keys()
    }:
        found.update(fit)
    return found


def import_edges(package: str) -> dict[str, set[str]]:
    """Who imports whom at run time, within a package; what a package only re-exports is left out."""
    within = [found for found in imports_in(package) if not found.is_typing]
    modules = {module_of(path) for path in ROOT.joinpath(*package.split(".")).rglob("*.py")}
    edges: dict[str, set[str]] = {module: set() for module in modules}
    for found in within:
        if is_within(found.imported, package) and found.imported not in (package, found.importer):
            edges[found.importer].add(found.imported)
    return edges


def rooms_imported(*, is_typing: bool) -> dict[str, set[str]]:
    """What each room of `actors` imports."""
    table: dict[str, set[str]] = {}
    for found in imports_in(ACTORS):
        room, other = room_of(found.importer), room_of(found.imported)
        if found.is_typing == is_typing and is_ours(found.imported) and room not in ("", other):
            table.setdefault(room, set()).add(other)
    return table


def test_packages_below() -> None:
    """hostcalls and transport import nobody else's package."""
    violations = [
        f"{found.importer}:{found.line} imports {found.imported}"
        for package in PACKAGES
        if package != ACTORS
        for found in imports_in(package)
        if is_ours(found.imported) and not is_within(found.imported, package)
    ]
    assert not violations, "\n".join(violations)


@pytest.mark.parametrize("is_typing", [False, True], ids=["run time", "type checker"])
def test_import_table(is_typing: bool) -> None:
    """Each room of actors imports what its row of the table says."""
    table = OF_THE_TYPE_CHECKER if is_typing else MAY_IMPORT
    violations = []
    for found in imports_in(ACTORS):
        room, other = room_of(found.importer), room_of(found.imported)
        if room in ABOVE or room == other or not is_ours(found.imported) or found.is_typing != is_typing:
            continue
        if not any(is_within(other, allowed) for allowed in table[room]):
            violations.append(f"{found.importer}:{found.line} imports {found.imported}")
    assert not violations, "\n".join(violations)


def test_every_room_has_its_row() -> None:
    """No folder and no file of actors lies beside the table."""
    rooms = {room_of(module_of(path)) for path in ROOT.joinpath(ACTORS).rglob("*.py")}
    assert rooms == set(MAY_IMPORT) | ABOVE


def test_few_rooms() -> None:
    """From above one sees fewer than fifteen rooms."""
    assert len(MAY_IMPORT.keys() | ABOVE) < 15


def test_no_import_circle() -> None:
    """Modules of actors can be put on levels, each above all that it imports at run time."""
    assert circles(import_edges(ACTORS)) == []


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


def test_private_names_stay_in_their_file() -> None:
    """Nobody imports a name with a leading underscore."""
    taken = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {alias.name}"
        for path in ROOT.joinpath(ACTORS).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and is_ours(node.module)
        for alias in node.names
        if alias.name.startswith("_")
    ]
    assert not taken, "\n".join(taken)


def test_top_level() -> None:
    """Nothing else lives at the top level but dot files."""
    names = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL


def test_file_length() -> None:
    """One concept a file, and no file over the limit."""
    too_long = {
        path.relative_to(ROOT).as_posix(): length
        for path in tracked("*.py", "*.c", "*.h")
        if (length := len(path.read_text().splitlines())) > LONGEST_FILE
    }
    assert not too_long


@pytest.mark.parametrize("package", EXPORTING)
def test_package_reexports_only(package: str) -> None:
    """A package's `__init__.py` re-exports its public names; three refuse to be imported by another name."""
    tree = ast.parse(ROOT.joinpath(*package.split("."), "__init__.py").read_text())
    for node in tree.body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        is_import = isinstance(node, ast.Import | ast.ImportFrom)
        source = ast.unparse(node)
        is_guard = package in PACKAGES and source.startswith(f"if __name__ != 'enfilade.{package}':")
        assert is_docstring or is_all or is_guard or is_import, source


@pytest.mark.parametrize("package", EXPORTING)
def test_exports_are_documented(package: str) -> None:
    """What a package exports says what it does."""
    module = importlib.import_module(f"enfilade.{package}")
    exported = module.__all__
    assert len(exported) == len(set(exported)), "a name is exported twice"
    documentable = {name: getattr(module, name) for name in exported}
    undocumented = [
        name
        for name, value in documentable.items()
        if (inspect.isclass(value) or inspect.isroutine(value)) and not inspect.getdoc(value)
    ]
    assert not undocumented


def test_nothing_left_for_later() -> None:
    """The packages hold no note to finish something later."""
    markers = re.compile(r"\b(TO" + "DO|FIX" + "ME|XX" + "X|NotImplemented" + r"Error)\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked("actors/*.py", "hostcalls/*.py", "transport/*.py", "*.c", "*.h")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if markers.search(line)
    ]
    assert not found, "\n".join(found)


def print_tables() -> None:
    """Print who imports whom, by rooms; and how many levels the modules of actors stand on."""
    running, typing = rooms_imported(is_typing=False), rooms_imported(is_typing=True)
    for room in MAY_IMPORT:
        print(f"{room:12} {', '.join(sorted(running.get(room, ())))}")
        if only := typing.get(room, set()) - running.get(room, set()):
            print(f"{'':12} for the type checker: {', '.join(sorted(only))}")
    stands = levels(import_edges(ACTORS))
    for level in range(max(stands.values()) + 1):
        print(f"{level:3} {' '.join(sorted(module for module in stands if stands[module] == level))}")


if __name__ == "__main__":
    print_tables()
