"""One replica's part in the election of its partition's master, as a state machine. Pure.

The store holds two keys for each partition: `term`, which only grows and stays, and `master`, which
hangs on the master's lease. Both are written in one conditional write, so each term has one master.
A replica without an answer from the store stays what it is: programs carry the term, and front ends
refuse those of lower terms than they have heard of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from controllers.store.port import Entry, Put


@dataclass(frozen=True, slots=True)
class Campaign:
    """The write that would make this replica master of `term`; see `Store.commit`."""

    term: int
    expect: dict[str, int]
    put: dict[str, Put]


class Candidacy:
    """What one replica knows of its partition's election.

    Attributes:
        master: name of the master, "" while there is none.
        term: the highest term heard of.
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
        """A new watch has begun: what it tells first is all there is."""
        self.master, self._term_revision, self._master_revision = "", 0, 0

    def received(self, entries: Iterable[Entry]) -> None:
        """The watch told of changes."""
        for entry in entries:
            if entry.key == self.prefix + "term":
                self._term_revision = entry.revision if entry.data is not None else 0
                if entry.data is not None:
                    self.term = max(self.term, int(entry.data))
            elif entry.key == self.prefix + "master":
                self._master_revision = entry.revision if entry.data is not None else 0
                self.master = json.loads(entry.data)["replica"] if entry.data is not None else ""
        if self.term > self.mine:
            self.mine = 0

    def suspect(self, term: int) -> None:
        """The master of this term is said to be gone: do not wait for the end of its lease."""
        self._suspected = max(self._suspected, term)

    def deposed(self, term: int) -> None:
        """A front end knows a higher term than `term`."""
        self.term = max(self.term, term)
        if self.mine == term:
            self.mine = 0

    def lost(self) -> None:
        """The lease is over, and so is what hung on it."""
        self.mine = 0

    @property
    def suspicious(self) -> bool:
        """Whether the master is said to be gone."""
        return 0 < self.term <= self._suspected

    def wants(self) -> bool:
        """Whether to stand for election now."""
        return not self.mine and (not self.master or self.suspicious or self.master == self.replica)

    def campaign(self, lease: int) -> Campaign:
        """The write to try; that somebody else was faster makes it fail."""
        term = self.term + 1
        master = json.dumps({"replica": self.replica, "term": term})
        return Campaign(
            term,
            {self.prefix + "term": self._term_revision, self.prefix + "master": self._master_revision},
            {self.prefix + "term": Put(str(term)), self.prefix + "master": Put(master, lease)},
        )

    def won(self, campaign: Campaign, revision: int) -> None:
        """The write was made."""
        if campaign.term >= self.term:
            self.term = self.mine = campaign.term
            self.master = self.replica
            self._term_revision = self._master_revision = revision
