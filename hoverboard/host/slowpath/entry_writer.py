"""Writes a flow-table entry from vswitchd's answer about a packet (paper 4.3). Traces and installs nothing."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Protocol

from hoverboard.contract.openflow.pipeline import TUNNEL_PORT, drop_reason
from hoverboard.contract.packets import mac_bytes
from hoverboard.fastpath.memory import entries, reasons
from hoverboard.fastpath.packets import geneve
from hoverboard.fastpath.packets.flow_table import Entry, Key
from hoverboard.host.coprocessing.flow_stages import StageLookup, StageWords, stage_words
from hoverboard.host.slowpath.trace_request import addresses
from hoverboard.vswitch.trace import TraceResult

_MASK32 = 0xFFFFFFFF


class Underlay(Protocol):
    """The other hosts: their rows in peers[], and the handler of frames for this host itself."""

    def index(self, address: IPv4Address) -> int:
        """The row of peers[] of a host."""

    def handle(self, frame: bytes) -> None:
        """Handle a frame from the fabric that is for the host itself."""


class EntryWriter:
    """Writes the entries of one host.

    Args:
        local_ip: underlay address of this host.
        peers: the other hosts.
        vport_of: OpenFlow port -> engine port index, or None.
        stages_of: the stages of a flow, for one VM of it.
    """

    def __init__(
        self,
        local_ip: IPv4Address,
        peers: Underlay,
        vport_of: Callable[[int], int | None],
        stages_of: StageLookup,
    ) -> None:
        self.local_ip = local_ip
        self._peers = peers
        self.vport_of = vport_of
        self.stages_of = stages_of

    def entry(self, verdict: TraceResult, key: Key) -> Entry:
        """The entry for a 3-tuple or 5-tuple key."""
        if verdict.out_port is None:
            return Entry(entries.ACT_DROP, drop_index(verdict))
        rewrite = b""
        if verdict.changed:
            rewrite = mac_bytes(verdict.headers["dl_dst"]) + mac_bytes(verdict.headers["dl_src"])
        stages = self._stages(verdict, key)
        if isinstance(stages, str):
            return Entry(entries.ACT_DROP, reasons.NAMES.index(stages))
        if verdict.tun_dst is not None:
            template, checksum = geneve.template(self.local_ip, verdict.tun_dst, verdict.tun_id)
            peer = self._peers.index(verdict.tun_dst)
            return Entry(entries.ACT_TUNNEL, peer, rewrite, template, checksum, *stages)  # tour: miss 7
        vport = self.vport_of(verdict.out_port)
        if vport is None:
            return Entry(entries.ACT_DROP, reasons.NAMES.index("vport-down"))
        return Entry(entries.ACT_VPORT, vport, rewrite, stages=stages.stages, chain=stages.chain, sample=stages.sample)

    def _stages(self, verdict: TraceResult, key: Key) -> StageWords | str:
        """The stages of the VM that sends and of the VM here that receives; or the reason to drop the flow."""
        ends, in_port = addresses(key), key[0] >> 48 & 0xFFFF
        if ends is None or (in_port == TUNNEL_PORT and verdict.tun_dst is not None):
            return StageWords()  # not IP; or relayed by a Hoverboard, where no VM's coprocessor is involved
        parts = []
        if in_port != TUNNEL_PORT:
            vni = verdict.tun_id if verdict.tun_dst is not None else verdict.vni
            parts.append(self.stages_of("egress", in_port, ends[1], vni, verdict.tun_dst))
        if verdict.tun_dst is None:
            assert verdict.out_port is not None
            tunnel = in_port == TUNNEL_PORT
            peer, vni = (IPv4Address(key[1] >> 32 & _MASK32), key[1] & 0xFFFFFF) if tunnel else (None, verdict.vni)
            parts.append(self.stages_of("ingress", verdict.out_port, ends[0], vni, peer))
        reason = next((part.drop for part in parts if part.drop is not None), None)
        return reason or stage_words(*parts)


def why_dropped(verdict: TraceResult, entry: Entry) -> str | None:
    """The reason for which an entry drops what the switch would forward; None: it does not."""
    return reasons.NAMES[entry.target] if entry.action == entries.ACT_DROP and verdict.out_port is not None else None


def drop_index(verdict: TraceResult) -> int:
    """Index of the reason why a packet is dropped; UNNAMED for a flow that is not of the pipeline."""
    reason = drop_reason(verdict.kind) if verdict.kind is not None else None
    return reasons.NAMES.index(reason) if reason else reasons.UNNAMED
