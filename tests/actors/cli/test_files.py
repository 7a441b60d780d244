"""Files that the user names by path: what is refused before it is read, and that nothing waits for a pipe."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from enfilade.actors.cli import files
from enfilade.actors.cli.files import read_secret
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.cli.zonefile import read_zone_file
from enfilade.hostcalls.kernel.modules import ModuleError, ModuleStore
from tests.actors.cli.command import enfilade_here

pytestmark = pytest.mark.timeout(60)

TEXT = '[node]\nname = "bank"\nzone = "east"\n'

readers = pytest.mark.parametrize("read", [read_zone_file, read_secret])
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def written(directory: Path, mode: int) -> Path:
    path = directory / "file"
    path.write_text(TEXT)
    path.chmod(mode)
    return path


@readers
@pytest.mark.parametrize("mode", [0o602, 0o666])
def test_a_file_that_others_may_write_is_refused(
    tmp_path: Path, read: Callable[[Path], object], mode: int
) -> None:
    """Who writes the zone file decides what the node runs, and who writes the secret is admitted."""
    with pytest.raises(Refusal, match=r"run `chmod (go-w|600)` on it"):
        read(written(tmp_path, mode))


@pytest.mark.parametrize(
    ("name", "members", "is_refused"),
    [
        ("owner", [], False),
        ("owner", ["owner"], False),
        ("owner", ["owner", "guest"], True),
        ("staff", [], True),
    ],
)
def test_a_private_group_is_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, members: list[str], is_refused: bool
) -> None:
    """Where the umask is 002, a user's files are writable by the group that has the user's name and nobody
    else in it. Any other group is others; and a secret has to be the owner's alone all the same.
    """
    path = written(tmp_path, 0o664)
    gid = path.stat().st_gid
    monkeypatch.setattr(files.pwd, "getpwuid", lambda _: SimpleNamespace(pw_name="owner", pw_gid=gid))
    monkeypatch.setattr(files.grp, "getgrgid", lambda _: SimpleNamespace(gr_name=name, gr_mem=members))
    if is_refused:
        with pytest.raises(Refusal, match="run `chmod go-w` on it"):
            read_zone_file(path)
    else:
        assert read_zone_file(path).node.name == "bank"
    with pytest.raises(Refusal, match="run `chmod 600` on it"):
        read_secret(path)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o644, 0o755])
def test_a_zone_file_may_be_read_by_all(tmp_path: Path, mode: int) -> None:
    assert read_zone_file(written(tmp_path, mode)).node.name == "bank"


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_secret_may_not_be_read_by_others(tmp_path: Path, mode: int) -> None:
    with pytest.raises(Refusal, match="must be accessible to its owner alone"):
        read_secret(written(tmp_path, mode))


@readers
@as_root
def test_a_file_of_another_user_is_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = written(tmp_path, 0o600)
    os.chown(path, 4242, -1)
    with pytest.raises(Refusal, match="belongs to uid 4242, not to uid 0"):
        read(path)


@readers
def test_a_pipe_is_not_waited_for(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """To open a pipe waits for its other end, which may never come."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(Refusal, match="is not a regular file"):
        read(tmp_path / "pipe")


@readers
@pytest.mark.parametrize("path", ["/dev/zero", "/"])
def test_what_is_no_regular_file_is_refused(path: str, read: Callable[[Path], object]) -> None:
    with pytest.raises(Refusal, match="is not a regular file"):
        read(Path(path))


def test_a_module_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "guest.wasm")
    with pytest.raises(ModuleError, match="is not a regular file"):
        ModuleStore(tmp_path).read("guest.wasm")


@pytest.mark.parametrize(
    "arguments", [("zone", "run"), ("guest", "run"), ("zone", "ps", "{door}", "--secret")], ids=" ".join
)
def test_commands_refuse_a_pipe_in_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Every command that opens a path of the user's: none waits, and each says what it expected."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "door").touch()
    words = (word.format(door=tmp_path / "door") for word in arguments)
    result = enfilade_here(*words, str(tmp_path / "pipe"))
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert "pipe" in result.stderr
