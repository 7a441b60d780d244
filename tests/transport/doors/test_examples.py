"""The programs in docs/examples about doors, run as their reader would: in two processes."""

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "docs/examples"


def test_the_example_doubles_and_leaves_a_plain_file(tmp_path: Path) -> None:
    """111 goes in, 222 comes out; when the server has ended, the plain file is there again."""
    path = str(tmp_path / "double.door")
    server = subprocess.Popen(
        [sys.executable, EXAMPLES / "double_server.py", path],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == f"serving at {path}\n"
        for number, twice in (("111", "222\n"), ("-7", "-14\n")):
            client = subprocess.run(
                [sys.executable, EXAMPLES / "double_client.py", path, number],
                capture_output=True,
                text=True,
                cwd=ROOT,
                env={"PYTHONPATH": str(ROOT)},
                timeout=60,
                check=True,
            )
            assert client.stdout == twice
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
        assert (tmp_path / "double.door").is_file()
        assert [file.name for file in tmp_path.iterdir()] == ["double.door"]
    finally:
        server.kill()
        server.communicate()
