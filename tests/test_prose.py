"""The rules of English that a program can check: openings of docstrings, words of error and log messages."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

HELD = ("actors", "hostcalls", "transport", "docs/examples")
"""The folders and files that are held to the rules."""

OPENING = re.compile(r"(What|Whether|Who|Whom|Whose|How|Whoever|Whatever)\b")
"""Words that no docstring opens with: it opens with an imperative verb or a noun phrase."""

HELP_OPENING = re.compile(rf"{OPENING.pattern}|(?:Where|Which|So)\b")
"""The same of help texts, which are noun phrases or imperatives, too."""

WORDS = re.compile(
    r"\b((?<!there )(?:is|are) no (?!longer|more)|(?:is|are) none\b|there (?:is|are) not\b"
    r"|(?:whoever|whatever|somebody|anybody|nobody|borne|told|unlike)\b|in vain\b|for want of\b|by and by\b"
    r"|must be (?:a )?texts?\b|whole number|from \d+ on\b|in the place of\b|at hand\b)",
    re.IGNORECASE,
)
"""Words that no message contains: negation as in German, archaic words, persons in the place of things."""

PAGES = re.compile(
    r"\b((?<!there )(?:is|are|was|were) no (?!longer|more|\*)|there (?:is|are) not\b|(?:whoever|borne|anew)\b"
    r"|in vain\b|for want of\b|by and by\b|(?<!there )(?:is|are|was|were) no more\b(?! than)"
    r"|in the place of\b"
    r"|as ever\b|ever after\b|sees? to it\b|in wrong hands\b|others than\b|something else than\b"
    r"|nothing of (?:this|that)\b|in the run before\b|in the last \w+ runs\b)",
    re.IGNORECASE,
)
"""Words that no page contains: negation and phrases as in German, archaic words, tales of earlier figures."""

READ = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs")
"""The pages that are held to the rules: all that people write."""

MADE = {"docs/conformance.md"}
"""Pages that a program writes, from texts that are held to the rules elsewhere."""

LOGGERS = {"log", "logger"}

Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def python_files(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))


def public_definitions(parent: Definition) -> Iterator[Definition]:
    """Yield a definition and the public ones inside of it; what a function defines is its own affair."""
    yield parent
    if isinstance(parent, ast.Module | ast.ClassDef):
        for node in parent.body:
            if isinstance(node, Definition) and not node.name.startswith("_"):
                yield from public_definitions(node)


def poor_openings(source: str) -> list[str]:
    """List the public definitions of a file whose docstrings open with a forbidden word."""
    return [
        f"{getattr(node, 'lineno', 1)}: {text.splitlines()[0]}"
        for node in public_definitions(ast.parse(source))
        if (text := ast.get_docstring(node)) and OPENING.match(text)
    ]


def is_logging(call: ast.Call) -> bool:
    """Tell whether a call logs: a method of `logger`, or of a `log` that a module holds."""
    if not isinstance(call.func, ast.Attribute):
        return False
    return ast.unparse(call.func.value).rpartition(".")[2] in LOGGERS


def messages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the texts inside `raise` statements and calls of loggers, with the values in them left out."""
    for node in ast.walk(tree):
        said: ast.AST | None = None
        if isinstance(node, ast.Raise):
            said = node.exc
        elif isinstance(node, ast.Call) and is_logging(node):
            said = node
        if said is None:
            continue
        for part in ast.walk(said):
            if isinstance(part, ast.JoinedStr):
                pieces = (piece.value if isinstance(piece, ast.Constant) else "{}" for piece in part.values)
                yield part.lineno, "".join(map(str, pieces))
            elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.lineno, part.value


