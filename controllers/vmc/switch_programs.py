"""The switches and their flow programs: expected flows, reads, sends, rejections (paper section 3.1). Pure.

A switch receives nothing before it was read. It is not read before this controller knows enough to judge its flows:
a new controller never wipes a switch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from controllers.program import Program
from controllers.vmc.flows.expected import ExpectedFlows
from controllers.vmc.model_change.switchover import Switchover
from controllers.vmc.unconfirmed import UnconfirmedPrograms
from controllers.vmc.view.facts import Switch, Sync
from hoverboard.contract.openflow.flow import Flow

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds before a switch that rejected a program is read again
COUNTERS = (
    "reconciliations", "reconciled_flows_kept", "reconciled_flows_changed", "programs_refused", "switches_emptied",
)  # fmt: skip


@dataclass(slots=True)
class Work:
    """The work for the switches; each switch is named by datapath id and generation.

    Attributes:
        reads: the switches whose flows to read.
        programs: the programs to send, in this order.
        packets: (datapath id, generation, port, frame) to send through the tables after that.
        changed: names of switches whose program changed, connected or not.
    """

    reads: list[tuple[int, int]] = field(default_factory=list)
    programs: list[tuple[int, int, Program]] = field(default_factory=list)
    packets: list[tuple[int, int, int, bytes]] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)


class SwitchPrograms:
    """The switches of one controller.

    Args:
        expected: the flows that they should hold.
        can_reconcile: whether enough is known of a node to judge the flows of its switch.
        abandoned: whether to empty a switch, by datapath id, that has no node in the intent.
        counters: the counters to increment; has COUNTERS.
        active: whether programs are sent; a standby only learns (see `activate`).

    Attributes:
        expected: may be replaced; the programs that this requires go through `distribute`.
        switches: by datapath id.
        names: datapath id -> node name, of all nodes of the intent.
        unconfirmed: the programs of a standby that its master has not confirmed.
    """

    def __init__(
        self,
        expected: ExpectedFlows | Switchover,
        can_reconcile: Callable[[str], bool],
        abandoned: Callable[[int], bool],
        counters: dict[str, int],
        *,
        active: bool = True,
    ) -> None:
        self.expected = expected
        self.active = active
        self.switches: dict[int, Switch] = {}
        self.names: dict[int, str] = {}
        self.unconfirmed = UnconfirmedPrograms()
        self._can_reconcile = can_reconcile
        self._abandoned = abandoned
        self._counters = counters
        self._dpids: dict[str, int] = {}  # node name -> datapath id
        self._retired: set[int] = set()
        self._failed: set[int] = set()
        self._cause = (0, 0.0)  # number and time of the update that is being computed
        self._work = Work()

    # --- nodes ------------------------------------------------------------------------------------

    def add_node(self, dpid: int, node: str) -> None:
        """Add a node of the intent, whose switch has this datapath id."""
        self.names[dpid], self._dpids[node] = node, dpid
        self._retired.discard(dpid)
        self._compare_again(dpid)

    def remove_node(self, dpid: int) -> None:
        """Remove a node that left the intent or changed."""
        del self._dpids[self.names.pop(dpid)]
        self._compare_again(dpid)

    def _compare_again(self, dpid: int) -> None:
        """Wait for a read of the switch, if it is connected: from now on it should hold other flows."""
        if dpid in self.switches and self.switches[dpid].connected:
            self.switches[dpid].sync = Sync.WAITING

    def retire(self, dpid: int) -> None:
        """Empty the switch of a node that left the intent for good, now or when it connects."""
        self._retired.add(dpid)
        if dpid in self.switches:
            self.read_if_ready(self.switches[dpid])

    def has_node(self, node: str) -> bool:
        """Whether the intent has a node of this name."""
        return node in self._dpids

    def switch_of(self, node: str) -> Switch | None:
        """The known state of a node's switch, or None."""
        dpid = self._dpids.get(node)
        return self.switches.get(dpid) if dpid is not None else None

    def awaits_adoption(self, node: str) -> bool:
        """Whether a host may hold offloads of a former master that this controller has not read yet."""
        switch = self.switch_of(node)
        return switch is not None and switch.inherited

    # --- mastership -------------------------------------------------------------------------------

    def activate(self, now: float) -> None:
        """Become master: read every switch, and send what differs from the expected flows.

        Changes are sent at once, first those that came while there was no master. A switch may be in any state then;
        the read that follows finds and mends what they leave wrong.
        """
        self.settle()
        self.active = True
        for switch in self.switches.values():
            switch.inherited = switch.connected
            self.read_if_ready(switch)
        self._send_where_ready(dict(self.unconfirmed.take(now)))

    def deactivate(self) -> None:
        """Become a standby: nothing is sent."""
        self.active = False
        self._failed.clear()
        self._work = Work(changed=self._work.changed)
        for switch in self.switches.values():
            switch.generation += 1  # answers to earlier requests are ignored
            if switch.connected:
                switch.sync, switch.outstanding = Sync.WAITING, 0

    # --- connections ------------------------------------------------------------------------------

    def connected(self, dpid: int, ports: Mapping[str, int]) -> tuple[Switch, Mapping[str, int]]:
        """Record a new connection with its ports (name -> number); return the switch, and its former ports."""
        switch = self.switches.setdefault(dpid, Switch(dpid))
        switch.generation += 1
        switch.sync, switch.outstanding, switch.inherited = Sync.WAITING, 0, False
        former, switch.ports = switch.ports, dict(ports)
        return switch, former

    def disconnected(self, dpid: int, generation: int) -> bool:
        """Record the end of a connection; return False if it is not the switch's present connection."""
        switch = self.current(dpid, generation)
        if switch is None:
            return False
        switch.sync, switch.outstanding = Sync.AWAY, 0
        return True

    def current(self, dpid: int, generation: int) -> Switch | None:
        """The switch, if this is its present connection; else None."""
        switch = self.switches.get(dpid)
        return switch if switch is not None and switch.generation == generation and switch.connected else None

    # --- reads ------------------------------------------------------------------------------------

    def read_if_ready(self, switch: Switch) -> None:
        """Read a switch that waits for a read, if this controller programs it and knows enough."""
        if not self.active or switch.sync is not Sync.WAITING:
            return
        name = self.names.get(switch.dpid)
        programmed = name in self.expected.tables and self._can_reconcile(name)
        if programmed or switch.dpid in self._retired or (name is None and self._abandoned(switch.dpid)):
            self.settle()  # what is known before the read is compared with its answer, and not sent by itself
            switch.sync = Sync.READING
            self._work.reads.append((switch.dpid, switch.generation))

    def read_all_ready(self) -> None:
        """Read all waiting switches for which enough is known now."""
        for switch in self.switches.values():
            self.read_if_ready(switch)

    def reread_all(self) -> None:
        """Read all synced switches again."""
        for switch in self.switches.values():
            if switch.sync is Sync.SYNCED:
                switch.sync = Sync.WAITING
                self.read_if_ready(switch)

    def answering(self, dpid: int, generation: int) -> Switch | None:
        """Accept the answer to a read and return its switch; None if no read waits for it."""
        switch = self.current(dpid, generation)
        if switch is None or switch.sync is not Sync.READING:
            return None
        switch.inherited = False  # from here on, programs follow from this read
        return switch

    def reconcile(self, switch: Switch, flows: Iterable[Flow]) -> None:
        """Compare a switch's flows with the expected ones, and send what differs."""
        self.settle()
        table = self.expected.tables[self.names[switch.dpid]]
        actual = {flow.key: flow for flow in flows}
        program = table.program_from(actual)
        switch.sync = Sync.SYNCED
        self._counters["reconciliations"] += 1
        self._counters["reconciled_flows_kept"] += len(table) - len(program.adds) if actual else 0
        self._counters["reconciled_flows_changed"] += len(program)
        if program:
            self._send(switch, program)

    def empty(self, switch: Switch, flows: Iterable[Flow]) -> None:
        """Delete these flows of ours from a switch whose node left the intent."""
        program = Program((), tuple([flow.key for flow in flows]))
        switch.sync = Sync.SYNCED
        if program:
            self._counters["switches_emptied"] += 1
            self._send(switch, program)

    # --- programs ---------------------------------------------------------------------------------

    def begin_update(self, number: int, now: float) -> None:
        """Set the update that the next programs belong to (0: none)."""
        if not self.active:
            self.settle()  # programs of earlier changes keep their update
        self._cause = (number, now)

    def settle(self) -> None:
        """Compute the marked flows, and send the changes."""
        self.distribute(self.expected.settle())

    def distribute(self, programs: Mapping[str, Program]) -> None:
        """Send programs, by switch name; a standby keeps them for a while instead."""
        self._work.changed.update(programs)
        if self.active:
            self._send_where_ready(programs)
        else:
            for name, program in programs.items():
                self.unconfirmed.keep(name, program, *self._cause)

    def _send_where_ready(self, programs: Mapping[str, Program]) -> None:
        for name, program in programs.items():
            switch = self.switch_of(name)
            if switch is None:
                continue
            if switch.sync is Sync.SYNCED or (switch.sync is Sync.READING and switch.inherited):
                self._send(switch, program)

    def _send(self, switch: Switch, program: Program) -> None:
        switch.outstanding += 1
        self._work.programs.append((switch.dpid, switch.generation, program))

    def done(self, dpid: int, generation: int) -> Switch | None:
        """Record that a switch has a program; return the switch if no program is outstanding, else None."""
        switch = self.current(dpid, generation)
        if switch is None:
            return None
        switch.outstanding -= 1
        if switch.outstanding or switch.sync is not Sync.SYNCED:
            return None
        switch.pause = 0.0
        return switch

    def rejected(self, dpid: int, generation: int, reason: str, now: float) -> None:
        """Record that a switch rejected a whole program; it is read again after a pause that grows."""
        switch = self.current(dpid, generation)
        if switch is None:
            return  # the connection is over: the switch is read when it returns
        self._counters["programs_refused"] += 1
        switch.outstanding -= 1
        switch.errors += 1
        switch.last_error = reason
        if switch.sync is Sync.SYNCED:
            switch.pause = min(switch.pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
            switch.retry_at = now + switch.pause
            switch.sync = Sync.FAILED
            self._failed.add(dpid)

    def packet(self, switch: Switch, port: int, frame: bytes) -> None:
        """Send a packet through a switch's tables."""
        self._work.packets.append((switch.dpid, switch.generation, port, frame))

    def take(self) -> Work:
        """The work since the last call."""
        self.settle()
        self._cause = (0, self._cause[1])
        work, self._work = self._work, Work()
        return work

    # --- time -------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Let time pass: read switches again that rejected a program."""
        for dpid in list(self._failed):
            switch = self.switches[dpid]
            if switch.sync is not Sync.FAILED:  # it has reconnected or disconnected since
                self._failed.discard(dpid)
            elif switch.retry_at <= now:
                self._failed.discard(dpid)
                switch.sync = Sync.WAITING
                self.read_if_ready(switch)

    def deadline(self) -> float | None:
        """The time at which `tick` is due next, or None."""
        return min((self.switches[dpid].retry_at for dpid in self._failed), default=None)
