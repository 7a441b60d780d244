"""Names of nodes and zones: what a node may be called is what its peers let in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enfilade.actors import open_node
from enfilade.node_names import LONGEST, check_node_names, is_full_name

names = st.text(max_size=80) | st.text("ab@:/ \n\u00a0\ud800é", max_size=4)


@given(names, names)
def test_a_name_is_refused_here_exactly_if_peers_refuse_it(name: str, zone: str) -> None:
    full = f"{name}@{zone}"
    fits = is_full_name(name) and is_full_name(zone) and full.count("@") == 1 and len(full) <= LONGEST
    try:
        check_node_names(name, zone)
    except ValueError:
        assert not fits
    else:
        assert fits
        assert is_full_name(full)


@pytest.mark.parametrize("zone", [False, True], ids=["name", "zone"])
@pytest.mark.parametrize(
    "part",
    ["", "a@b", "a:b", "a/b", " a", "a ", "a\nb", "a\u200eb", "\ud800", "x" * 128],
    ids=["empty", "at", "colon", "slash", "begins", "ends", "line", "mark", "surrogate", "long"],
)
async def test_open_node_refuses_what_no_peer_lets_in(part: str, zone: bool) -> None:
    name, of_zone = ("bank", part) if zone else (part, "east")
    with pytest.raises(ValueError, match=r"names? of "):
        async with open_node(name, zone=of_zone):
            pass


@pytest.mark.parametrize(("name", "zone"), [("x" * 63, "y" * 64), ("a b", "é"), ("a.b-c_d", "1")])
async def test_open_node_takes_what_peers_let_in(name: str, zone: str) -> None:
    async with open_node(name, zone=zone) as node:
        assert is_full_name(node.full_name)
