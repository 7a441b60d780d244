"""What a zone file becomes, and what is said of one that is wrong."""

import math
import sys
from pathlib import Path

import pytest

from enfilade.actors import RemoteEntry
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.cli.zonefile import ZoneFile, read_zone_file
from enfilade.hostcalls.contracts.limits import Limits

NODE = '[node]\nname = "bank"\nzone = "east"\n'
CHILD = '[[child]]\nid = "books"\n'
LEDGER = CHILD + 'actor = "books:Ledger"\n'

BOOKS = """
from enfilade.actors import Actor

class Ledger(Actor):
    pass

async def audit(me):
    await me.receive()

def add(a, b):
    return a + b

seven = 7
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "books.py").write_text(BOOKS)
    (tmp_path / "sad.py").write_text('raise RuntimeError("no\\nway")\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "books", raising=False)
    return tmp_path


def read(directory: Path, text: str) -> ZoneFile:
    (directory / "bank.toml").write_text(text)
    return read_zone_file(directory / "bank.toml")


def check(directory: Path, text: str) -> None:
    """All that `enfilade zone run` looks at before it starts anything."""
    zone_file = read(directory, text)
    zone_file.children(directory)
    zone_file.targets(directory)


def test_children_of_each_kind(directory: Path) -> None:
    (directory / "idle.wat").write_text('(module (func (export "start")))')
    text = NODE + LEDGER + 'arguments = [1]\noptions = {currency = "EUR"}\n'
    text += '[[child]]\nid = "filter"\nguest = "idle.wat"\ncapabilities = ["time_read"]\n'
    text += '[[child]]\nid = "far"\nentry = "Ledger"\nnodes = ["north@bank", "south@bank"]\narguments = [5]\n'
    actor, guest, entry = read(directory, text).children(directory)
    assert (actor.target.__name__, actor.args, actor.kwargs) == ("Ledger", (1,), {"currency": "EUR"})
    assert (guest.id, guest.target.label) == ("filter", "filter")
    assert (entry.target, entry.args) == (RemoteEntry("Ledger", "north@bank", "south@bank"), (5,))


def test_the_authority_and_the_limits_of_a_guest(directory: Path) -> None:
    """Names and limits are the guest's; what is not set is its default."""
    (directory / "idle.wat").write_text("(module)")
    text = NODE + CHILD + 'guest = "idle.wat"\nfinds = ["a*"]\nregisters = ["b"]\nends = ["c", "d"]\n'
    text += 'limits = { memory = "20MiB", cpu_time = "none", tree_processes = 3 }\n'
    (child,) = read(directory, text).children(directory)
    guest = child.target
    assert (guest.finds, guest.registers, guest.ends) == (("a*",), ("b",), ("c", "d"))
    assert guest.limits == Limits(memory=20 << 20, cpu_time=math.inf, tree_processes=3)


def test_entries_are_imported_by_name(directory: Path) -> None:
    text = NODE + '[entries]\nLedger = "books:Ledger"\naudit = "books:audit"\n'
    assert list(read(directory, text).targets(directory)) == ["Ledger", "audit"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (CHILD, "one of actor, guest, entry, got none"),
        (LEDGER + 'guest = "idle.wat"\n', "got actor and guest"),
        (LEDGER + LEDGER, "two children have the id 'books'"),
        (
            LEDGER + 'capabilities = ["time_read"]\n',
            "'capabilities' belongs to a child with 'guest'",
        ),
        (LEDGER + 'entrypoint = "run"\n', "'entrypoint' belongs to a child with 'guest', not 'actor'"),
        (LEDGER + 'nodes = ["north@bank"]\n', "'nodes' belongs to a child with 'entry', not 'actor'"),
        (LEDGER + 'name = "root"\n', "reserved for the node's root supervisor"),
        (LEDGER + "shutdown = -1\n", "'shutdown' is -1.0"),
        (CHILD + 'entry = "Ledger"\n', "the names of one or more nodes"),
        (
            CHILD + 'entry = "Ledger"\nnodes = ["north"]\n',
            "it must be the name of a node, name@zone",
        ),
        (CHILD + 'entry = ""\nnodes = ["north@bank"]\n', "the name of an entry"),
        (CHILD + 'entry = "Ledger"\nnodes = ["north@bank"]\nname = "far"\n', "leave it out"),
        (CHILD + 'guest = "nowhere.wasm"\n', "there is no module"),
        (CHILD + 'guest = "bank.toml"\nlimits = { memroy = 5 }\n', "got 'memroy'; did you mean 'memory'?"),
        (CHILD + 'guest = "bank.toml"\nlimits = { memory = "lots" }\n', "for the limit memory, got 'lots'"),
        (LEDGER + "limits = { memory = 5 }\n", "'limits' belongs to a child with 'guest', not 'actor'"),
        (LEDGER + 'finds = ["x"]\n', "'finds' belongs to a child with 'guest', not 'actor'"),
        (CHILD + 'actor = "books:add"\n', "async function or a Spawnable, got 'books:add'"),
        (CHILD + 'actor = "books:seven"\n', "or a Spawnable, got 'books:seven'"),
        (CHILD + 'actor = "books:Nobody"\n', "has no attribute 'Nobody'"),
        (CHILD + 'actor = ".books:Ledger"\n', "expected module:attribute, got"),
        (CHILD + 'actor = "sad:Ledger"\n', "the module sad failed: RuntimeError: no way"),
        ('[entries]\nadd = "books:add"\n', "entry 'add': expected an actor class"),
        ("[supervisor]\nintensity = -1\n", "'intensity' is -1; it must be an integer, 0 or more"),
        ("[supervisor]\nperiod = 0\n", "a finite number of seconds above 0"),
        ("longest_pause = 0\n", "longest_pause must be finite and above 0 seconds, got 0.0"),
        ("longest_pause = nan\n", "got nan"),
    ],
)
def test_a_mistake_is_named_before_anything_starts(directory: Path, text: str, says: str) -> None:
    with pytest.raises(Refusal) as refusal:
        check(directory, NODE + text)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_is_no_text(directory: Path) -> None:
    (directory / "bank.toml").write_bytes(b"\xff\xfe" + NODE.encode("utf-16-le"))
    with pytest.raises(Refusal, match="expected text in UTF-8"):
        read_zone_file(directory / "bank.toml")