def helps(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the texts of command-line help: what is given as `help=`, and the docstrings of commands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(map(is_command, node.decorator_list)):
            yield node.lineno, (ast.get_docstring(node) or "").partition("\f")[0]
        if isinstance(node, ast.keyword) and node.arg == "help":
            for part in ast.walk(node.value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value


def is_command(decorator: ast.expr) -> bool:
    """Tell whether a decorator is `@app.command(...)`."""
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(function, ast.Attribute) and function.attr == "command"


MARKUP = re.compile(r"(?<!\\)\[[a-z/#@]")
"""What rich takes for markup in a help text: it is not shown."""


def poor_helps(source: str) -> list[str]:
    """List the help texts that open with a forbidden word, contain one, or lose a part as markup."""
    found = helps(ast.parse(source))
    poor = (HELP_OPENING.match, WORDS.search, MARKUP.search)
    return [f"{line}: {text}" for line, text in found if any(finds(text) for finds in poor)]


def poor_messages(source: str) -> list[str]:
    """List the error and log messages of a file that contain a forbidden word."""
    found = {(line, text) for line, text in messages(ast.parse(source)) if WORDS.search(text)}
    return [f"{line}: {text}" for line, text in sorted(found)]


@pytest.mark.parametrize("place", HELD)
@pytest.mark.parametrize("offenders", [poor_openings, poor_messages, poor_helps])
def test_prose(place: str, offenders: Callable[[str], list[str]]) -> None:
    """Public docstrings do not open with What, Whether, Who or How; error and log messages say "is not a",
    name the thing that they are about, and use today's words; help texts do all of that.
    """
    found = [
        f"{path.relative_to(ROOT)}:{offender}"
        for path in python_files(place)
        for offender in offenders(path.read_text())
    ]
    assert not found, "\n".join(found)


def poor_prose(page: str) -> list[str]:
    """List the lines of a page, outside of its blocks of code, that contain a forbidden word."""
    found, is_code = [], False
    for number, line in enumerate(page.splitlines(), 1):
        is_code ^= line.startswith("```")
        if not is_code and PAGES.search(line):
            found.append(f"{number}: {line}")
    return found


@pytest.mark.parametrize("place", READ)
def test_prose_of_pages(place: str) -> None:
    path = ROOT / place
    pages = [path] if path.is_file() else sorted(path.rglob("*.md"))
    pages = [page for page in pages if str(page.relative_to(ROOT)) not in MADE]
    assert pages
    found = [f"{page.relative_to(ROOT)}:{line}" for page in pages for line in poor_prose(page.read_text())]
    assert not found, "\n".join(found)


def test_poor_prose_is_found() -> None:
    page = "It is no door.\n```\nit is no door\n```\nThere is no door.\nIt is no longer one.\nWhoever asks.\n"
    page += "It is no more.\nThere is no more.\nIt is no more than that.\n"
    assert [line.partition(":")[0] for line in poor_prose(page)] == ["1", "7", "8"]


@pytest.mark.parametrize("place", HELD)
def test_held_places_exist(place: str) -> None:
    """A place that was moved does not drop out of the rules unnoticed."""
    assert python_files(place)
    assert (ROOT / place).exists()


def test_poor_openings_are_found() -> None:
    source = '"""How."""\nclass A:\n    """Whoever."""\n    def f(self):\n        """Whether."""\n'
    assert [line.partition(":")[0] for line in poor_openings(source)] == ["1", "2", "4"]
    source = '"""However."""\ndef _f():\n    """What."""\nasync def g():\n    """A thing."""\n'
    assert not poor_openings(source)


@pytest.mark.parametrize(
    "source",
    [
        "raise ValueError(f'{x!r} is no ref')",
        "raise E('only local processes; {ref} is none') from error",
        "raise E('a name', f'was told {y}')",
        "logger.warning('there are not %s', 5)",
        "_dispatch.log.error('somebody left')",
        "raise E(f'unlike {x}')",
    ],
)
def test_poor_messages_are_found(source: str) -> None:
    assert poor_messages(source)


def test_poor_helps_are_found() -> None:
    source = (
        """Option(help='What to show.')\nOption(help='1 if it is no terminal')\nOption(help='The port.')"""
    )
    source += """\nOption(help='A [table].')\nOption(help=r'A \\[table].')"""
    source += """\n@app.command()\ndef call():\n    '''How to call a [method].'''"""
    assert sorted(line.partition(":")[0] for line in poor_helps(source)) == ["1", "2", "4", "7"]


@pytest.mark.parametrize(
    "source",
    [
        "raise ValueError(f'there is no module {x}')",
        "raise E('the door is no longer there')",
        "print('somebody')",
        "logger.warning('the message is not a %s', kind)",
    ],
)
def test_plain_messages_pass(source: str) -> None:
    assert not poor_messages(source)
