"""The commands of an authority: what they write, what they refuse, and what is left behind then."""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from enfilade.actors.cli.app import app
from enfilade.actors.cli.refusal import Refusal


def give(*words: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*map(str, words)])
    if isinstance(result.exception, Refusal):
        return 1, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert "Traceback" not in result.output
    return result.exit_code, result.output


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert give("mesh", "ca", "init", "ca", "--server", "tls://localhost:1")[0] == 0
    return tmp_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_authority_has_closed_files(ca: Path) -> None:
    assert mode(ca / "ca") == 0o700
    for each in (ca / "ca").iterdir():
        assert mode(each) == 0o600, each


def test_issue_writes_a_closed_bundle_whatever_the_umask(ca: Path) -> None:
    before = os.umask(0)
    try:
        assert give("mesh", "ca", "issue", "ca", "a@east", "-o", "a.bundle")[0] == 0
        assert give("mesh", "ca", "issue", "ca", "--server", "localhost", "-o", "s.bundle")[0] == 0
        assert give("mesh", "join", "a.bundle", "a")[0] == 0
        assert give("mesh", "request", "q", "q@east", "-o", "q.req")[0] == 0
    finally:
        os.umask(before)
    for each in ("a.bundle", "s.bundle", "a/node.key", "a/node.pem", "a/ca.pem", "a/mesh.toml", "q/node.key"):
        assert mode(ca / each) == 0o600, each
    for each in ("a", "q"):
        assert mode(ca / each) == 0o700


@pytest.mark.parametrize(
    "words",
    [
        ["bank"],
        ["bank@"],
        ["@east"],
        ["bank@east@west"],
        ["bank east@x"],
        ["bank@east", "--days", "0"],
        ["bank@east", "--days", "-1"],
        ["bank@east", "--days", "nan"],
        ["bank@east", "--days", "inf"],
        ["bank@east", "--days", "1e9"],
        ["bank@east", "--registry", "all"],
        ["bank@east", "--also", "x"],
        ["b" * 64 + "@east"],
        ["--server", "a b"],
        ["--server", ""],
        ["--server", "tls://one.example"],
        ["bank@east", "--server", "one.example"],
        [],
        ["../x@east"],
        ["bänk@öst "],
        ["bank@east\n"],
    ],
    ids=range(21),
)
def test_what_is_not_issued_leaves_nothing_behind(ca: Path, words: list[str]) -> None:
    before = (ca / "ca" / "nodes.list").read_bytes()
    status, said = give("mesh", "ca", "issue", "ca", *words, "-o", "x.bundle")
    assert status in (1, 2), said
    assert said.strip()
    assert not (ca / "x.bundle").exists()
    assert (ca / "ca" / "nodes.list").read_bytes() == before


def test_a_name_with_letters_of_other_scripts_is_issued_and_joined(ca: Path) -> None:
    assert give("mesh", "ca", "issue", "ca", "bänk@öst", "-o", "x.bundle")[0] == 0
    status, said = give("mesh", "join", "x.bundle", "x")
    assert status == 0, said
    assert "bänk@öst" in said


def test_revoke_renew_and_list(ca: Path) -> None:
    assert give("mesh", "ca", "issue", "ca", "a@east", "--also", "a-1@east", "-o", "a.bundle")[0] == 0
    assert give("mesh", "ca", "issue", "ca", "b@east", "--registry", "none", "-o", "b.bundle")[0] == 0
    _status, said = give("mesh", "ca", "list", "ca")
    assert re.search(r"^a@east: .*a-1@east", said, re.M)
    assert re.search(r"^b@east: .*none", said, re.M)
    listed = json.loads(give("mesh", "ca", "list", "ca", "--json")[1])
    assert [each["name"] for each in listed["nodes"]] == ["a@east", "b@east"]
    assert give("mesh", "ca", "renew", "ca", "a@east", "-o", "a2.bundle")[0] == 0
    assert give("mesh", "ca", "renew", "ca", "a@east", "-o", "a2.bundle")[0] == 1, "it is there"
    assert give("mesh", "ca", "renew", "ca", "ghost@x", "-o", "g.bundle")[0] == 1
    assert not (ca / "g.bundle").exists()
    assert give("mesh", "ca", "revoke", "ca", "a@east")[0] == 0
    assert give("mesh", "ca", "revoke", "ca", "a@east")[0] == 1
    assert give("mesh", "ca", "renew", "ca", "a@east", "-o", "a3.bundle")[0] == 1
    assert give("mesh", "ca", "revoke", "ca", "a-1@east")[0] == 1
    assert "a@east: revoked" in give("mesh", "ca", "list", "ca")[1]
    assert give("mesh", "ca", "issue", "ca", "c@east", "--also", "a-1@east", "-o", "c.bundle")[0] == 0


@pytest.mark.parametrize("command", ["list", "issue", "revoke", "renew", "sign"])
@pytest.mark.parametrize("where", ["nowhere", "empty", "file", "broken", "other-key", "open"])
def test_what_is_no_authority(ca: Path, command: str, where: str) -> None:
    (ca / "empty").mkdir()
    (ca / "file").write_text("")
    (ca / "r.req").write_text("nonsense")
    for name in ("broken", "other-key", "open"):
        assert give("mesh", "ca", "init", name)[0] == 0
    (ca / "broken" / "nodes.list").write_text("nonsense")
    (ca / "other-key" / "ca.key").write_bytes((ca / "ca" / "ca.key").read_bytes())
    (ca / "open" / "ca.key").chmod(0o644)
    words = {
        "list": [],
        "issue": ["a@b", "-o", "x.bundle"],
        "revoke": ["a@b"],
        "renew": ["a@b", "-o", "x.bundle"],
        "sign": ["r.req", "-o", "x.bundle"],
    }[command]
    status, said = give("mesh", "ca", command, where, *words)
    assert status in (1, 2), said
    assert where in said or command == "sign"
    assert not (ca / "x.bundle").exists()


