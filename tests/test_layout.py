"""The house rules of docs/architecture.md that a program can check: who may import whom, what lies where."""

import ast
import functools
import importlib
import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.houses import ACTORS, FACADE, HOUSES, PACKAGES, ROOT, House, Import, is_ours, is_within

every_house = pytest.mark.parametrize("house", HOUSES, ids=lambda house: house.package)

EXPORTING = [*PACKAGES, "transport.doors", "hostcalls.engine", "actors.simulation", "actors.testing"]

TOP_LEVEL = {
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "actors",
    "docs",
    "hostcalls",
    "pyproject.toml",
    "tests",
    "transport",
}

LONGEST_FILE = 600
MOST_BY_POSITION = 8


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


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text())


@functools.cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a file's syntax tree."""
    return tuple(ast.walk(parsed(path)))


@pytest.fixture(scope="module", autouse=True)
def forgotten_trees() -> Iterator[None]:
    """The trees of all files are large: nobody else's test shall have them in memory."""
    yield
    parsed.cache_clear()
    nodes_of.cache_clear()


def imports_of(path: Path) -> Iterator[Import]:
    """The imports of a file, by the names of modules below the facade."""
    importer = module_of(path)
    pending: list[tuple[ast.AST, bool]] = [(parsed(path), False)]
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


@functools.cache
def is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


@functools.cache
def imports_in(package: str) -> tuple[Import, ...]:
    paths = sorted(ROOT.joinpath(*package.split(".")).rglob("*.py"))
    return tuple(found for path in paths for found in imports_of(path))


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


def import_edges(house: House, *, with_types: bool) -> dict[str, set[str]]:
    """Who imports whom within a package; what it only re-exports, and what is compiled, is left out.

    For the type checker, the acquaintance within the kernel does not count.
    """
    edges: dict[str, set[str]] = {module_of(path): set() for path in house.folder.rglob("*.py")}
    for found in imports_in(house.package):
        counts = with_types and not house.is_within_kernel(found) if found.is_typing else True
        if counts and found.imported in edges:
            edges[found.importer] |= {found.imported} - {house.package, found.importer}
    return edges


def rooms_imported(house: House, *, is_typing: bool) -> dict[str, set[str]]:
    """What each room of a package imports."""
    table: dict[str, set[str]] = {}
    for found in imports_in(house.package):
        room, other = house.room_of(found.importer), house.room_of(found.imported)
        if found.is_typing == is_typing and is_ours(found.imported) and room not in ("", other):
            table.setdefault(room, set()).add(other)
    return table


def test_packages_below() -> None:
    """hostcalls and transport import nobody else's package."""
    violations = [
        f"{found.importer}:{found.line} imports {found.imported}"
        for package in PACKAGES
        if package != ACTORS.package
        for found in imports_in(package)
        if is_ours(found.imported) and not is_within(found.imported, package)
    ]
    assert not violations, "\n".join(violations)


@every_house
def test_import_table(house: House) -> None:
    """Each room of a package imports what its row of the table says."""
    violations = [
        f"{found.importer}:{found.line} imports {found.imported}"
        for found in imports_in(house.package)
        if not house.allows(found)
    ]
    assert not violations, "\n".join(violations)


@every_house
def test_every_room_has_its_row(house: House) -> None:
    """No folder and no file lies beside the table, and no row is left of one that has gone."""
    rooms = {house.room_of(module_of(path)) for path in house.folder.rglob("*.py")}
    assert rooms == {*house.may_import, *house.above}


def test_few_rooms() -> None:
    """From above one sees fewer than fifteen folders of actors, and few files beside them."""
    places = [path for path in tracked("actors") if path.suffix == ".py"]
    rooms = {path.relative_to(ROOT / "actors").parts[0] for path in places}
    files = {name for name in rooms if name.endswith(".py")}
    assert len(rooms - files) < 15
    assert files == {"__init__.py", "logs.py", "opening.py", "public.py", "system.py", "worker_main.py"}


@every_house
@pytest.mark.parametrize("with_types", [False, True], ids=["run time", "type checker"])
def test_no_import_circle(house: House, with_types: bool) -> None:
    """Modules of a package can be put on levels, each above all that it imports."""
    assert circles(import_edges(house, with_types=with_types)) == []


@pytest.mark.parametrize(
    ("importer", "imported", "is_typing", "is_allowed"),
    [
        ("messages.ref", "processes.process", False, False),
        ("messages.ref", "processes.process", True, True),
        ("messages.ref", "peers.tokens", True, False),
        ("processes.process", "messages.ref", False, True),
        ("peers.tokens", "node.node", True, True),
        ("peers.tokens", "supervision.children", True, False),
        ("cli.doctor", "peers.tokens", False, True),
    ],
)
def test_tables_are_applied(importer: str, imported: str, is_typing: bool, is_allowed: bool) -> None:
    """Only the kernel may do more for the type checker than at run time."""
    found = Import(f"actors.{importer}", f"actors.{imported}", 1, is_typing)
    assert ACTORS.allows(found) == is_allowed


