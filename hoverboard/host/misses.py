"""The flow-miss coprocessor: packets without an entry, and entries without a right (paper 3.2, 4.3).

A missed packet goes to the real vswitchd (`ofproto/trace`); the answer becomes a flow-table entry
and the packet is put back in front of the engine. All of it, and all revalidation, happens in the
host's one control thread: a trace made before a change of the tables is installed before the
change's event is handled, so that no stale answer can slip in behind it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Set
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

import numpy as np

from hoverboard.contract.errors import SwitchError
from hoverboard.contract.pipeline import BRIDGE, TUNNEL_PORT, Kind, drop_reason
from hoverboard.fastpath import geneve, ring
from hoverboard.fastpath.datapath import Datapath
from hoverboard.fastpath.flowtable import ACT_DROP, ACT_TUNNEL, ACT_VPORT, Entry, FlowTable, Key
from hoverboard.fastpath.layout import (
    HEADROOM,
    INJECT_PROCESS,
    INJECT_RAW,
    INJECT_STAGED,
    KEY_WORDS,
    META_KIND,
    META_LENGTH,
    META_PORT,
    META_TUNNEL,
    MISS_CONTROL,
    MISS_STAGED,
    P_FRAME,
    P_LENGTH,
    P_PORTS,
    PACKET_WORDS,
    PORT_OFPORT,
    PORTS,
    R_UNCACHEABLE,
    R_UNNAMED,
    REASONS,
    SLOT_BYTES,
    UPLINK,
    VNET_BYTES,
    Memory,
)
from hoverboard.fastpath.packet import FIVE, OTHER, PARSED, parse, with_ports
from hoverboard.host import answers
from hoverboard.host.cached import Cached, concerns
from hoverboard.host.punts import Punts
from hoverboard.host.questions import Address, addresses, question_for
from hoverboard.host.treatment import TreatmentOf, Words, no_stages, words
from hoverboard.vswitch.monitor import Change
from hoverboard.vswitch.ovs import Ovs
from hoverboard.vswitch.packetout import PacketOut
from hoverboard.vswitch.trace import Verdict, parse_trace

_BURST = 8  # misses answered before their entries are installed together: bounds the first one's wait
_RETRACE_MAX = 150  # entries traced anew on a change; more than that are dropped and come back as misses
_BURSTS = 4  # of them at a time: a flood of new flows may not keep changes of the tables waiting
_MASK32 = 0xFFFFFFFF


@dataclass(frozen=True)
class Missed:
    """A packet that came from an engine, with its virtio-net header.

    Attributes:
        port: the engine's number of the port it came in by.
        kind: MISS_FLOW, MISS_CONTROL, or MISS_STAGED and above: then `frame` is the inner one, `tunnel` tells the rest.
    """

    port: int
    kind: int
    tunnel: int
    frame: bytes


class Underlay(Protocol):
    """The other hosts: where they stand in peers[], and what they say to this one."""

    def index(self, address: IPv4Address) -> int:
        """Row of peers[] of a host."""

    def handle(self, frame: bytes) -> None:
        """A frame from the fabric for the host itself."""


class FlowMisses:
    """Turns misses into entries, and keeps entries true.

    Args:
        datapath, table: the engines and the control thread's side of their flow table.
        switch: the node's Open vSwitch.
        vport_of: OpenFlow port -> engine port index, or None.
        treatment_of: which stages a flow uses.
    """

    def __init__(
        self,
        datapath: Datapath,
        table: FlowTable,
        switch: Ovs,
        local_ip: IPv4Address,
        peers: Underlay,
        vport_of: Callable[[int], int | None],
        treatment_of: TreatmentOf = no_stages,
    ) -> None:
        self._datapath = datapath
        self._table = table
        self._switch = switch
        self._local_ip = local_ip
        self._peers = peers
        self._vport_of = vport_of
        self._treatment_of = treatment_of
        self.cached: dict[Key, Cached] = {}
        self.forgotten: list[tuple[Cached, int, int]] = []  # with packets and bytes, until usage() has taken them
        self.drops: dict[str, int] = {}  # decided here, beside the engine's own
        self.on_learn: Callable[[int, Address, IPv4Address], None] | None = None  # VNI, destination, its gateway
        self.tells_relayed = False  # usage() tells of what comes from the fabric and goes back, too
        self._packet_out = PacketOut(switch.management.removeprefix("unix:"))
        self.punts = Punts(self._packet_out.send, self._again, self.drop)
        self.misses = 0
        self.traces = 0
        self.revalidations = 0

    def handle(self) -> None:
        """Answer waiting misses; if more are left than one turn takes, the engines' news fires again."""
        for _ in range(_BURSTS):
            waiting = [missed for m in self._datapath.memories for missed in self._take(m)]
            if not waiting:
                return
            again: list[Missed] = []
            fresh: dict[Key, Entry] = {}
            for missed in waiting:
                if missed.kind == MISS_CONTROL:
                    self._peers.handle(missed.frame)
                elif self._resolve(missed, fresh):
                    again.append(missed)
            if fresh:
                self._install(fresh)
            for missed in again:
                self._again(missed)
        if self._datapath.misses_waiting():
            os.eventfd_write(self._datapath.news_fd, 1)

    def _again(self, missed: Missed) -> None:
        """A packet goes through the engine once more."""
        staged = missed.kind - MISS_STAGED
        kind = INJECT_STAGED + staged if staged >= 0 else INJECT_PROCESS
        if not self._datapath.inject(missed.port, missed.frame, kind, missed.tunnel):
            self.drop("miss-queue-full")

    @staticmethod
    def _take(m: Memory) -> list[Missed]:
        """Up to _BURST packets from the miss ring of an engine."""
        taken = []
        for _ in range(min(_BURST, int(ring.waiting(m.miss_index)))):
            meta = m.miss_meta[slot := int(ring.slot_at(m.miss_index, m.miss_meta))]
            begin = slot * SLOT_BYTES + HEADROOM - VNET_BYTES
            frame = m.miss_data[begin : begin + int(meta[META_LENGTH])].tobytes()
            taken.append(Missed(int(meta[META_PORT]), int(meta[META_KIND]), int(meta[META_TUNNEL]), frame))
            ring.release(m.miss_index)
            m.pending[PORTS + taken[-1].port] += 1
        return taken

    def drop(self, reason: str) -> None:
        """Count a packet that ends here."""
        self.drops[reason] = self.drops.get(reason, 0) + 1

    def _resolve(self, missed: Missed, fresh: dict[Key, Entry]) -> bool:
        """Find out about one missed packet; True if it is to go through the engine again."""
        self.misses += 1
        packet = self._parse(missed)
        if packet is None:
            self.drop("malformed-ipv4")
            return False
        three, ports, inner = packet
        five = with_ports(three, ports)
        if three in self._table or five in self._table or three in fresh or five in fresh:
            return True
        question = question_for(three, ports, inner, self._local_ip)
        try:
            verdict = self._trace(question)
        except SwitchError:
            self.drop("switch-not-programmed")
            return False
        if not verdict.matched:
            self.drop("switch-not-programmed")
            return False
        if verdict.kind is Kind.DROP_UNKNOWN_PORT:
            # A VM whose flows are on their way: its next packet is to meet them, not an entry of before.
            self.drop(REASONS[_drop_index(verdict)])
            return False
        if verdict.kind is Kind.PUNT and (ends := addresses(three)) is not None:
            self.punts.punt(verdict.vni, ends[1], three[0] >> 48 & 0xFFFF, inner, missed)
            return False
        if verdict.changed - {"dl_src", "dl_dst", "eth_src", "eth_dst"}:
            self._answer(missed.port, inner, verdict)
            return False
        if not verdict.cacheable:
            # A drop that rests on what no key holds (an ARP message's content) still has its own reason.
            self.drop(REASONS[_drop_index(verdict)] if verdict.out_port is None else REASONS[R_UNCACHEABLE])
            return False
        chosen = five if verdict.needs_ports else three
        entry = fresh[chosen] = self._entry(verdict, three)
        self.cached[chosen] = cached = _cached(three, question, verdict, _dropped(verdict, entry))
        self._look_for_a_way(cached)
        return True

    def _look_for_a_way(self, cached: Cached) -> None:
        """An entry leads to a gateway that knows better: whoever learns routes asks it."""
        verdict = cached.verdict
        if verdict.kind is Kind.LEARN and self.on_learn is not None and cached.dst and verdict.tun_dst:
            self.on_learn(verdict.vni, cached.dst, verdict.tun_dst)

    def _parse(self, missed: Missed) -> tuple[Key, int, bytes] | None:
        """(3-tuple key, ports, inner frame) of a missed packet; None when it is malformed."""
        data = np.frombuffer(bytearray(missed.frame), np.uint8)
        row = np.zeros(PACKET_WORDS, np.int64)
        key = np.zeros(KEY_WORDS, np.int64)
        start, length, tunnel, in_port = VNET_BYTES, len(data) - VNET_BYTES, missed.tunnel, TUNNEL_PORT
        if missed.port != UPLINK:
            in_port = int(self._datapath.egress.ports[missed.port, PORT_OFPORT])
        elif missed.kind < MISS_STAGED:
            verdict, tunnel = geneve.decapsulate(data, start, length, int(self._local_ip), row)
            if verdict != geneve.DECAPSULATED:
                return None
            start, length = int(row[P_FRAME]), int(row[P_LENGTH])
        if parse(data, start, length, in_port, tunnel, key, row) not in (PARSED, OTHER):
            return None
        inner = missed.frame[start : start + length]
        return tuple(int(word) for word in key), int(row[P_PORTS]), inner

    def _trace(self, question: str) -> Verdict:
        self.traces += 1
        return parse_trace(self._switch.appctl("ofproto/trace", BRIDGE, question))

    def _entry(self, verdict: Verdict, key: Key) -> Entry:
        if verdict.out_port is None:
            return Entry(ACT_DROP, _drop_index(verdict))
        rewrite = b""
        if verdict.changed:
            rewrite = _mac(verdict.headers["dl_dst"]) + _mac(verdict.headers["dl_src"])
        treated = self._treatment(verdict, key)
        if isinstance(treated, str):
            return Entry(ACT_DROP, REASONS.index(treated))
        if verdict.tun_dst is not None:
            template, checksum = geneve.template(self._local_ip, verdict.tun_dst, verdict.tun_id)
            peer = self._peers.index(verdict.tun_dst)
            return Entry(ACT_TUNNEL, peer, rewrite, template, checksum, *treated)
        vport = self._vport_of(verdict.out_port)
        if vport is None:
            return Entry(ACT_DROP, REASONS.index("vport-down"))
        return Entry(ACT_VPORT, vport, rewrite, b"", 0, *treated)

    def _treatment(self, verdict: Verdict, key: Key) -> Words | str:
        """Stages of the entry: of the VM that sends, and of the one of this host that receives; or why it drops."""
        ends, in_port = addresses(key), key[0] >> 48 & 0xFFFF
        if ends is None or (in_port == TUNNEL_PORT and verdict.tun_dst is not None):
            return Words()  # not IP; or relayed by a Hoverboard, where no VM pays
        parts = []
        if in_port != TUNNEL_PORT:
            vni = verdict.tun_id if verdict.tun_dst is not None else verdict.vni
            parts.append(self._treatment_of("egress", in_port, ends[1], vni, verdict.tun_dst))
        if verdict.tun_dst is None:
            assert verdict.out_port is not None
            tunnel = in_port == TUNNEL_PORT
            peer, vni = (IPv4Address(key[1] >> 32 & _MASK32), key[1] & 0xFFFFFF) if tunnel else (None, verdict.vni)
            parts.append(self._treatment_of("ingress", verdict.out_port, ends[0], vni, peer))
        reason = next((part.drop for part in parts if part.drop is not None), None)
        return reason or words(*parts)

    def treat_anew(self, flows: Set[tuple[int, Address]]) -> None:
        """Decide again on the treatment of entries that lead to (OpenFlow port, from address); nothing is traced."""
        replace = {
            key: self._entry(cached.verdict, key)
            for key, cached in self.cached.items()
            if cached.verdict.out_port is not None and (cached.verdict.out_port, cached.src) in flows
        }
        if replace:
            targets = {key: self._table.target(key) for key in replace}
            self._table.update(add=replace.items())
            for key in replace:
                cached = self.cached[key]
                dropped = _dropped(cached.verdict, replace[key])
                cached.turn(cached.verdict, targets[key], *self._table.carried(key), dropped=dropped)

    def _answer(self, port: int, inner: bytes, verdict: Verdict) -> None:
        """The switch itself answers (ARP, ping to the gateway): no entry, each packet comes here."""
        out = self._vport_of(verdict.out_port) if verdict.out_port is not None else None
        reply = answers.rewrite(inner, verdict.headers)
        if out is None or reply is None or port == UPLINK:
            self.drop(REASONS[R_UNCACHEABLE])
            return
        self._datapath.inject(out, bytes(VNET_BYTES) + reply, INJECT_RAW)

    def _install(self, fresh: dict[Key, Entry]) -> None:
        if len(self._table) + len(fresh) > self._table.capacity:
            self.make_room(len(fresh))
        self._table.update(add=fresh.items())

    def make_room(self, wanted: int) -> None:
        """Evict the entries that have carried least since the last housekeeping."""
        statistics = self._table.statistics()
        by_use = sorted(statistics, key=lambda key: statistics[key][2] - self.cached[key].seen)
        victims = by_use[: max(wanted, self._table.capacity // 8)]
        self.forget(victims)
        self._table.evicted += len(victims)

    def forget(self, keys: list[Key]) -> None:
        """Remove entries; their packets come back as misses."""
        for key in keys:
            cached = self.cached.pop(key, None)
            # Only what a report may tell: nobody ever collects the rest, and on a Hoverboard that is everything.
            if cached is not None and cached.told(self.tells_relayed) and key in self._table:
                self.forgotten.append((cached, *self._table.counted(key)))
        self._table.update(remove=keys)

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
        """Make all entries agree with the OpenFlow tables again after `changes`."""
        self.punts.answered(changes)
        distinct = set(changes)
        touched = [key for key, cached in self.cached.items() if any(concerns(change, cached) for change in distinct)]
        if not touched:
            return
        self.revalidations += len(touched)
        if len(touched) > _RETRACE_MAX:
            self.forget(touched)
            return
        replace: dict[Key, Entry] = {}
        answers_now: dict[Key, Verdict] = {}
        remove: list[Key] = []
        for key in touched:
            cached = self.cached[key]
            try:
                verdict = self._trace(cached.question)
            except SwitchError:
                break  # the switch is gone: go on with what there is (fail static)
            if not verdict.matched or verdict == cached.verdict:
                continue  # an empty switch is one that has just restarted: fail static as well
            if not verdict.cacheable or verdict.kind is Kind.PUNT or verdict.needs_ports != bool(key[0] & FIVE):
                remove.append(key)
            else:
                answers_now[key] = verdict
                replace[key] = self._entry(verdict, key)
        if remove:
            self.forget(remove)
        if replace:
            targets = {key: self._table.target(key) for key in replace}
            self._table.update(add=replace.items())
            for key, verdict in answers_now.items():
                dropped = _dropped(verdict, replace[key])
                self.cached[key].turn(verdict, targets[key], *self._table.carried(key), dropped=dropped)
                self._look_for_a_way(self.cached[key])

    def expire(self) -> None:
        """Housekeeping: remove the entries that carried nothing since the last call."""
        statistics = self._table.statistics()
        idle = [key for key, cached in self.cached.items() if statistics[key][2] == cached.seen]
        self.forget(idle)
        self._table.aged += len(idle)
        for key, cached in self.cached.items():
            cached.seen = statistics[key][2]


def _cached(key: Key, question: str, verdict: Verdict, dropped: str | None) -> Cached:
    src, dst = addresses(key) or (None, None)
    return Cached(
        question=question,
        verdict=verdict,
        in_port=key[0] >> 48 & 0xFFFF,
        src=src,
        dst=dst,
        proto=key[0] >> 24 & 0xFF,
        dropped=dropped,
    )


def _dropped(verdict: Verdict, entry: Entry) -> str | None:
    """Why an entry drops what the switch would forward."""
    return REASONS[entry.target] if entry.action == ACT_DROP and verdict.out_port is not None else None


def _drop_index(verdict: Verdict) -> int:
    """Index of the reason why a packet is dropped; a flow that is not the pipeline's gives none."""
    reason = drop_reason(verdict.kind) if verdict.kind is not None else None
    return REASONS.index(reason) if reason else R_UNNAMED


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
