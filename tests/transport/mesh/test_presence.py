"""Life and death by heart-beats: whatever is heard, and whenever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enfilade.transport.mesh.presence import LOST, Death, Presence

NODES = st.sampled_from(["a@x", "b@x"])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["watch", "heard", "pass", "lost", "found", "forget"]),
        NODES,
        st.integers(1, 3),
        st.floats(0, 2),
    ),
    max_size=60,
)


@given(STEPS)
def test_mesh_59_one_death_for_each_start_that_is_watched(steps: list[tuple[str, str, int, float]]) -> None:
    """Up and down alternate for each start of a node; two starts of a node are never watched at a time."""
    presence = Presence(3.0)
    now = 0.0
    living: dict[str, int] = {}
    heard: dict[str, float] = {}
    down_since: float | None = None
    passed_at = 0.0
    presence.pass_time(0.0)
    for what, node, incarnation, seconds in steps:
        now += seconds
        deaths: list[Death] = []
        match what:
            case "watch":
                deaths = presence.watch(node, incarnation, now)
                heard[node] = now
            case "heard":
                deaths = presence.heard(node, incarnation, now)
                if living.get(node) == incarnation:
                    heard[node] = now
            case "pass":
                deaths = presence.pass_time(now)
                if now - passed_at > 1.5:
                    heard.update(dict.fromkeys(heard, now))
                passed_at = now
            case "lost":
                presence.server_lost(now)
                down_since = now if down_since is None else down_since
            case "found":
                presence.server_found(now)
                down_since = None
                heard.update(dict.fromkeys(heard, now))
            case "forget":
                presence.forget(node, incarnation)
                if living.get(node) == incarnation:
                    del living[node]
        for death in deaths:
            assert living.pop(death.node) == death.incarnation, "down once, and only when it was up"
            if death.reason == LOST:
                assert down_since is not None
                assert now - down_since >= 3.0
            elif what == "pass":
                assert down_since is None
                assert now - heard[death.node] >= 3.0
            else:
                assert death.incarnation != incarnation
        if what == "watch":
            living[node] = incarnation
        if what == "pass" and down_since is None:
            assert all(now - heard[node] < 3.0 for node in living)
        assert presence.watched == living


def test_a_silent_node_is_dead() -> None:
    presence = Presence(3.0)
    presence.watch("a@x", 1, 0.0)
    presence.heard("a@x", 1, 1.0)
    for now in (1.0, 2.0, 3.0, 3.9):
        assert presence.pass_time(now) == []
    assert presence.pass_time(4.0) == [Death("a@x", 1, "silent for 3.0 s")]
    assert presence.pass_time(9.0) == []


def test_a_node_that_stood_still_hears_what_was_said_meanwhile_first() -> None:
    presence = Presence(3.0)
    presence.watch("a@x", 1, 0.0)
    assert presence.pass_time(0.5) == []
    assert presence.pass_time(9.0) == []
    for now in (10.0, 11.0, 11.9):
        assert presence.pass_time(now) == []
    assert presence.pass_time(12.0) == [Death("a@x", 1, "silent for 3.0 s")]


def test_mesh_56_another_start_is_the_death_of_the_one_before() -> None:
    presence = Presence(3.0)
    presence.watch("a@x", 1, 0.0)
    assert presence.heard("a@x", 2, 0.2) == [Death("a@x", 1, "another incarnation of it was heard")]
    assert presence.heard("a@x", 2, 0.4) == []
    assert presence.watch("a@x", 2, 0.5) == []
    assert presence.watched == {"a@x": 2}


def test_without_a_server_nobody_is_dead_until_the_mesh_is_lost() -> None:
    presence = Presence(3.0)
    presence.watch("a@x", 1, 0.0)
    presence.watch("b@x", 1, 0.0)
    presence.server_lost(2.5)
    assert presence.pass_time(5.4) == []
    presence.server_found(5.4)
    assert presence.pass_time(8.3) == []
    presence.server_lost(8.3)
    presence.server_lost(11.0)  # the same loss
    assert presence.pass_time(11.3) == [Death("a@x", 1, LOST), Death("b@x", 1, LOST)]
    presence.watch("a@x", 1, 11.3)
    for now in (11.8, 12.8, 13.8, 14.8):
        assert presence.pass_time(now) == [], "the mesh is lost once"
    presence.server_found(15.0)
    assert presence.pass_time(16.2) == []
    assert presence.pass_time(17.6) == []
    assert presence.pass_time(18.0) == [Death("a@x", 1, "silent for 3.0 s")]


def probed(presence: Presence, *answers: bool | None) -> list[Death]:
    """What comes of a hint, when probes are answered, not heard by anybody, or lost."""
    deaths: list[Death] = []
    for answer in answers:
        for node, incarnation in presence.due_probes():
            if answer:
                deaths += presence.probe_answered(node, incarnation, 1.0)
            elif answer is not None:
                deaths += presence.probe_missed(node, incarnation)
    return deaths


def test_three_probes_that_nobody_hears_are_a_death() -> None:
    presence = Presence(3.0)
    presence.watch("a@x", 1, 0.0)
    assert presence.due_probes() == []
    assert not presence.hinted("a@x", 2), "another start has gone"
    assert not presence.hinted("b@x")
    assert presence.hinted("a@x", 1)
    assert not presence.hinted("a@x"), "it is doubted already"
    (death,) = probed(presence, False, False, False, False)
    assert death[:2] == ("a@x", 1)
    assert "it does not answer" in death.reason
    assert presence.watched == {}


@pytest.mark.parametrize(
    "answers", [(True,), (False, True), (False, False, True), (None, False, False), (False, None, None)]
)
def test_mesh_57_any_other_outcome_leaves_it_to_the_beats(answers: tuple[bool | None, ...]) -> None:
    presence = Presence(3.0)
    presence.watch("a@x", 1, 0.0)
    for _ in range(2):
        assert presence.hinted("a@x")
        assert probed(presence, *answers, None, None, None) == []
        assert presence.due_probes() == [], "at most three probes a hint"
    assert presence.watched == {"a@x": 1}
