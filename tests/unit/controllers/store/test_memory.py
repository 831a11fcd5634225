"""The embedded store's data: conditional writes, leases and their keys, watches. The clock is the test's own."""

from __future__ import annotations

import pytest

from controllers.store.memory import MemoryStore
from controllers.store.port import Entry, LeaseLost, Put

START = 1_000_003.0


def watched(store: MemoryStore, prefix: str = "") -> list[list[Entry]]:
    """The lists that a watcher of this prefix receives."""
    seen: list[list[Entry]] = []
    store.watch(prefix, seen.append)
    return seen


def test_a_write_is_made_only_where_each_revision_is_as_expected() -> None:
    store = MemoryStore()
    assert store.commit({"a": 0}, {"a": Put("1")}) == 1
    assert store.commit({"a": 0}, {"a": Put("2")}) is None
    assert store.commit({"a": 1, "b": 1}, {"a": Put("2")}) is None
    assert store.commit({"a": 1, "b": 0}, {"a": Put("2"), "b": Put("3")}) == 2
    assert store.items("") == [Entry("a", "2", 2), Entry("b", "3", 2)]
    assert store.revision == 2


def test_one_key_is_found_by_its_whole_name_and_many_by_their_beginning_in_order() -> None:
    store = MemoryStore()
    store.commit({}, {"p/2": Put("b"), "q/1": Put("c"), "p/1": Put("a")})
    assert store.get("p/1") == Entry("p/1", "a", 1)
    assert store.get("p/") is None
    assert [entry.key for entry in store.items("p/")] == ["p/1", "p/2"]


def test_a_watcher_receives_the_present_keys_and_then_every_change() -> None:
    store = MemoryStore()
    store.commit({}, {"p/old": Put("1"), "q/old": Put("1")})
    seen = watched(store, "p/")
    assert seen == [[Entry("p/old", "1", 1)]]
    store.commit({}, {"q/new": Put("2")})
    store.commit({}, {"p/new": Put("2"), "q/new": Put("3")}, ["p/old", "p/never"])
    assert seen[1:] == [[Entry("p/new", "2", 3), Entry("p/old", None, 3)]]
    assert watched(MemoryStore()) == [[]]


def test_a_watcher_that_left_receives_nothing() -> None:
    store = MemoryStore()
    left: list[list[Entry]] = []
    token = store.watch("", left.append)
    stays = watched(store)
    store.unwatch(token)
    store.unwatch(token)
    store.commit({}, {"a": Put("1")})
    assert (len(left), len(stays)) == (1, 2)


def test_a_key_that_is_deleted_is_absent_again() -> None:
    store = MemoryStore()
    store.commit({}, {"a": Put("1")})
    assert store.commit({"a": 1}, {}, ["a"]) == 2
    assert store.get("a") is None
    assert store.commit({"a": 0}, {"a": Put("2")}) == 3


def test_a_write_under_a_lease_that_is_not_there_changes_nothing() -> None:
    store = MemoryStore()
    lease = store.grant(1.0, START)
    seen = watched(store)
    with pytest.raises(LeaseLost, match=f"no lease {lease + 1}") as lost:
        store.commit({}, {"a": Put("1", lease), "b": Put("2", lease + 1)})
    assert lost.value.next_step == "take a new lease"
    assert (store.revision, seen) == (0, [[]])


def test_leases_have_numbers_of_their_own() -> None:
    store = MemoryStore(first_lease=41)
    assert [store.grant(1.0, START), store.grant(1.0, START)] == [41, 42]


def test_a_lease_ends_at_its_time_and_takes_its_keys_along() -> None:
    store = MemoryStore()
    first, second = store.grant(1.0, START), store.grant(2.0, START)
    store.commit({}, {"b": Put("1", first), "a": Put("2", first), "later": Put("3", second), "stays": Put("4")})
    seen = watched(store)
    store.expire(START + 0.9)
    assert store.revision == 1
    store.expire(START + 1.0)
    assert seen[1:] == [[Entry("a", None, 2), Entry("b", None, 2)]]
    assert [entry.key for entry in store.items("")] == ["later", "stays"]
    assert store.keep(first, START + 1.0) is False
    store.expire(START + 5.0)
    assert [entry.key for entry in store.items("")] == ["stays"]


def test_a_lease_that_is_kept_alive_lasts_as_long_again() -> None:
    store = MemoryStore()
    lease = store.grant(1.0, START)
    store.commit({}, {"a": Put("1", lease)})
    assert store.keep(lease, START + 0.9) is True
    store.expire(START + 1.8)
    assert store.get("a") is not None
    store.expire(START + 1.9)
    assert store.get("a") is None


def test_a_revoked_lease_is_over_at_once_and_one_without_keys_notifies_no_watcher() -> None:
    store = MemoryStore()
    empty, held = store.grant(1.0, START), store.grant(1.0, START)
    store.commit({}, {"a": Put("1", held)})
    seen = watched(store)
    store.revoke(empty)
    store.revoke(empty + 7)
    assert (store.revision, len(seen)) == (1, 1)
    store.revoke(held)
    assert seen[1:] == [[Entry("a", None, 2)]]
    with pytest.raises(LeaseLost):
        store.commit({}, {"a": Put("2", held)})


def test_an_old_leases_end_does_not_touch_a_new_holders_key() -> None:
    store = MemoryStore()
    old, new = store.grant(1.0, START), store.grant(9.0, START)
    store.commit({}, {"master": Put("first", old), "other": Put("first", old)})
    store.commit({}, {"master": Put("second", new)})
    seen = watched(store)
    store.expire(START + 1.0)
    assert store.get("master") == Entry("master", "second", 2)
    assert seen[1:] == [[Entry("other", None, 3)]]
    store.expire(START + 9.0)
    assert store.get("master") is None


def test_a_key_that_was_deleted_or_written_without_a_lease_is_no_business_of_the_lease() -> None:
    store = MemoryStore()
    lease = store.grant(1.0, START)
    store.commit({}, {"deleted": Put("1", lease), "freed": Put("1", lease)})
    store.commit({}, {"freed": Put("2")}, ["deleted"])
    store.commit({}, {"deleted": Put("3")})
    seen = watched(store)
    store.expire(START + 1.0)
    assert store.lasting() == {"deleted": "3", "freed": "2"}
    assert len(seen) == 1


def test_time_for_which_the_store_was_away_counts_for_no_lease() -> None:
    store = MemoryStore()
    lease = store.grant(1.0, START)
    store.commit({}, {"a": Put("1", lease)})
    store.grace(10.0)
    store.expire(START + 10.9)
    assert store.get("a") is not None
    store.expire(START + 11.0)
    assert store.get("a") is None


def test_lasting_keys_are_those_without_a_lease() -> None:
    store = MemoryStore()
    lease = store.grant(1.0, START)
    store.commit({}, {"stays": Put("1"), "goes": Put("2", lease)})
    assert store.lasting() == {"stays": "1"}
