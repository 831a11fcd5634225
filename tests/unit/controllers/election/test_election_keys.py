"""Values in the store that are not ours end no election: they are logged and ignored."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controllers.election import election_keys
from controllers.election.candidacy import Candidacy
from controllers.election.election_keys import master, partition_and_kind, term
from controllers.store.port import Entry, Put
from tests.unit.controllers.election.test_election import Partition, with_replicas

anything = st.text() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["replica", "term", "x"]), inner),
).map(json.dumps)


@pytest.mark.parametrize(
    ("data", "expected"),
    [("1", 1), ("0", 0), (str(2**63 - 1), 2**63 - 1), (None, None), ("boom", None), ("", None), ("-1", None),
     ("1.5", None), ("\u0661", None), (" 1", None), ("1_0", None), (str(2**63), None), ("9" * 10_000, None)],
)  # fmt: skip
def test_a_term_is_a_whole_number(data: str | None, expected: int | None) -> None:
    assert term(Entry("partition/0/term", data, 1)) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [('{"replica": "a", "term": 1}', "a"), (None, None), ("boom", None), ("[]", None), ("7", None), ("{}", None),
     ('{"replica": 7}', None), ("[" * 100_000, None)],
)  # fmt: skip
def test_a_master_is_the_name_of_a_replica(data: str | None, expected: str | None) -> None:
    assert master(Entry("partition/0/master", data, 1)) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [("partition/0/term", (0, "term")), ("partition/12/master", (12, "master")), ("partition/x/term", None),
     ("partition/0", None), ("partition/0/term/1", None), ("", None), ("partition/-1/term", None)],
)  # fmt: skip
def test_the_key_says_which_partition(key: str, expected: tuple[int, str] | None) -> None:
    assert partition_and_kind(Entry(key, "1", 1)) == expected


def test_what_is_ignored_is_logged_without_its_control_characters(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, election_keys.__name__):
        term(Entry("partition/0/term", "boom\x1b[2J", 1))
    assert caplog.messages == [r"'partition/0/term': ignored: 'boom\x1b[2J' is not a value of ours"]


@given(st.sampled_from(["term", "master"]), st.none() | anything)
@example("term", "boom")
def test_no_value_ends_a_candidacy(kind: str, data: str | None) -> None:
    candidacy = Candidacy(0, "a")
    candidacy.received([Entry(f"partition/0/{kind}", data, 7)])
    assert isinstance(candidacy.term, int)
    assert isinstance(candidacy.master, str)
    campaign = candidacy.campaign(1)
    assert campaign.expect[f"partition/0/{kind}"] == (0 if data is None else 7), "the next master writes over it"


@pytest.mark.parametrize("poison", ["boom", "[]", '{"replica": 1}', ""])
@pytest.mark.parametrize("key", ["term", "master"])
def test_replicas_elect_over_a_value_that_makes_no_sense(key: str, poison: str) -> None:
    async def test(partition: Partition) -> None:
        first = await partition.elected()
        other = partition.place.connect()
        await other.commit({}, {f"partition/0/{key}": Put(poison)})
        await other.close()
        await first.leave()
        partition.voters.remove(first)
        second = await partition.elected()
        assert second.me.term > 1

    with_replicas(test)
