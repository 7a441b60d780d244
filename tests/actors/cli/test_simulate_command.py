"""`enfilade simulate`: seeds are run, failures explained, runs looked into and compared."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from enfilade.actors.cli.app import app
from enfilade.actors.cli.refusal import Refusal

SOURCE = """
from enfilade.actors.simulation import Crash, simulated


async def calm(world):
    await world.open_node("east")
    world.always("no life is the second", lambda: world.hosts["east"].lives < 2)
    await world.run(3)


@simulated(seeds=2)
async def test_crash(world):
    east = await world.open_node("east")
    world.always("no life is the second", lambda: east.lives < 2)
    world.faults([(1.0, Crash("east", back=0.5)), (9.0, Crash("east"))])
    await world.run(10)


async def drawn(world):
    await world.open_node("east")
    world.record("drawn", world.seed)
    await world.run(1)


async def unordered(world):
    for name in {"east", "west", "south", "north", "middle"}:
        world.record("name", name)
    await world.run(1)


def plain(world): ...


async def no_world(number): ...


async def fixture(world, number): ...
"""


BORROWER = """
from time import monotonic


def age(clock=monotonic):
    return clock()


async def borrows(world):
    east = await world.open_node("east")
    world.record("age", await world.on(east, age))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "worlds_for_the_command.py"
    path.write_text(SOURCE)
    return path


def enfilade(*arguments: object) -> tuple[int, str]:
    """Run the command in this process; a refusal is its text."""
    result = CliRunner().invoke(app, ["simulate", *map(str, arguments)])
    if isinstance(result.exception, Refusal):
        return 1, str(result.exception)
    return result.exit_code, result.output


def test_seeds_without_a_failure(file: Path) -> None:
    assert enfilade(f"{file}::calm", "--count", 3) == (0, "seeds 0 to 2: no failure\n")
    assert enfilade(f"{file}::calm", "--seed", 7) == (0, "seed 7: no failure\n")


def test_a_failure_is_explained(file: Path) -> None:
    """The test that is printed has the one fault that is needed, and calls the function as it is."""
    code, text = enfilade(f"{file}::test_crash")
    assert code == 1
    assert text.startswith("seed 0: AssertionError: 'no life is the second' does not hold at 1.5 s")
    assert "SCHEDULE = [\n    (1.0, Crash(" in text
    assert "(9.0" not in text
    assert "await test_crash.main(world)" in text


def test_a_look_at_a_time(file: Path) -> None:
    code, text = enfilade(f"{file}::calm", "--until", 2)
    assert code == 0
    assert text.startswith("at 2 s, after ")
    assert "  east@east: life 0, connected with nobody\n" in text
    assert "start east 0" in text


def test_logs_are_kept_and_compared(file: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert enfilade(f"{file}::drawn", "--log", log)[0] == 0
    code, text = enfilade(f"{file}::drawn", "--compare", log)
    assert (code, text) == (0, f"seed 0: the same {len(log.read_text().splitlines())} events\n")
    code, text = enfilade(f"{file}::drawn", "--seed", 1, "--compare", log)
    assert code == 1
    assert "differs:\n  then  " in text


def test_two_logs_are_compared(file: Path, tmp_path: Path) -> None:
    """Nothing is run; the last event that is the same is shown, too."""
    logs = [tmp_path / name for name in ("one", "other", "longer")]
    for seed, log in enumerate(logs[:2]):
        assert enfilade(f"{file}::drawn", "--seed", seed, "--log", log)[0] == 0
    lines = logs[0].read_text().splitlines()
    logs[2].write_text("".join(f"{line}\n" for line in [*lines, "9.0 9 user.more "]))
    assert enfilade("--compare", logs[0], logs[0]) == (
        0,
        f"{logs[0]} and {logs[0]}: the same {len(lines)} events\n",
    )
    code, text = enfilade("--compare", logs[0], logs[1])
    assert code == 1
    assert "differs:\n  then  " in text
    code, text = enfilade("--compare", logs[0], logs[2])
    assert code == 1
    assert f"event {len(lines)} is the last one that is the same:\n        {lines[-1]}\n" in text
    assert f"event {len(lines) + 1} differs:\n  then  (it ends)\n  now   9.0 9 user.more" in text
    code, text = enfilade("--compare", logs[0], logs[1], "--seed", 1)
    assert code == 2
    assert "expected two logs alone" in text
    code, text = enfilade("--compare", logs[0], tmp_path / "nowhere")
    assert code == 1
    assert "nowhere cannot be read" in text


def test_a_log_that_is_kept_is_whole(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A world keeps its latest events alone; to be compared, all are kept."""
    monkeypatch.setattr("enfilade.actors.simulation.log.KEPT", 2)
    assert enfilade(f"{file}::drawn", "--log", tmp_path / "log")[0] == 0
    assert " start east 0" in (tmp_path / "log").read_text().splitlines()[0]


def test_a_look_with_a_prompt(file: Path) -> None:
    """The world and its hosts have names there; the world ends with the prompt."""
    result = CliRunner().invoke(
        app,
        ["simulate", f"{file}::calm", "--until", "2", "--shell"],
        input="print(east.lives, world.now())\n",
    )
    assert result.exit_code == 0
    assert "1 2.0\n" in result.output
    code, text = enfilade(f"{file}::calm", "--shell")
    assert code == 2
    assert "expected --until with --shell" in text


def test_a_test_that_is_the_same_in_every_run(file: Path) -> None:
    code, text = enfilade(f"{file}::drawn", "--doctor")
    assert code == 0
    assert "again in this process: the same" in text
    assert "with the hash seed 2: the same" in text
    assert "differs" not in text


def test_what_was_borrowed_from_the_machine_is_named(tmp_path: Path) -> None:
    file = tmp_path / "worlds_that_borrow.py"
    file.write_text(BORROWER)
    code, text = enfilade(f"{file}::borrows", "--doctor")
    assert code == 1
    module = "worlds_that_borrow"
    assert f"{module}: `monotonic` is the machine's time.monotonic: call time.monotonic() instead" in text
    assert f"{module}.age: an argument is the machine's time.monotonic if it is not given" in text
    assert "again in this process: event" in text


def test_what_depends_on_hashes_is_found(file: Path) -> None:
    code, text = enfilade(f"{file}::unordered", "--doctor")
    assert code == 1
    assert "again in this process: the same" in text
    assert "with the hash seed 1: event" in text or "with the hash seed 2: event" in text


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("calm", "expected a test as FILE.py::NAME"),
        ("nowhere.py::calm", "there is no file nowhere.py"),
        ("no.such.module::calm", "no.such.module cannot be imported: ModuleNotFoundError"),
        ("{file}::missing", "has no async function 'missing'"),
        ("{file}::plain", "has no async function 'plain'"),
        ("{file}::no_world", "expected a test with an argument `world`, got no_world(number)"),
        ("{file}::fixture", "fixture needs the fixtures number: run it with pytest"),
    ],
)
def test_what_is_no_test_is_refused(file: Path, test: str, words: str) -> None:
    code, text = enfilade(test.format(file=file))
    assert code == 1
    assert words in text
