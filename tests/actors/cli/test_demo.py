"""The main job: `enfilade demo` ends with its summary and status 0, and leaves nothing behind."""

import re
from pathlib import Path

import pytest

from tests.actors.cli.command import enfilade
from transport.namespaces import available


def processes_of_zones() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if " zone run east.toml" in line or " zone run west.toml" in line:
            found.append(line)
    return found


@pytest.mark.zones
@pytest.mark.parametrize("isolate", [True, False], ids=["isolated", "plain"])
def test_the_demo_ends_with_its_summary(isolate: bool, tmp_path: Path) -> None:
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
    assert processes_of_zones() == []
    assert list(tmp_path.iterdir()) == []