def test_only_the_kernel_may_be_a_circle_of_types() -> None:
    """An import under `TYPE_CHECKING` counts like any other, unless both ends are of the kernel."""
    within = Import("actors.messages.ref", "actors.node.node", 1, is_typing=True)
    beside = Import("actors.peers.ledger", "actors.node.node", 1, is_typing=True)
    assert [ACTORS.is_within_kernel(found) for found in (within, beside)] == [True, False]
    assert "actors.node.node" not in import_edges(ACTORS, with_types=True)["actors.messages.ref"]
    assert "actors.node.node" in import_edges(ACTORS, with_types=True)["actors.peers.ledger"]


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


def test_private_names_are_not_imported() -> None:
    """Nobody imports a name with a leading underscore, but a module of the same package."""
    taken = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {alias.name}"
        for package in PACKAGES
        for path in ROOT.joinpath(package).rglob("*.py")
        for node in nodes_of(path)
        if isinstance(node, ast.ImportFrom) and node.module and is_ours(node.module)
        for alias in node.names
        if alias.name.startswith("_") and alias.name != "__all__"
        if not is_module(below(f"{node.module}.{alias.name}"))
    ]
    assert not taken, "\n".join(taken)


@pytest.mark.parametrize("folder", ["actors/peers", "transport"])
def test_private_attributes_stay_in_their_file(folder: str) -> None:
    """An attribute with a leading underscore is used where it is defined, or by a subclass of its own."""
    taken = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for path in ROOT.joinpath(folder).glob("*.py")
        for own in [private_definitions(path)]
        for node in nodes_of(path)
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own
        if ast.unparse(node.value) != "self"
    ]
    assert not taken, "\n".join(taken)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def private_definitions(path: Path) -> set[str]:
    """The names with a leading underscore that a file binds: functions, classes, attributes, slots."""
    found: set[str] = set()
    for node in nodes_of(path):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Attribute(attr=name, value=ast.Name("self"), ctx=ast.Store()):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
    return {name for name in found if is_private(name)}


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
    """A package's `__init__.py` re-exports its public names; three refuse to be imported by another name.

    Those of `actors`, which loads them later, stand in `public.py`.
    """
    folder = ROOT.joinpath(*package.split("."))
    names = folder / "public.py"
    for node in parsed(names if names.is_file() else folder / "__init__.py").body:
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


def test_loggers_are_below_the_facade() -> None:
    """Every logger of the packages is below `enfilade`, so that one setting reaches them all."""
    names = {
        f"{path.relative_to(ROOT)}:{node.lineno}": node.args[0] if node.args else None
        for package in PACKAGES
        for path in ROOT.joinpath(package).rglob("*.py")
        for node in nodes_of(path)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "getLogger"
    }
    assert len(names) > 5
    outside = [
        place
        for place, name in names.items()
        if not (isinstance(name, ast.Constant) and is_within(str(name.value), FACADE))
    ]
    assert not outside, "\n".join(outside)


OUTSIDERS = {"textual": "actors/cli/observe/terminal", "wsproto": "actors/cli/observe/web"}
"""Packages of an extra that only one folder may import: who has not installed it uses the rest."""


@pytest.mark.parametrize("package", OUTSIDERS)
def test_packages_of_an_extra_stay_in_their_folder(package: str) -> None:
    importers = {
        found.importer.rpartition(".")[0].replace(".", "/")
        for house in HOUSES
        for found in imports_in(house.package)
        if is_within(found.imported, package)
    }
    assert importers == {OUTSIDERS[package]}


def test_many_arguments_are_named() -> None:
    """A call with many arguments says which is which; functions of C and `struct` take them by position."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node.func)}"
        for package in PACKAGES
        for path in ROOT.joinpath(package).rglob("*.py")
        for node in nodes_of(path)
        if isinstance(node, ast.Call) and len(node.args) > MOST_BY_POSITION
        if not ast.unparse(node.func).startswith(("lib.", "struct.pack"))
    ]
    assert not found, "\n".join(found)


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
    """Print who imports whom, by rooms; and how many levels the modules of each package stand on."""
    for house in HOUSES:
        print(house.package)
        running, typing = (rooms_imported(house, is_typing=each) for each in (False, True))
        for room in house.may_import:
            print(f"{room:15} {', '.join(sorted(running.get(room, ())))}")
            if only := typing.get(room, set()) - running.get(room, set()):
                print(f"{'':15} for the type checker: {', '.join(sorted(only))}")
        stands = levels(import_edges(house, with_types=False))
        for level in range(max(stands.values()) + 1):
            print(f"{level:3} {' '.join(sorted(module for module in stands if stands[module] == level))}")


if __name__ == "__main__":
    print_tables()
