"""The tables of a mesh in zone files: every key mistyped and out of range, and what the refusal names."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.cli.zonefile import ZoneFile, read_zone_file


def zone(directory: Path, text: str) -> ZoneFile:
    path = directory / "a.toml"
    path.write_text(text)
    path.chmod(0o600)
    return read_zone_file(path)


ZONE = '[node]\nname = "a"\nzone = "b"\n[mesh]\nservers = ["embedded"]\n'


@pytest.mark.parametrize(
    "key", ["nmae", "identty", "dead_afer", "beats", "leases", "windw", "registy", "label", "group", "sever"]
)
def test_a_mistyped_key_of_the_mesh_is_refused_with_the_right_one(tmp_path: Path, key: str) -> None:
    with pytest.raises(Refusal, match=key) as caught:
        zone(tmp_path, f"{ZONE}{key} = 1\n").mesh_settings(tmp_path)
    assert "mesh" in str(caught.value)
    assert "did you mean" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("dead_after", each) for each in ("nan", "inf", "-1", "0", '"3"', "true")),
        *(("beat", each) for each in ("nan", "inf", "-1", "0", "0.8", '"1"')),
        *(("lease", each) for each in ("nan", "inf", "0.9", "3601", '"6"', "true")),
        *(("window", each) for each in ("0", "-1", "1.5", "65535", '"1"', "true")),
        *(("registry", each) for each in ("1", '"yes"', "[]")),
        *(
            ("labels", each)
            for each in ('"gpu"', "[1]", '[""]', f'["{"x" * 65}"]', str(["x"] * 65).replace("'", '"'))
        ),
        *(("groups", each) for each in ('"a"', "[1]", "1")),
        *(("name", each) for each in ('""', "1", f'"{"x" * 33}"')),
        *(("server", each) for each in ("1", "[]")),
        *(("identity", each) for each in ("1", "[]", "true")),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_key(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(Refusal, match=key) as caught:
        zone(tmp_path, f"{ZONE}{key} = {value}\n").mesh_settings(tmp_path)
    assert "mesh" in str(caught.value)


@pytest.mark.parametrize(
    "value",
    ["[]", '""', '"one"', "5", '["tls://a:0"]', '["embedded", "embedded:x"]', '["tls://a", "tls://a"]'],
)
def test_servers_of_a_zone_file_that_are_none(tmp_path: Path, value: str) -> None:
    text = f'[node]\nname = "a"\nzone = "b"\n[mesh]\nservers = {value}\n'
    is_wrong = 'tls://a", "tls' not in value
    with pytest.raises(Refusal, match="server") if is_wrong else nullcontext():
        zone(tmp_path, text).mesh_settings(tmp_path)


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ("[kinds.Account]\nactor = 5\n", "actor"),
        ("[kinds.Account]\n", "actor"),
        ('[kinds.Account]\nactor = "enfilade.actors:Actor"\nshards = 0\n', "shards"),
        ('[kinds.Account]\nactor = "enfilade.actors:Actor"\nshards = 1.5\n', "shards"),
        ('[kinds.Account]\nactor = "enfilade.actors:Actor"\nidle = -1\n', "idle"),
        ('[kinds.Account]\nactor = "enfilade.actors:Actor"\nidle = nan\n', "idle"),
        ('[kinds.Account]\nactor = "enfilade.actors:Actor"\nsingle = 1\n', "single"),
        ('[kinds.Account]\nactor = "enfilade.actors:Actor"\nrebalance = "no"\n', "rebalance"),
        ('[kinds.Account]\nactor = "enfilade.actors:Actor"\nshard = 4\n', "shard"),
        ("[kinds]\nAccount = 5\n", "kinds"),
        ('[kinds]\nAccount = "nowhere"\n', "Account"),
        ('[[peer]]\nover = "meshes"\n', "over"),
        ("[[peer]]\nkinds = 5\n", "kinds"),
        ('[[peer]]\nkidns = ["a"]\n', "kidns"),
    ],
    ids=range(14),
)
def test_kinds_and_peers_that_are_wrong(tmp_path: Path, lines: str, word: str) -> None:
    with pytest.raises(Refusal, match=word):
        zone(tmp_path, ZONE + lines).kinds_run(tmp_path)
