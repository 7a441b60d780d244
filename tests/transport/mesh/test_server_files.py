"""The files of servers: every table and key, mistyped and out of range."""

import re
from pathlib import Path

import pytest

from enfilade.transport.mesh import MeshError
from enfilade.transport.mesh.authority import Authority, join
from enfilade.transport.mesh.keeper import Keeper, read_server_file

SERVER = 'name = "s1"\nlisten = "127.0.0.1:4333"\nidentity = "s1"\n'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[server]\n",
        f"[sever]\n{SERVER}",
        f"[server]\n{SERVER}nmae = 'x'\n",
        f"[server]\n{SERVER}lease = 0\n",
        f"[server]\n{SERVER}lease = nan\n",
        f"[server]\n{SERVER}lease = inf\n",
        f"[server]\n{SERVER}routes = 'x'\n",
        f"[server]\n{SERVER}nodes = 5\n",
        f"[server]\n{SERVER}cluster = 'x y'\n",
        f"[server]\n{SERVER}[registyr]\nlease = 6\n",
        f"[server]\n{SERVER}[registry]\nlaese = 6\n",
        f"[server]\n{SERVER}[registry]\nlease = 0.5\n",
        f"[server]\n{SERVER}[registry]\nlease = 'x'\n",
        f"[server]\n{SERVER}lease = 6\n[registry]\nlease = 6\n",
        f"[server]\n{SERVER}[registry]\nlease = true\n",
        "server = 5\n",
        f"[server]\n{SERVER}routes = ['a:1', 'b:2']\n[registry]\nlease = 14\n",
        '[server]\nname = "a/b"\nlisten = "127.0.0.1:4333"\nidentity = "s1"\n',
        '[server]\nname = ".."\nlisten = "127.0.0.1:4333"\nidentity = "s1"\n',
        '[server]\nname = "s1"\nlisten = "127.0.0.1"\nidentity = 5\n',
        '[server]\nname = "s1"\nlisten = "127.0.0.1:0"\nidentity = "s1"\n',
        '[server]\nname = "s1"\nlisten = "127.0.0.1:99999"\nidentity = "s1"\n',
        '[server]\nname = "s\\n1"\nlisten = "127.0.0.1:1"\nidentity = "s1"\n',
    ],
    ids=range(24),
)
def test_a_wrong_file_of_a_server_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s1.toml"
    path.write_text(text)
    with pytest.raises(MeshError, match=re.escape(str(path))):
        read_server_file(path)


def test_the_lease_is_in_the_table_of_the_registry(tmp_path: Path) -> None:
    path = tmp_path / "s1.toml"
    path.write_text(f"[server]\n{SERVER}[registry]\nlease = 30\n")
    assert read_server_file(path).lease == 30
    path.write_text(f"[server]\n{SERVER}lease = 30\n")
    assert read_server_file(path).lease == 30
    path.write_text(f"[server]\n{SERVER}")
    assert read_server_file(path).lease == 6
    path.write_text(f"[server]\n{SERVER}routes = ['a:1', 'b:2']\n")
    assert read_server_file(path).lease == 20


def test_the_name_of_the_mesh_is_that_of_the_identity(tmp_path: Path) -> None:
    """And the registry is kept where the file says."""
    authority = Authority.create(tmp_path / "ca", mesh="bank")
    bundle = tmp_path / "s1.bundle"
    bundle.write_bytes(authority.issue_server(["localhost"]))
    bundle.chmod(0o600)
    join(bundle, tmp_path / "s1")
    path = tmp_path / "s1.toml"
    path.write_text(f'[server]\n{SERVER}store = "kept"\n[mesh]\nname = "bank"\n')
    keeper = Keeper(read_server_file(path))
    keeper._configure()
    assert f'"store_dir": "{tmp_path / "kept"}"' in (tmp_path / "s1.server" / "server.conf").read_text()
    path.write_text(f'[server]\n{SERVER}[mesh]\nname = "shop"\n')
    with pytest.raises(MeshError, match="is for mesh 'bank', and the file of the server is for 'shop'"):
        Keeper(read_server_file(path))
