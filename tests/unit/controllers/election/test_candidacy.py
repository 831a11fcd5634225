"""The candidacy on the embedded store's data, against a clock of the test's own: never two masters of one term."""

from __future__ import annotations

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from controllers.election.candidacy import Candidacy
from controllers.store.memory import MemoryStore
from controllers.store.port import Entry, Put

LEASE = 1.0
START = 1_000_003.0


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
            self.me.received(entries)
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
        self.now = START

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

    def terms(self) -> list[int]:
        """Every term that ever had a master, once for each of its masters."""
        return sorted(term for replica in self.replicas for term in replica.masterships)


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


def test_a_failover_makes_exactly_one_new_term() -> None:
    vote = Vote()
    vote.turns(2)
    (first,) = vote.masters()
    first.stopped = True  # its process is gone; its lease still has most of its time
    for replica in vote.replicas:
        replica.me.suspect(1)
    vote.turns(30)  # past the end of the old lease
    assert vote.terms() == [1, 2]
    assert vote.store.get("partition/0/master") is not None


def test_a_front_end_deposes() -> None:
    vote = Vote(1)
    vote.turns(1)
    (only,) = vote.masters()
    only.me.deposed(1)
    assert only.me.mine == 0
    vote.turns(2)
    assert only.me.mine == 2


def test_a_store_that_was_down_ends_no_lease() -> None:
    vote = Vote()
    vote.turns(2)
    vote.store.grace(10.0)
    vote.now += 10.0
    vote.store.expire(vote.now)
    assert len(vote.masters()) == 1
    vote.turns(3)
    assert [replica.me.mine for replica in vote.masters()] == [1]


KINDS = ["stop", "go", "suspect", "depose", "depose late", "wait"]
STEP = st.tuples(st.sampled_from(KINDS), st.integers(0, 2), st.integers(1, 15))


@settings(max_examples=150)
@given(st.lists(STEP, max_size=30))
@example([("wait", 0, 2), ("suspect", 1, 2), ("depose late", 0, 1), ("depose late", 1, 3)])
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
            case "depose late":
                replica.me.deposed(max([0, *replica.masterships]))
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


# --- the state machine alone ----------------------------------------------------------------------------


def candidacy(replica: str = "0/1") -> Candidacy:
    """A replica of partition 0 that knows of no key yet."""
    me = Candidacy(0, replica)
    me.received([])
    return me


def told(term: int, master: str, revision: int) -> list[Entry]:
    """The entries that the watch sends of an election."""
    text = json.dumps({"replica": master, "term": term})
    return [Entry("partition/0/term", str(term), revision), Entry("partition/0/master", text, revision)]


def test_a_first_campaign_expects_that_there_is_neither_term_nor_master() -> None:
    me = candidacy()
    assert (me.master, me.term, me.mine) == ("", 0, 0)
    assert me.wants()
    campaign = me.campaign(77)
    assert campaign.term == 1
    assert campaign.expect == {"partition/0/term": 0, "partition/0/master": 0}
    # The term stays; the master goes with its lease.
    assert campaign.put["partition/0/term"] == Put("1")
    assert campaign.put["partition/0/master"].lease == 77
    assert json.loads(campaign.put["partition/0/master"].data) == {"replica": "0/1", "term": 1}


def test_a_campaign_expects_the_revisions_that_were_heard() -> None:
    me = candidacy()
    me.received(told(4, "0/0", 41))
    me.received([Entry("partition/0/master", None, 43)])
    assert (me.master, me.term) == ("", 4)
    campaign = me.campaign(77)
    assert campaign.term == 5
    assert campaign.expect == {"partition/0/term": 41, "partition/0/master": 0}
    me.received([Entry("partition/0/term", None, 44)])
    assert me.campaign(77).expect == {"partition/0/term": 0, "partition/0/master": 0}
    assert me.term == 4


def test_after_a_victory_the_next_campaign_expects_the_victorys_revision() -> None:
    me = candidacy()
    me.won(me.campaign(77), 12)
    assert (me.master, me.term, me.mine) == ("0/1", 1, 1)
    assert not me.wants()
    me.lost()
    assert me.wants()
    assert me.campaign(78).expect == {"partition/0/term": 12, "partition/0/master": 12}


def test_a_new_watch_forgets_the_master_and_revisions_but_not_the_term() -> None:
    me = candidacy()
    me.received(told(4, "0/0", 41))
    me.watching()
    assert (me.master, me.term) == ("", 4)
    assert me.campaign(77).expect == {"partition/0/term": 0, "partition/0/master": 0}


def test_keys_of_another_kind_mean_nothing() -> None:
    me = candidacy()
    me.received([Entry("partition/0/note", "9", 41)])
    assert (me.master, me.term) == ("", 0)


def test_a_replica_stands_where_there_is_no_master_or_it_is_named_itself() -> None:
    me = candidacy()
    me.received(told(4, "0/0", 41))
    assert not me.wants()
    me.suspect(4)
    assert me.wants()
    me.received(told(5, "0/2", 42))
    assert not me.wants()
    me.received(told(6, "0/1", 43))  # the write was made, though its answer was lost
    assert me.wants()


def test_nothing_is_suspicious_before_there_was_a_term() -> None:
    me = candidacy()
    me.suspect(0)
    assert not me.suspicious
    me.received(told(4, "0/0", 41))
    me.suspect(3)
    assert not me.suspicious
    me.suspect(4)
    me.suspect(2)
    assert me.suspicious


def test_a_term_never_falls() -> None:
    me = candidacy()
    me.received(told(5, "0/0", 41))
    me.deposed(3)
    assert me.term == 5
    me.received(told(4, "0/0", 42))
    assert me.term == 5
    assert me.campaign(77).term == 6
    me.deposed(8)
    assert me.term == 8


def test_a_late_refusal_of_an_older_term_does_not_depose() -> None:
    me = candidacy()
    me.received(told(4, "0/0", 41))
    me.suspect(4)
    me.won(me.campaign(77), 42)
    me.deposed(4)
    assert me.mine == 5
    me.deposed(5)
    assert me.mine == 0


def test_a_master_that_hears_of_a_higher_term_is_a_standby() -> None:
    me = candidacy()
    me.won(me.campaign(77), 12)
    me.received(told(1, "0/1", 12))
    assert me.mine == 1
    me.received(told(2, "0/0", 13))
    assert (me.mine, me.master) == (0, "0/0")


def test_a_victory_that_is_known_too_late_counts_for_nothing() -> None:
    me = candidacy()
    campaign = me.campaign(77)
    me.received(told(1, "0/1", 12))
    me.received(told(2, "0/0", 13))
    me.won(campaign, 12)
    assert (me.mine, me.term, me.master) == (0, 2, "0/0")
    assert me.campaign(77).expect == {"partition/0/term": 13, "partition/0/master": 13}


def test_a_victory_counts_whose_own_change_was_heard_first() -> None:
    me = candidacy()
    campaign = me.campaign(77)
    me.received(told(1, "0/1", 12))
    me.won(campaign, 12)
    assert me.mine == 1