def test_a_request_is_signed_and_joined(ca: Path) -> None:
    assert give("mesh", "request", "a", "a@east", "-o", "a.req")[0] == 0
    assert "PRIVATE" not in (ca / "a.req").read_text()
    assert give("mesh", "request", "a", "a@east", "-o", "a2.req")[0] == 1
    assert give("mesh", "ca", "sign", "ca", "a.req", "b@east", "-o", "b.bundle")[0] == 1
    assert give("mesh", "ca", "sign", "ca", "a.req", "-o", "a.bundle")[0] == 0
    assert "PRIVATE" not in (ca / "a.bundle").read_text()
    assert give("mesh", "join", "a.bundle", "elsewhere")[0] == 1
    assert not (ca / "elsewhere").exists()
    assert give("mesh", "join", "a.bundle", "a")[0] == 0
    assert give("mesh", "join", "a.bundle", "a")[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.pop("node.pem"),
        lambda fields: fields.pop("ca.pem"),
        lambda fields: fields.pop("mesh.toml"),
        lambda fields: fields.pop("node.key"),
        lambda fields: fields.update({"../evil": "x"}),
        lambda fields: fields.update({"node.pem": ""}),
        lambda fields: fields.update({"node.key": "x"}),
        lambda fields: fields.update({"ca.pem": "x"}),
        lambda fields: fields.update({"mesh.toml": "= ="}),
        lambda fields: fields.update({"mesh.toml": 'node = "b@east"\nmesh="default"\n'}),
        lambda fields: fields.update({"mesh.toml": "node = 5\n"}),
        lambda fields: fields.update({"node.pem": 5}),
        lambda fields: fields.update({"mesh.toml": fields["mesh.toml"].replace("expires", "expired")}),
        lambda fields: fields.update({"mesh.toml": fields["mesh.toml"].replace('["tls:', '["ftp:')}),
    ],
    ids=range(14),
)
def test_a_bundle_that_was_changed_installs_nothing(ca: Path, change: Any) -> None:
    assert give("mesh", "ca", "issue", "ca", "a@east", "-o", "a.bundle")[0] == 0
    fields = json.loads((ca / "a.bundle").read_text())
    change(fields)
    (ca / "a.bundle").write_text(json.dumps(fields))
    status, said = give("mesh", "join", "a.bundle", "a")
    assert status == 1, said
    assert not (ca / "a").exists() or not any((ca / "a").iterdir())


@pytest.mark.parametrize("where", ["file", "open", "other", "link"])
def test_a_directory_that_an_identity_cannot_be_in(ca: Path, where: str) -> None:
    assert give("mesh", "ca", "issue", "ca", "a@east", "-o", "a.bundle")[0] == 0
    assert give("mesh", "ca", "issue", "ca", "b@east", "-o", "b.bundle")[0] == 0
    (ca / "file").write_text("")
    (ca / "open").mkdir()
    (ca / "open").chmod(0o755)
    assert give("mesh", "join", "b.bundle", "other")[0] == 0
    (ca / "link").symlink_to(ca / "nowhere")
    status, said = give("mesh", "join", "a.bundle", where)
    assert status == 1, said
    assert where in said
    if where == "other":
        assert "b@east" in (ca / "other" / "mesh.toml").read_text()


def test_status_of_nobody(ca: Path) -> None:
    assert give("mesh", "status")[0] in (1, 2)
    assert give("mesh", "status", "nowhere")[0] in (1, 2)
    assert give("mesh", "ca", "issue", "ca", "a@east", "-o", "a.bundle")[0] == 0
    assert give("mesh", "join", "a.bundle", "a")[0] == 0
    status, said = give("mesh", "status", "a")
    assert status == 2
    status, said = give("mesh", "status", "a", "--json")
    assert status == 2
    report = json.loads(said)
    assert report["servers"][0]["problem"]
    for word in ("nodes", "names", "kinds"):
        status, said = give("mesh", word, "a")
        assert status in (1, 2), said
        assert said.strip()


def test_permissions_are_those_of_the_contract(ca: Path) -> None:
    status, said = give("mesh", "permissions", "bank@east")
    assert status == 0
    report = json.loads(said)
    publish = report["permissions"]["publish"]
    allowed = publish if isinstance(publish, list) else publish["allow"]
    own = "bank=40east"
    for each in (
        f"enf.default.l.*.*.{own}.*",
        f"enf.default.r.*.{own}",
        f"enf.default.p.*.*.{own}",
        f"enf.default.b.{own}",
        f"enf.default.d.{own}",
        f"enf.default.q.{own}",
        f"enf.default.g.*.{own}",
        f"enf.default.s.*.*.{own}",
        "enf.default.i.>",
    ):
        assert each in allowed, each
    for each in ("x", "bank", ""):
        assert give("mesh", "permissions", each)[0] in (1, 2)
