"""The flow-miss coprocessor: handles flow misses and revalidates flow-table entries (paper 3.2, 4.3).

A missed packet is traced in the real vswitchd (`ofproto/trace`). The answer becomes a flow-table entry, and the packet
is reinjected into the engine. All misses and all revalidation run in the host's one control thread. An answer
from before a change of the tables is installed before the change is handled, and then revalidated. So no stale answer
stays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from itertools import islice

from hoverboard.contract.errors import SwitchError
from hoverboard.contract.openflow.pipeline import Kind
from hoverboard.contract.packets import Address
from hoverboard.fastpath.engine.datapath import Datapath
from hoverboard.fastpath.memory import packets, ports, reasons, rings
from hoverboard.fastpath.packets.flow_table import Entry, FlowTable, Key
from hoverboard.fastpath.packets.parse import FIVE_TUPLE, with_ports
from hoverboard.host.listeners import NO_LISTENER, DropListener, EntryListener, RouteListener
from hoverboard.host.slowpath import switch_replies
from hoverboard.host.slowpath.entry_writer import EntryWriter, Underlay, drop_index, why_dropped
from hoverboard.host.slowpath.known_entries import KnownEntry, touched
from hoverboard.host.slowpath.missed_drops import MissedDrops
from hoverboard.host.slowpath.missed_packet import MissedPacket, parsed, take
from hoverboard.host.slowpath.punts import Punts
from hoverboard.host.slowpath.stale_entries import StaleEntries
from hoverboard.host.slowpath.trace_request import addresses, question_for
from hoverboard.vswitch.monitor import Change
from hoverboard.vswitch.switch_questions import SwitchQuestions
from hoverboard.vswitch.trace import TraceResult

_RETRACE_MAX = 150  # entries traced on a change; if more are concerned, they are removed and come back as misses
_STALE_BATCH = 32  # entries traced in one turn of the loop: some 10 ms, with misses handled in between
_RESTORE_MAX = 20_000  # entries that a restarted process restores: one second's work
_BURSTS = 4  # bursts of misses in one turn: a flood of new flows must not delay changes of the tables
_MACS = {"dl_src", "dl_dst"}  # the header fields that an entry can change in a packet
NewEntries = dict[Key, tuple[Entry, KnownEntry]]  # entries of one burst, before they are installed together


class FlowMisses:
    """Makes entries of misses, and revalidates the entries.

    Args:
        datapath, table: the engines, and the control thread's side of their flow table.
        switch: answers what its tables do with a packet.
        entry_writer: writes the entries.
        peers: handles frames from the fabric that are for the host itself.
        drops: notified of packets that are dropped here.
        entries: notified of keys whose entries were installed or removed, or have another answer.
        routes: notified of destinations whose default route is of kind LEARN.
    """

    def __init__(
        self,
        datapath: Datapath,
        table: FlowTable,
        switch: SwitchQuestions,
        entry_writer: EntryWriter,
        peers: Underlay,
        *,
        drops: DropListener = NO_LISTENER,
        entries: EntryListener = NO_LISTENER,
        routes: RouteListener = NO_LISTENER,
    ) -> None:
        self._datapath = datapath
        self._table = table
        self._switch = switch
        self._entry_writer = entry_writer
        self._peers = peers
        self._entries = entries
        self._routes = routes
        self.cached: dict[Key, KnownEntry] = {}
        self.forgotten: list[tuple[KnownEntry, int, int]] = []  # with packets and bytes, until usage() collects them
        self.drops = MissedDrops(drops)  # in addition to those of the engines
        self._handling = False
        self.reports_relayed = False  # see report_relayed()
        self.punts = Punts(switch.look_up, self._reinject, self.drops.drop)
        self._stale = StaleEntries()
        self.misses = 0
        self.traces = 0
        self.revalidations = 0

    def report_relayed(self, relayed: bool) -> None:
        """Set whether usage includes relayed packets: from the fabric and back into it."""
        self.reports_relayed = relayed

    def handle(self) -> None:
        """Handle waiting misses; if more are left than one turn handles, set the engines' eventfd again."""
        self._handling = True
        try:
            self._handle()
        finally:
            self._handling = False

    @property
    def unsettled(self) -> bool:
        """Whether a packet has left the engines for this thread, and is neither dropped nor reinjected yet."""
        return self._handling or self._datapath.misses_waiting() or len(self.punts) > 0

    def cookie_of(self, row: int) -> int:
        """The cookie of the OpenFlow flow behind the entry in a row of the flow table; 0 if there is none."""
        cached = self.cached.get(tuple(self._datapath.egress.keys[row].tolist()))
        return 0 if cached is None else cached.verdict.cookie

    def dropped_by_flow(self) -> dict[int, int]:
        """Packets by cookie of the OpenFlow flow that dropped them."""
        return self.drops.by_flow(
            (cached, self._table.counted(key)[0])
            for key, cached in self.cached.items()
            if cached.verdict.out_port is None or cached.earlier
        )

    def _handle(self) -> None:
        for _ in range(_BURSTS):
            waiting = [missed for m in self._datapath.memories for missed in take(m)]
            if not waiting:
                return
            reinject: list[MissedPacket] = []
            fresh: NewEntries = {}
            for missed in waiting:
                if missed.kind == rings.MISS_CONTROL:
                    self._peers.handle(missed.frame)
                elif self._resolve(missed, fresh):
                    reinject.append(missed)
            self._install(fresh)
            for missed in reinject:
                self._reinject(missed)
        if self._datapath.misses_waiting():
            os.eventfd_write(self._datapath.control_eventfd, 1)

    def _reinject(self, missed: MissedPacket) -> None:
        """Reinject a packet into the engine."""
        staged = missed.kind - rings.MISS_STAGED
        kind = rings.INJECT_STAGED + staged if staged >= 0 else rings.INJECT_PROCESS
        if not self._datapath.inject(missed.port, missed.frame, kind, missed.tunnel):  # tour: miss 10
            self.drops.drop("miss-queue-full", missed)

    def _drop_as_answered(self, missed: MissedPacket, verdict: TraceResult) -> None:
        """Drop a missed packet as the switch's tables do."""
        self.drops.drop(reasons.NAMES[drop_index(verdict)], missed, verdict.cookie)

    def _resolve(self, missed: MissedPacket, fresh: NewEntries) -> bool:
        """Trace one missed packet; return whether to reinject it into the engine."""
        self.misses += 1
        packet = parsed(
            missed, self._entry_writer.local_ip, int(self._datapath.egress.ports[missed.port, ports.OFPORT])
        )
        if isinstance(packet, str):
            self.drops.drop(packet, missed)
            return False
        three, transport, inner = packet
        five = with_ports(three, transport)
        if three in self._table or five in self._table or three in fresh or five in fresh:
            return True
        question = question_for(three, transport, inner, self._entry_writer.local_ip)  # tour: miss 4
        try:
            verdict = self._trace(question)
        except (SwitchError, ValueError):
            self.drops.drop("switch-not-programmed", missed)
            return False
        if not verdict.matched:
            self.drops.drop("switch-not-programmed", missed)
            return False
        if verdict.kind is Kind.DROP_UNKNOWN_PORT:
            # The VM's flows are not installed yet: no entry, so that its next packet is traced, too.
            self._drop_as_answered(missed, verdict)
            return False
        if verdict.kind is Kind.PUNT and (ends := addresses(three)) is not None:
            self.punts.punt(verdict.vni, ends[1], three[0] >> 48 & 0xFFFF, inner, missed)
            return False
        if verdict.changed - _MACS:
            self._answer(missed, inner, verdict)
            return False
        if not verdict.cacheable:
            # A drop that depends on a field no key holds (an ARP message's content) still has its own reason.
            if verdict.out_port is None:
                self._drop_as_answered(missed, verdict)
            else:
                self.drops.drop(reasons.NAMES[reasons.UNCACHEABLE], missed)
            return False
        chosen = five if verdict.needs_ports else three
        entry = self._entry_writer.entry(verdict, three)
        cached = _cached(three, question, verdict, why_dropped(verdict, entry))
        fresh[chosen] = entry, cached
        self._request_direct_route(cached)
        return True

    def _request_direct_route(self, cached: KnownEntry) -> None:
        """Ask the Hoverboard for a direct route if the entry uses a default route of kind LEARN."""
        verdict = cached.verdict
        if verdict.kind is Kind.LEARN and cached.dst and verdict.tun_dst:
            self._routes.route_wanted(verdict.vni, cached.dst, verdict.tun_dst)

    def _trace(self, question: str) -> TraceResult:
        """The switch's answer. SwitchError: it does not answer. ValueError: the answer cannot be parsed."""
        self.traces += 1
        return self._switch.trace(question)

    def reapply_stages(self, flows: Set[tuple[int, Address]]) -> None:
        """Write the entries of `flows`, (OpenFlow port, source), with their current stages; trace nothing."""
        replace = {
            key: self._entry_writer.entry(cached.verdict, key)
            for key, cached in self.cached.items()
            if (cached.verdict.out_port, cached.src) in flows
        }
        targets = {key: self._table.target(key) for key in replace}
        self._table.update(add=replace.items())
        for key in replace:
            cached = self.cached[key]
            dropped = why_dropped(cached.verdict, replace[key])
            cached.change_answer(cached.verdict, targets[key], *self._table.carried(key), dropped=dropped)

    def _answer(self, missed: MissedPacket, inner: bytes, verdict: TraceResult) -> None:
        """Send the switch's own reply (ARP, ping to the gateway); no entry, so each such packet comes here."""
        out = self._entry_writer.vport_of(verdict.out_port) if verdict.out_port is not None else None
        try:
            reply = switch_replies.rewrite(inner, verdict.headers)
        except (KeyError, ValueError):  # a program of others has made another kind of packet of it
            reply = None
        if out is None or reply is None or missed.port == ports.UPLINK:
            self.drops.drop(reasons.NAMES[reasons.UNCACHEABLE], missed)
            return
        self._datapath.inject(out, bytes(packets.VNET_BYTES) + reply, rings.INJECT_RAW)

    def _install(self, fresh: NewEntries) -> None:
        if len(self._table) + len(fresh) > self._table.capacity:
            self.make_room(len(fresh))
        self._table.update(add=[(key, entry) for key, (entry, _cached) in fresh.items()])
        self.cached.update((key, cached) for key, (_entry, cached) in fresh.items())
        self._entries.flows_changed(fresh)

    def make_room(self, wanted: int) -> None:
        """Evict the entries that carried least since the last call of expire()."""
        statistics = self._table.statistics()
        by_use = sorted(statistics, key=lambda key: statistics[key][2] - self.cached[key].seen)
        victims = by_use[: max(wanted, self._table.capacity // 8)]
        self.forget(victims)
        self._table.evicted += len(victims)

    def forget(self, keys: list[Key]) -> None:
        """Remove entries; their packets come back as misses."""
        for key in keys:
            self._stale.forget(key)
            cached = self.cached.pop(key, None)
            if cached is None:
                continue
            counted = self._table.counted(key)
            self.drops.remember(cached, counted[0])
            # Only packets that a report includes: a Hoverboard does not collect the rest, which would pile up.
            if cached.is_usage(self.reports_relayed):
                self.forgotten.append((cached, *counted))
        self._table.update(remove=keys)
        self._entries.flows_changed(keys)

    def forget_port(self, ofport: int) -> None:
        """Remove every entry from or to a vport that is going away."""
        self.forget(
            [
                key
                for key, cached in self.cached.items()
                if cached.in_port == ofport or cached.verdict.out_port == ofport
            ]
        )

    def revalidate(self, changes: list[Change]) -> None:
        """Revalidate the entries that `changes` of the OpenFlow tables concern."""
        self.punts.answered(changes)
        if not changes:
            return
        self._stale.program_changed()
        concerned = touched(changes, self.cached)  # tour: vm 11
        answered = True
        if len(concerned) > _RETRACE_MAX:
            inherited = [key for key in concerned if self._stale.is_inherited(key)]
            known = [key for key in concerned if not self._stale.is_inherited(key)]
            self._stale.add(inherited)  # the switch is getting its program back: these are most likely right
            self.revalidations += len(known)
            self.forget(known)
        else:
            answered = self._revalidate(concerned)
        if answered and self._stale:
            self.revalidate_some()

    def mark_all_stale(self) -> None:
        """Mark every entry for revalidation: the switch or process that answered has gone. The entries stay in use."""
        self._stale.inherit(self.cached)

    @property
    def stale(self) -> int:
        """Number of entries that are still to be revalidated."""
        return len(self._stale)

    def revalidate_some(self) -> None:
        """Revalidate a few of the stale entries; if more are left, set the engines' eventfd again."""
        # A switch that is down leaves them stale; when it is back, all entries are marked.
        if self._revalidate(self._stale.take(_STALE_BATCH)) and self._stale:
            os.eventfd_write(self._datapath.control_eventfd, 1)

    def _revalidate(self, concerned: list[Key]) -> bool:
        """Trace entries and make them agree with the answers; False when the switch does not answer."""
        self.revalidations += len(concerned)
        answered = True
        replace: dict[Key, Entry] = {}
        answers_now: dict[Key, TraceResult] = {}
        remove: list[Key] = []
        for number, key in enumerate(concerned):
            cached = self.cached[key]
            try:
                verdict = self._trace(cached.question)
            except SwitchError:
                answered = False
                self._stale.add(concerned[number:])
                break  # the switch is down: keep the entries (fail static)
            except ValueError:
                remove.append(key)
                continue
            programmed = verdict.matched and verdict.kind is not Kind.DROP_UNKNOWN_PORT
            self._stale.traced(key, programmed=programmed)
            if not programmed:
                if not self._stale.is_inherited(key):
                    remove.append(key)
                continue  # an empty switch has just restarted: keep the entry (fail static)
            if verdict == cached.verdict:
                self._request_direct_route(cached)  # the entry may be restored from another process
                continue
            by_packet = not verdict.cacheable or verdict.kind is Kind.PUNT or verdict.changed - _MACS
            if by_packet or verdict.needs_ports != bool(key[0] & FIVE_TUPLE):
                remove.append(key)
            else:
                answers_now[key] = verdict
                replace[key] = self._entry_writer.entry(verdict, key)  # tour: report 9
        self.forget(remove)
        targets = {key: self._table.target(key) for key in replace}
        self._table.update(add=replace.items())
        for key, verdict in answers_now.items():
            dropped = why_dropped(verdict, replace[key])
            self.cached[key].change_answer(verdict, targets[key], *self._table.carried(key), dropped=dropped)
            self._request_direct_route(self.cached[key])
        self._entries.flows_changed(replace)
        return answered

    def known(self, key: Key) -> tuple[str, TraceResult] | None:
        """Question and answer of an entry; None if there is no such entry."""
        cached = self.cached.get(key)
        return None if cached is None else (cached.question, cached.verdict)

    def restore(self, flows: Mapping[Key, tuple[str, TraceResult]]) -> None:
        """Restore entries from the questions and answers of an earlier process; if too many, the last ones.

        Ports and peers have to be known before. The entries are revalidated later: see `mark_all_stale`.
        """
        room = min(self._table.capacity, _RESTORE_MAX)
        kept = dict(islice(flows.items(), max(0, len(flows) - room), None))
        entries = {key: self._entry_writer.entry(verdict, key) for key, (_question, verdict) in kept.items()}
        for key, (question, verdict) in kept.items():
            self.cached[key] = _cached(key, question, verdict, why_dropped(verdict, entries[key]))
        self._table.update(add=entries.items())

    def expire(self) -> None:
        """Remove the entries that carried nothing since the last call."""
        statistics = self._table.statistics()
        idle = [key for key, cached in self.cached.items() if statistics[key][2] == cached.seen]
        self.forget(idle)
        self._table.aged += len(idle)
        for key, cached in self.cached.items():
            cached.seen = statistics[key][2]


def _cached(key: Key, question: str, verdict: TraceResult, dropped: str | None) -> KnownEntry:
    src, dst = addresses(key) or (None, None)
    return KnownEntry(
        question=question,
        verdict=verdict,
        in_port=key[0] >> 48 & 0xFFFF,
        src=src,
        dst=dst,
        proto=key[0] >> 24 & 0xFF,
        dropped=dropped,
        tun_id=key[1] & 0xFFFFFF,
    )
