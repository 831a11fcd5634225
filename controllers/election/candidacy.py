"""One replica's part in the election of its partition's master, as a state machine. Pure.

The store holds two keys per partition: `term`, which stays and only grows, and `master`, which belongs to the master's
lease. One conditional write sets both, so each term has one master. Without an answer from the store, a replica keeps
its role. Programs carry the term, and a front end rejects a term below the highest that it knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from controllers.election import election_keys
from controllers.store.port import Entry, Put


@dataclass(frozen=True, slots=True)
class Campaign:
    """The write that would make this replica master of `term` (see `Store.commit`)."""

    term: int
    expect: dict[str, int]
    put: dict[str, Put]


class Candidacy:
    """The state of its partition's election that one replica knows.

    Attributes:
        master: name of the master, "" if there is no master.
        term: the highest term known.
        mine: the term that this replica is master of; 0: it is a standby.
    """

    def __init__(self, partition: int, replica: str) -> None:
        self.replica = replica
        self.master = ""
        self.term = 0
        self.mine = 0
        self.prefix = f"partition/{partition}/"
        self._term_revision = 0
        self._master_revision = 0
        self._suspected = 0

    def watching(self) -> None:
        """Forget the state before a new watch, which first sends all keys."""
        self.master, self._term_revision, self._master_revision = "", 0, 0

    def received(self, entries: Iterable[Entry]) -> None:
        """Record changes from the watch."""
        for entry in entries:
            if entry.key == self.prefix + "term":
                self._term_revision = entry.revision if entry.data is not None else 0
                self.term = max(self.term, election_keys.term(entry) or 0)
            elif entry.key == self.prefix + "master":
                self._master_revision = entry.revision if entry.data is not None else 0
                self.master = election_keys.master(entry) or ""
        if self.term > self.mine:
            self.mine = 0

    def suspect(self, term: int) -> None:
        """Note that the master of this term is probably dead: do not wait for the end of its lease."""
        self._suspected = max(self._suspected, term)

    def deposed(self, term: int) -> None:
        """Record that a front end knows a higher term than `term`."""
        self.term = max(self.term, term)
        if self.mine == term:
            self.mine = 0

    def lost(self) -> None:
        """Record that the lease has ended, and with it the mastership."""
        self.mine = 0

    @property
    def suspicious(self) -> bool:
        """Whether the master is probably dead."""
        return 0 < self.term <= self._suspected

    def wants(self) -> bool:
        """Whether to stand for election now."""
        return not self.mine and (not self.master or self.suspicious or self.master == self.replica)

    def campaign(self, lease: int) -> Campaign:
        """The write to try; it fails if another replica was faster."""
        term = self.term + 1
        master = json.dumps({"replica": self.replica, "term": term})
        return Campaign(
            term,
            {self.prefix + "term": self._term_revision, self.prefix + "master": self._master_revision},
            {self.prefix + "term": Put(str(term)), self.prefix + "master": Put(master, lease)},
        )

    def won(self, campaign: Campaign, revision: int) -> None:
        """Record that the write succeeded."""
        if campaign.term >= self.term:
            self.term = self.mine = campaign.term
            self.master = self.replica
            self._term_revision = self._master_revision = revision
