"""Sub-commands: what they answer, and one clear line for each kind of bad input."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.actors.cli.command import enfilade, enfilade_here

MODULE = """
(module (memory (export "memory") 17)
  (func (export "start"))
  (func (export "add") (param i32 i32)
    (if (i32.ne (i32.add (local.get 0) (local.get 1)) (i32.const 12)) (then unreachable)))
  (func (export "boom") unreachable))
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "small.wat"
    path.write_text(MODULE)
    return path


def refused(result: "subprocess.CompletedProcess[str]") -> str:
    """The one line that a refusal prints."""
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("enfilade: ")
    return lines[0]


def test_doctor_says_what_there_is() -> None:
    result = enfilade("doctor")
    assert result.returncode == 0, result.stdout + result.stderr
    for topic in ("Python", "doors", "WebAssembly", "namespaces", "C compiler"):
        assert topic in result.stdout
    assert "Enfilade runs here." in result.stdout


def test_a_guest_that_returns_ends_with_status_0(module: Path) -> None:
    assert enfilade("guest", "run", str(module)).returncode == 0


def test_a_guest_gets_its_parameters(module: Path) -> None:
    arguments = ("--entrypoint", "add", "--param", "i32:5", "--param", "u32:7")
    assert enfilade("guest", "run", str(module), *arguments).returncode == 0


def test_a_guest_that_traps_ends_with_status_3(module: Path) -> None:
    result = enfilade("guest", "run", str(module), "--entrypoint", "boom")
    assert result.returncode == 3
    assert "trapped" in result.stderr


def test_a_module_specification(tmp_path: Path, module: Path) -> None:
    (tmp_path / "modules").mkdir()
    module.rename(tmp_path / "modules" / "small.wat")
    text = "path=small.wat; capabilities=TimeRead; entrypoint=boom"
    assert enfilade("guest", "run", text, cwd=tmp_path).returncode in (1, 3)


def test_a_module_that_is_not_there(tmp_path: Path) -> None:
    assert "there is no module" in refused(enfilade_here("guest", "run", str(tmp_path / "nothing.wasm")))


def test_a_module_that_is_not_wasm(tmp_path: Path) -> None:
    path = tmp_path / "junk.wasm"
    path.write_bytes(b"\x7fELF" + bytes(100))
    assert "is not a WebAssembly module" in refused(enfilade_here("guest", "run", str(path)))


def test_an_entrypoint_that_is_not_there(module: Path) -> None:
    assert "nothing_here" in refused(
        enfilade_here("guest", "run", str(module), "--entrypoint", "nothing_here")
    )


def test_a_capability_that_is_none(module: Path) -> None:
    assert "Flying" in refused(enfilade_here("guest", "run", str(module), "--capabilities", "Flying"))


def test_a_parameter_without_a_kind(module: Path) -> None:
    assert "KIND:VALUE" in refused(enfilade_here("guest", "run", str(module), "--param", "7"))


ZONE = """
[node]
name = "bank"
zone = "east"
door = "bank.door"

[[child]]
id = "ledger"
actor = "books:Ledger"
name = "ledger"
"""

BOOKS = """
from enfilade.actors import Actor

class Ledger(Actor):
    def ping(self) -> str:
        return "pong"
"""


def zone_file(tmp_path: Path, text: str = ZONE) -> Path:
    (tmp_path / "books.py").write_text(BOOKS)
    path = tmp_path / "bank.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_zone_runs_until_it_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    path = zone_file(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-m", "enfilade", "zone", "run", str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert "bank@east runs at" in process.stdout.readline()
            process.send_signal(number)
            assert process.wait(timeout=240) == 0
        finally:
            process.kill()
    assert not (tmp_path / "bank.door").exists(), "the name of the door stays behind"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[node]\nname = 3", "name"),
        ("nonsense", "is not a zone file"),
        (ZONE.replace("zone =", "zonk ="), "zonk"),
        (ZONE.replace("books:Ledger", "nowhere:Ledger"), "nowhere"),
        (ZONE.replace("books:Ledger", "books:Leger"), "Leger"),
        (ZONE.replace("books:Ledger", "books"), "module:attribute"),
        (ZONE + 'restart = "sometimes"', "sometimes"),
        (ZONE.replace('actor = "books:Ledger"', 'guest = "missing.wasm"'), "missing.wasm"),
        (ZONE.replace('actor = "books:Ledger"\n', ""), "one of actor, guest, entry"),
        (ZONE.replace("bank.door", "no/such/directory/bank.door"), "bank.door"),
    ],
)
def test_a_wrong_zone_file_says_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    assert says in refused(enfilade_here("zone", "run", str(zone_file(tmp_path, text))))


COLLECTIONS = """
import gc, sys
phases = []
gc.callbacks.append(lambda phase, info: phases.append(phase))
from enfilade.actors.cli import main
usual = gc.get_threshold()
sys.argv = ["enfilade", "zone", "ps", "nowhere.door"]
phases.clear()
try:
    main()
except SystemExit:
    print(len(phases))
gc.collect()
print(gc.get_threshold() == usual)
"""


def test_a_short_command_is_over_before_the_collector_has_looked() -> None:
    """And one that goes on is looked through as any other program."""
    ran = subprocess.run([sys.executable, "-c", COLLECTIONS], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["0", "True"]
