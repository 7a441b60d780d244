"""Leases: the rules one by one, and a search for two nodes that act at a time."""

import itertools
from typing import Any

import pytest

from enfilade.transport.mesh import lease as real
from enfilade.transport.mesh.lease import VERSION, Claim, Era, Lease, Owner, Place, Step, Times, Watch, judge
from tests.transport.mesh.lease_search import LEASE, Rules, Search

TIMES = Times(10.0)
HERE = Place("machine/boot/1", 7, 70)


def owner(incarnation: int = 1) -> Owner:
    """A node that has read that there is no lease of it."""
    made = Owner(incarnation, HERE, TIMES)
    made.found(None, 0, 0.0)
    return made


def renewed(owner: Owner, sent_at: float, now: float, revision: int) -> None:
    write = owner.proposal(sent_at)
    assert write is not None
    owner.confirmed(write, revision, now)


def test_a_lease_is_good_from_when_its_renewal_was_sent() -> None:
    held = owner()
    renewed(held, 1.0, 5.0, 1)
    assert held.is_good(held.term, 9.9)
    assert not held.is_good(held.term, 10.0), "0.9 leases after it was sent"
    renewed(held, 6.0, 6.1, 2)
    assert held.is_good(1, 14.9)


def test_a_term_that_is_over_does_not_come_back() -> None:
    held = owner()
    renewed(held, 0.0, 0.1, 1)
    late = held.proposal(8.0)
    assert late is not None
    assert held.pass_time(9.0)
    held.confirmed(late, 2, 9.5)
    assert held.term == 0
    renewed(held, 9.6, 9.7, 3)
    assert held.term == 2


def test_an_answer_that_was_lost_is_found() -> None:
    held = owner()
    write = held.proposal(1.0)
    assert write is not None
    held.unanswered()
    assert held.must_read
    assert held.proposal(2.0) is None
    held.found(write.value, 4, 3.0)
    assert held.is_good(1, 9.9)
    assert not held.is_good(1, 10.0)


def test_a_broken_lease_ends_the_term() -> None:
    held = owner()
    renewed(held, 0.0, 0.0, 1)
    assert not held.found(Lease(VERSION, 0, 0), 0, 1.0), "an old read"
    assert held.found(Lease(VERSION, 0, 1), 2, 1.0)
    assert held.term == 0
    again = held.proposal(1.0)
    assert again is not None
    assert again.value.term == 2


def test_a_lease_of_another_start_is_watched_first() -> None:
    later = Owner(2, HERE, TIMES)
    lease = Lease(VERSION, 1, 5, 3, *HERE)
    later.found(lease, 8, 0.0)
    assert later.proposal(1.0) is None
    later.found(lease, 8, 11.9)
    assert later.proposal(11.9) is None
    later.found(lease, 9, 12.0)
    assert later.proposal(12.0) is None, "it was renewed"
    later.found(lease, 9, 24.0)
    taken = later.proposal(24.0)
    assert taken is not None
    assert (taken.value.term, taken.revision) == (6, 9)
    witness = Owner(3, HERE, TIMES)
    witness.found(lease, 9, 0.0)
    assert witness.proposal(0.0, is_witness=True) is not None


def test_terms_are_above_the_epoch() -> None:
    """The terms of a registry that has lost its data are above those that it had before."""
    held = Owner(1, HERE, TIMES)
    held.epoch = 1000
    held.found(None, 0, 0.0)
    renewed(held, 0.0, 0.0, 1)
    assert held.term == 1001


@pytest.mark.parametrize(
    ("lease", "may_break", "step"),
    [
        (None, False, Step.WAIT),
        (None, True, Step.BREAK),
        (Lease(VERSION, 1, 3), False, Step.WAIT),
        (Lease(VERSION, 1, 3), True, Step.BREAK),
        (Lease(VERSION, 0, 2), False, Step.WAIT),
        (Lease(VERSION, 0, 3), False, Step.TAKE),
        (Lease(VERSION, 0, 4), False, Step.TAKE),
        (Lease(VERSION, 2, 4), False, Step.TAKE),
    ],
)
def test_a_claim_is_over_with_its_term(lease: Lease | None, may_break: bool, step: Step) -> None:
    assert judge(Claim(VERSION, "a@east", 1, 3), lease, may_break=may_break) is step
    assert judge(None, lease, may_break=may_break) is Step.TAKE


def test_a_registry_that_has_lost_its_data_gives_nothing_away() -> None:
    era = Era()
    era.seen(5, 0, 100.0)
    assert not era.is_settled(TIMES, 111.9)
    assert era.is_settled(TIMES, 112.0)
    era.seen(5, 5, 112.0)
    era.seen(9, 5, 120.0)
    assert not era.is_settled(TIMES, 131.9)
    era.seen(5, 5, 133.0)
    assert not era.is_settled(TIMES, 133.0), "an old read"
    era.seen(9, 9, 121.0)
    assert era.is_settled(TIMES, 121.0), "somebody has waited"


def test_a_watch_begins_anew_with_each_revision() -> None:
    watch = Watch(TIMES)
    assert not watch.is_over(100.0)
    watch.seen(1, 0.0)
    watch.seen(2, 11.0)
    assert not watch.is_over(22.9)
    assert watch.is_over(23.0)


def violations(rules: Rules, runs: int) -> int | None:
    """The first run in which two acted at a time."""
    return next((seed for seed in range(runs) if not Search(seed, rules=rules).run()), None)


def test_mesh_76_two_nodes_never_act_for_one_name() -> None:
    assert violations(Rules(), 60) is None


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_mesh_76_two_nodes_never_act_for_one_name_in_many_runs() -> None:
    assert violations(Rules(), 10_000) is None


def without_terms(claim: Claim | None, lease: Lease | None, *, may_break: bool) -> Step:
    """A broken lease, whichever term it was, is taken for the end of a claim."""
    if claim is not None and lease is not None and lease.is_broken:
        return Step.TAKE
    return real.judge(claim, lease, may_break=may_break)


def with_missing_leases_free(claim: Claim | None, lease: Lease | None, *, may_break: bool) -> Step:
    """The lease that a read does not find is taken for one that is over."""
    return Step.TAKE if lease is None else real.judge(claim, lease, may_break=may_break)


@pytest.mark.parametrize(
    "rules",
    [
        Rules(judge=without_terms),
        Rules(judge=with_missing_leases_free),
        Rules(times=Times(LEASE, good=1.6, watch=0.6)),
    ],
    ids=["without terms", "missing leases free", "deadlines"],
)
def test_mesh_77_the_search_finds_what_is_left_out(rules: Any) -> None:
    assert violations(rules, 1_000) is not None


def test_the_search_tries_what_it_says() -> None:
    """Names are held and lost in it, registries lose their data, nodes start anew."""
    searches = [Search(seed) for seed in range(12)]
    for search in searches:
        assert search.run()
    held = [search.acted for search in searches]
    assert sum(count > 200 for count in held) > 6
    assert any(search.store.epoch > 1000 for search in searches)
    assert any(node.incarnation > 1 for node in itertools.chain(*(search.nodes for search in searches)))
