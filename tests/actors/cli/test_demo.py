"""The main job: `enfilade demo` ends with its summary and status 0, and leaves nothing behind."""

import re
import uuid
from pathlib import Path

import pytest

from enfilade.transport.namespaces import available
from tests.actors.cli.command import enfilade

MARK = "ENFILADE_TEST_RUN"


def processes_of(run: str) -> list[str]:
    """The command lines of the processes that carry the mark of a run in their environment."""
    wanted = f"{MARK}={run}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (path / "environ").read_bytes().split(b"\0"):
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


@pytest.mark.zones
@pytest.mark.parametrize(
    "isolate", [pytest.param(True, id="isolated"), pytest.param(False, id="plain", marks=pytest.mark.soak)]
)
def test_the_demo_ends_with_its_summary(
    isolate: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = uuid.uuid4().hex
    monkeypatch.setenv(MARK, run)
    if isolate and not available():
        pytest.skip("this machine allows no namespaces")
    result = enfilade("demo", "--pace", "0.5", "--isolate" if isolate else "--no-isolate", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    output = result.stdout
    assert "monitor: the mill in zone west ended: trapped" in output
    assert "mill in zone west runs again" in output
    assert "kill -9" in output
    assert "zone west is down" in output
    assert output.count("zone west is up") == 2
    answered = re.search(r"([\d,]+) calls answered through doors", output)
    assert answered is not None
    assert int(answered[1].replace(",", "")) > 0
    assert "zone west: started 2x" in output
    assert "the guest that trapped answered again after" in output
    assert "the zone that was killed answered again after" in output
    assert result.stderr == ""
    assert max(map(len, output.splitlines())) <= 80
    # It ends with the trees as they stand.
    ends = output[output.rindex("is up, connected") :]
    for name in ("east", "west"):
        tree = ends[ends.index(f"zone {name}, process ") :]
        kinds = re.findall(r"[├└]── (\w+) (sync actor|async actor|async function|wasm guest)", tree)[:4]
        assert {child for child, _ in kinds} == {"ledger", "mill", "clerk", "reporter"}
    left = [line for line in processes_of(run) if "-m enfilade" in line]
    assert left == []
    assert list(tmp_path.iterdir()) == []
