"""The directory: who joins leaves once, and two starts of a node are never in it."""

from hypothesis import given
from hypothesis import strategies as st

from enfilade.transport.mesh import MeshNode, NodeJoined, NodeLeft
from enfilade.transport.mesh.directory import MOST_ANNOUNCEMENTS, SHORTEST, UNHEARD, Directory, DirectoryEvent

OWN = MeshNode("own@x", 9, "host", 1)


def node(name: str, incarnation: int) -> MeshNode:
    return MeshNode(name, incarnation, "host", 1)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["announced", "left", "pass", "anew"]),
            st.sampled_from(["a@x", "b@x", "own@x"]),
            st.integers(1, 3),
            st.floats(0, 12),
        ),
        max_size=60,
    )
)
def test_joining_and_leaving_alternate(steps: list[tuple[str, str, int, float]]) -> None:
    directory = Directory(OWN)
    present: dict[str, MeshNode] = {}
    now = 0.0
    for what, name, incarnation, seconds in steps:
        now += seconds
        events: list[DirectoryEvent] = []
        match what:
            case "announced":
                events = directory.announced(node(name, incarnation), now)
            case "left":
                events = directory.left(name, incarnation, "for the test")
            case "pass":
                events = directory.pass_time(now)
            case "anew":
                directory.listen_anew(now)
        for event in events:
            if isinstance(event, NodeJoined):
                assert event.node.name not in present
                present[event.node.name] = event.node
            else:
                assert present.pop(event.node.name) == event.node
        assert directory.nodes == tuple(sorted([OWN, *present.values()], key=lambda node: node.name))


def test_who_does_not_answer_after_a_loss_has_left() -> None:
    """Whoever was known before, and heard of since, stays."""
    directory = Directory(OWN)
    for name in ("a@x", "b@x"):
        directory.announced(node(name, 1), 1.0)
    assert directory.pass_over() == []
    directory.listen_anew(2.0)
    assert directory.announced(node("b@x", 1), 2.5) == []
    assert [event.node.name for event in directory.pass_over()] == ["a@x"]
    assert directory.pass_over() == []
    assert directory.nodes == (node("b@x", 1), OWN)


def test_who_is_not_heard_of_any_more_has_left() -> None:
    directory = Directory(OWN)
    assert directory.announced(node("a@x", 1), 0.0) == [NodeJoined(node("a@x", 1))]
    assert directory.announced(node("a@x", 1), 10.0) == []
    limit = (UNHEARD + 1) * SHORTEST
    assert directory.pass_time(9.9 + limit) == []
    assert directory.pass_time(10.0 + limit) == [NodeLeft(node("a@x", 1), "it was not heard of for 25 s")]


def test_a_very_large_mesh_is_told_more_seldom_and_waits_longer() -> None:
    directory = Directory(OWN)
    size = int(2 * SHORTEST * MOST_ANNOUNCEMENTS)
    for number in range(size - 1):
        assert directory.interval == max(SHORTEST, (number + 1) / MOST_ANNOUNCEMENTS)
        directory.announced(node(f"n{number}@x", 1), 0.0)
    assert directory.interval == 2 * SHORTEST
    assert directory.pass_time((UNHEARD + 1) * 2 * SHORTEST - 0.1) == []
    assert len(directory.pass_time((UNHEARD + 1) * 2 * SHORTEST)) == size - 1


def test_another_start_takes_the_place_of_the_one_before() -> None:
    directory = Directory(OWN)
    directory.announced(node("a@x", 1), 0.0)
    old, new = node("a@x", 1), node("a@x", 2)
    assert directory.announced(new, 1.0) == [NodeLeft(old, "another incarnation of it came"), NodeJoined(new)]
    assert directory.left("a@x", 1, "late") == []
