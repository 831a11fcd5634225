"""A VM controller as a process: one replica of one partition (paper section 3.1).

Master and standbys receive the same intent and the same events of switches and agents; only the master programs. The
election chooses the master, and the front ends reject programs of any other.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controllers.election.candidacy import Candidacy
from controllers.election.election import Election
from controllers.fm.intent_store import Changes
from controllers.partitions import Owners
from controllers.roles.intent_stream import FabricLink
from controllers.roles.offload_order import FollowedOffload
from controllers.roles.remote_switches import FrontEndLink
from controllers.store.port import Store
from controllers.vmc.controller import Controller
from controllers.vmc.core import ControllerCore
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.offload.policy import OffloadSettings
from controllers.vmc.offload.policy_file import load_policy
from hoverboard.contract.errors import InputError
from hoverboard.contract.wire import control_pb2 as pb

if TYPE_CHECKING:
    from hoverboard.contract.documents import ReplicaStatus

_log = logging.getLogger(__name__)
_FOLLOW_PAUSE = 0.2  # seconds


@dataclass(frozen=True, slots=True)
class ReplicaId:
    """The partition of a controller, the number of partitions, and its number within the partition."""

    partition: int
    partitions: int
    replica: int


class VmControllerRole:
    """One replica.

    Args:
        model: the programming model.
        offload: settings of the offload policy.
        offload_policy: "/path/file.py:Class" of a user's policy.
        place: which replica it is.
        store: for the election.
        fabric_manager: its gRPC address.
        front_ends: the gRPC addresses of all front ends.
    """

    def __init__(
        self,
        model: ProgrammingModel,
        offload: OffloadSettings,
        offload_policy: str | None,
        place: ReplicaId,
        store: Store,
        fabric_manager: str,
        front_ends: Sequence[str],
    ) -> None:
        owners, self._place = Owners(place.partitions), place
        self._store = store
        self._mine = 0
        self._order: pb.ModelOrder | None = None
        self._offload = FollowedOffload(offload, offload_policy)
        self._candidacy = Candidacy(place.partition, f"{place.partition}/{place.replica}")

        def owns(dpid: int) -> bool:
            return owners.of(dpid) == place.partition

        def wants(dpid: int) -> bool:
            # Every partition needs to know which Hoverboards are alive.
            return owns(dpid) or core.names.get(dpid) in core.view.hoverboards

        policy = load_policy(offload_policy, offload)
        core = ControllerCore(model, policy, owns, active=False, gate=self._may_go_on)
        self._controller = Controller(core, self._deposed)
        hello = pb.ControllerHello(partition=place.partition, replica=place.replica, pid=os.getpid())
        self._fabric = FabricLink(fabric_manager, hello, self)
        candidate = pb.Candidate(partition=place.partition, replica=place.replica)
        self._links = [
            FrontEndLink(
                address, candidate, self._controller, wants, lambda: (self._candidacy.term, self._candidacy.mine)
            )
            for address in front_ends
        ]
        self._election = Election(store, self._candidacy, self._elected)

    async def answered(self) -> None:
        """Return at once: it answers no requests."""

    async def stop(self) -> None:
        """Leave the election, so that a standby takes over at once."""
        await self._election.close()
        await self._fabric.close()
        for link in self._links:
            await link.close()
        self._controller.stop()
        await self._store.close()

    def _elected(self) -> None:
        """Act on a change of the election."""
        candidacy = self._candidacy
        for link in self._links:
            link.send_term()
        # Sent first: the fabric manager accepts results only from the master that it knows.
        self._fabric.report_standing(bool(candidacy.mine), candidacy.term)
        if candidacy.mine != self._mine:
            if self._mine:
                _log.info("no longer master of partition %d", self._place.partition)
                self._controller.deactivate()
            self._mine = candidacy.mine
            if self._mine:
                _log.info("master of partition %d, term %d", self._place.partition, self._mine)
                self._controller.activate()
                self._report_reached()

    def _deposed(self) -> None:
        """Record that a front end rejected our program."""
        if self._mine:
            self._election.deposed(self._mine)

    # --- roles.intent_stream.IntentEvents --------------------------------------------------------------------

    async def changed(self, changes: Changes, number: int) -> list[str]:
        """Apply a change of the intent."""
        self._follow()
        switches = await self._controller.changed(changes, complete=True, number=number)
        for link in self._links:
            link.update_subscriptions()
        return switches

    def applied(self, number: int) -> None:
        """Record that the master's switches have this update."""
        self._controller.core.unconfirmed.applied(number)

    def ordered(self, order: pb.ModelOrder) -> None:
        """Record the ordered programming model, and the stage that the change to it may reach."""
        self._order = order
        self._follow()
        self._report_reached()

    def offload_ordered(self, order: pb.OffloadOrder) -> None:
        """Use the ordered offload policy; keep the present one if its file is no good."""
        try:
            policy = self._offload.follow(order)
        except InputError as error:
            _log.error("%s", error)
            self._controller.core.policy.errors.refused(error)
        else:
            if policy is not None:
                self._controller.set_policy(policy)

    def _follow(self) -> None:
        """Begin the ordered change, unless it has begun or another one is in progress."""
        order, core = self._order, self._controller.core
        if order is None or core.model.name == order.model:
            return
        if core.switching is None:
            self._controller.set_model(order.model)
        else:  # the way back, ordered in the middle of a change that ends first
            asyncio.get_running_loop().call_later(_FOLLOW_PAUSE, self._follow)

    def _may_go_on(self, stage: str) -> bool:
        """Whether all partitions have ended the stage that has ended here."""
        order = self._order
        if order is None or order.model != self._controller.core.model.name or order.stage not in ("gain", stage):
            return True
        if self._mine:
            self._fabric.report_reached(order.number, stage)
        return False

    def _report_reached(self) -> None:
        """Report a stage that this controller does not need, because it runs the ordered model from its start."""
        order, core = self._order, self._controller.core
        if self._mine and order is not None and core.model.name == order.model and core.switching is None:
            self._fabric.report_reached(order.number, order.stage)

    def suspect(self, term: int) -> None:
        """Record that the master of this term is probably dead."""
        self._election.suspect(term)

    def document(self, what: str) -> str:
        """The document that the fabric manager merges into `status` or `offloads`."""
        if what == "offloads":
            return json.dumps(self._controller.offloads() if self._mine else [])
        core = self._controller.core
        status: ReplicaStatus = {
            **self._controller.model_document(),
            "switches": self._controller.switches(),
            "joined": len(core.view.ports),
            "offloads": len(core.policy.active),
            "counters": dict(core.counters),
            "front_ends": sum(link.connected for link in self._links),
            "term": self._candidacy.term,
            "policy_errors": core.policy.errors.count,
            "policy_error": core.policy.errors.last,
        }
        return json.dumps(status)
