"""The embedded store's data and the candidacy, against a clock of the test's own: never two masters of one term."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.election.candidacy import Candidacy
from controllers.store.memory import MemoryStore
from controllers.store.port import Entry, Put

LEASE = 1.0


class Replica:
    """A candidacy on a store in memory; hears nothing while `deaf`, keeps no lease alive while `stopped`."""

    def __init__(self, store: MemoryStore, name: str) -> None:
        self.store = store
        self.me = Candidacy(0, name)
        self.lease = 0
        self.stopped = False
        self._missed: list[list[Entry]] = []
        self.masterships: list[int] = []
        self.me.watching()
        store.watch(self.me.prefix, self._missed.append)

    def turn(self, now: float) -> None:
        if self.stopped:
            return
        if self.lease and not self.store.keep(self.lease, now):
            self.lease = 0
            self.me.lost()
        if not self.lease:
            self.lease = self.store.grant(LEASE, now)
        missed, self._missed[:] = list(self._missed), []
        for entries in missed:
            self.me.heard(entries)
        if self.me.wants():
            campaign = self.me.campaign(self.lease)
            revision = self.store.commit(campaign.expect, campaign.put)
            if revision is not None:
                self.me.won(campaign, revision)
                self.masterships.append(campaign.term)


class Vote:
    def __init__(self, replicas: int = 3) -> None:
        self.store = MemoryStore()
        self.replicas = [Replica(self.store, f"0/{number}") for number in range(replicas)]
        self.now = 0.0

    def turn(self, seconds: float = 0.1) -> None:
        self.now += seconds
        self.store.expire(self.now)
        for replica in self.replicas:
            replica.turn(self.now)

    def masters(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.me.mine]

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.turn()


def test_one_master_and_the_others_know_it() -> None:
    vote = Vote()
    vote.turns(2)
    (master,) = vote.masters()
    assert master.me.mine == 1
    assert {replica.me.master for replica in vote.replicas} == {master.me.replica}


def test_a_master_that_stops_is_followed_within_its_lease_and_finds_itself_deposed() -> None:
    vote = Vote()
    vote.turns(2)
    (first,) = vote.masters()
    first.stopped = True
    vote.turns(9)
    assert vote.masters() == [first]
    vote.turns(3)
    second = next(replica for replica in vote.masters() if replica is not first)
    assert (first.me.mine, second.me.mine) == (1, 2)
    first.stopped = False
    vote.turns(2)
    assert vote.masters() == [second]
    assert first.me.master == second.me.replica


def test_a_suspected_master_is_followed_at_once_and_an_old_suspicion_means_nothing() -> None:
    vote = Vote()
    vote.turns(2)
    (first,) = vote.masters()
    others = [replica for replica in vote.replicas if replica is not first]
    for replica in others:
        replica.me.suspect(1)
    vote.turns(2)
    (second,) = vote.masters()
    assert second is not first
    assert second.me.mine == 2
    for replica in vote.replicas:
        replica.me.suspect(1)
    vote.turns(20)
    assert vote.masters() == [second]
    assert second.me.mine == 2


def test_a_front_end_deposes() -> None:
    vote = Vote(1)
    vote.turns(1)
    (only,) = vote.masters()
    only.me.deposed(1)
    assert only.me.mine == 0
    vote.turns(2)
    assert only.me.mine == 2


def test_the_store_being_away_ends_nobodys_lease() -> None:
    vote = Vote()
    vote.turns(2)
    vote.store.grace(10.0)
    vote.now += 10.0
    vote.store.expire(vote.now)
    assert len(vote.masters()) == 1
    vote.turns(3)
    assert [replica.me.mine for replica in vote.masters()] == [1]


STEP = st.tuples(st.sampled_from(["stop", "go", "suspect", "depose", "wait"]), st.integers(0, 2), st.integers(1, 15))


@settings(max_examples=150)
@given(st.lists(STEP, max_size=30))
def test_each_term_has_one_master_and_terms_only_grow(steps: list[tuple[str, int, int]]) -> None:
    vote = Vote()
    for kind, number, turns in steps:
        replica = vote.replicas[number]
        match kind:
            case "stop":
                replica.stopped = True
            case "go":
                replica.stopped = False
            case "suspect":
                replica.me.suspect(max(one.me.term for one in vote.replicas))
            case "depose" if replica.me.mine:
                replica.me.deposed(replica.me.mine)
        vote.turns(turns)
    for replica in vote.replicas:
        replica.stopped = False
    vote.turns(25)
    terms = [term for replica in vote.replicas for term in replica.masterships]
    assert len(set(terms)) == len(terms)
    for replica in vote.replicas:
        assert replica.masterships == sorted(replica.masterships)
    (master,) = vote.masters()
    assert master.me.mine == max(terms)


def test_lasting_keys_are_those_without_a_lease() -> None:
    store = MemoryStore()
    lease = store.grant(1.0, 0.0)
    store.commit({}, {"stays": Put("1"), "goes": Put("2", lease)})
    assert store.lasting() == {"stays": "1"}
    store.expire(1.0)
    assert store.items("") == [Entry("stays", "1", 1)]
    assert store.revision == 2
