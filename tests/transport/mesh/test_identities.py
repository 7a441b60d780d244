"""Bundles, identities and the list of nodes: what an authority writes, and what may be installed where."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from enfilade.actors.cli.app import app
from enfilade.transport.mesh import MeshError, authority
from enfilade.transport.mesh.authority import Authority, Grant, join, read_list, request
from enfilade.transport.mesh.identity import read_identity
from tests.transport.mesh.sites import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda files: files.pop("node.pem"),
        lambda files: files.update({"../evil": "x"}),
        lambda files: files.update({"node.pem": "nonsense"}),
        lambda files: files.update({"node.pem": files["ca.pem"]}),
        lambda files: files.update({"mesh.toml": "= 1"}),
        lambda files: files.update({"node.key": 1}),
        lambda files: files.update({"mesh.toml": files["mesh.toml"].replace("a@east", "b@east")}),
        lambda files: files.update({"mesh.toml": files["mesh.toml"].replace("a@east", "enfilade-server")}),
    ],
    ids=range(8),
)
def test_mesh_122_a_bundle_that_is_none_installs_nothing(site: Site, spoil: Any) -> None:
    files = json.loads(site.authority.issue("a@east"))
    spoil(files)
    bundle = site.directory / "a.bundle"
    bundle.write_text(json.dumps(files))
    bundle.chmod(0o600)
    with pytest.raises(MeshError, match="expected a bundle of `enfilade mesh ca`"):
        join(bundle, site.directory / "a")
    assert not (site.directory / "a").exists()


def test_mesh_122_a_key_need_not_leave_its_machine(site: Site) -> None:
    pem = request(site.directory / "a@east", "a@east")
    key = (site.directory / "a@east" / "node.key").read_bytes()
    site.install("a@east", site.authority.sign(pem, "a@east", Grant(registry="read")))
    assert (site.directory / "a@east" / "node.key").read_bytes() == key
    site.install("a@east", site.authority.renew("a@east", days=9))
    assert (site.directory / "a@east" / "node.key").read_bytes() != key
    with pytest.raises(MeshError, match="holds a key already"):
        request(site.directory / "a@east", "a@east")
    with pytest.raises(MeshError, match="expected a certificate signing request"):
        site.authority.sign(b"nonsense", "c@x")
    with pytest.raises(MeshError, match="has a certificate: renew it, or revoke it first"):
        site.authority.issue("a@east")
    with pytest.raises(MeshError, match="expected a directory without an authority"):
        Authority.create(site.directory / "ca")
    for name in ("a", "a@b@c", "a b@c", "*@c", "x" * 70 + "@y", ""):
        for ask in (site.authority.issue, lambda name: request(site.directory / "new", name)):
            with pytest.raises(ValueError, match="expected the name of a node with its zone"):
                ask(name)
    for days in (0, -1, 36501, 1e12, math.nan):
        for ask in (
            lambda days: site.authority.issue("c@x", Grant(days=days)),
            lambda days: site.authority.renew("a@east", days=days),
            lambda days: site.authority.issue_server(["one"], days=days),
        ):
            with pytest.raises(ValueError, match="days must be more than 0, and 36500 at most"):
                ask(days)
    assert site.authority.nodes.find("c@x") is None


def test_mesh_122_an_identity_stays_that_of_its_node(site: Site) -> None:
    """A bundle for another node, a server, or without its key, changes nothing of what is there."""
    site.install("a@east", site.authority.issue("a@east"))
    before = {file.name: file.read_bytes() for file in (site.directory / "a@east").iterdir()}
    pem = request(site.directory / "b@west", "b@west")
    for bundle, fault in (
        (site.authority.issue("c@north"), "is the identity of a@east, and this one of c@north"),
        (site.authority.issue_server(["one"]), "is the identity of a@east, and this one of enfilade-server"),
        (site.authority.sign(pem, "b@west"), "the certificate is for another key"),
    ):
        with pytest.raises(MeshError, match=fault):
            site.install("a@east", bundle)
        assert {file.name: file.read_bytes() for file in (site.directory / "a@east").iterdir()} == before
    with pytest.raises(MeshError, match="its key is where `enfilade mesh request` made it"):
        site.install("b@south", site.authority.sign(_anonymous(), "d@south"))
    (site.directory / "file").touch(0o600)
    with pytest.raises(MeshError, match="file must be a directory, or not be there yet"):
        site.install("file", site.authority.issue("e@south"))


def _anonymous() -> bytes:
    """A request that names nobody, as other programs may make it."""
    key = ec.generate_private_key(ec.SECP256R1())
    signed = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def test_a_request_is_signed_for_the_node_that_it_names(site: Site) -> None:
    pem = request(site.directory / "b@west", "b@west")
    with pytest.raises(MeshError, match="the request is for 'b@west', not for 'a@east'"):
        site.authority.sign(pem, "a@east")
    with pytest.raises(MeshError, match="the request names no node, or several"):
        site.authority.sign(_anonymous())
    site.install("b@west", site.authority.sign(pem))
    assert read_identity(site.directory / "b@west").node == "b@west"
    assert [each.name for each in site.authority.nodes.nodes] == ["b@west"]


def test_no_two_nodes_may_use_one_name(site: Site) -> None:
    site.authority.issue("a@east", Grant(also=["worker@east"]))
    for name, also in (("worker@east", []), ("b@west", ["a@east"]), ("b@west", ["c@x", "worker@east"])):
        with pytest.raises(MeshError, match=r"a@east may use the name .*: no two nodes can have one"):
            site.authority.issue(name, Grant(also=also))
    site.authority.revoke("a@east")
    site.authority.issue("worker@east")


def test_a_bundle_that_has_ended_installs_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "CLOCKS", timedelta(days=3))
    bundle = site.directory / "a.bundle"
    with monkeypatch.context() as past:
        past.setattr(authority, "_after", lambda days: datetime.now(UTC) - timedelta(days=1))
        bundle.write_bytes(site.authority.issue("a@east"))
    bundle.chmod(0o600)
    with pytest.raises(MeshError, match=r"the certificate ended at \d{4}-"):
        join(bundle, site.directory / "a")
    assert not (site.directory / "a").exists()


def test_those_who_issue_at_once_forget_nobody(site: Site) -> None:
    """Each reads the list anew, and nobody changes it meanwhile."""
    first, second = (Authority(site.directory / "ca") for _ in range(2))
    first.issue("a@east")
    second.issue("b@west")
    first.revoke("b@west")
    assert [each.name for each in Authority(site.directory / "ca").nodes.nodes] == ["a@east"]
    with pytest.raises(MeshError, match="b@west has no certificate"):
        second.renew("b@west")
    names = [f"n{number}@x" for number in range(20)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: Authority(site.directory / "ca").issue(name), names))
    listed = Authority(site.directory / "ca").nodes
    assert {each.name for each in listed.nodes} == {"a@east", *names}
    assert listed.number == 1 + 3 + 20


def test_what_cannot_be_written_is_not_issued(site: Site) -> None:
    where = site.directory / "missing" / "a.bundle"
    ca = str(site.directory / "ca")
    result = CliRunner().invoke(app, ["mesh", "ca", "issue", ca, "a@east", "-o", str(where)])
    assert result.exit_code != 0
    result = CliRunner().invoke(app, ["mesh", "ca", "issue", ca, "nobody", "-o", str(site.directory / "b")])
    assert result.exit_code != 0
    assert not (site.directory / "b").exists()
    assert Authority(site.directory / "ca").nodes.nodes == ()


def test_a_list_counts_when_the_authority_has_signed_it(site: Site) -> None:
    pem = (site.directory / "ca" / "ca.pem").read_bytes()
    data = (site.directory / "ca" / "nodes.list").read_bytes()
    assert read_list(data, pem).number == 1
    for wrong in (b"", b"{}", data[:-9], data.replace(b'"number":1', b'"number":9'), b"x" * 100):
        with pytest.raises(MeshError, match="expected a list of nodes that the authority"):
            read_list(wrong, pem)
