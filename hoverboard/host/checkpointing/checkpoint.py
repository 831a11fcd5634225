"""The checkpoint that a host process keeps for the next one (paper 3.5: "hosts checkpoint state").

It holds each VM's vport, the peers that take segments, and each flow-table entry as a question and vswitchd's answer.
The next process builds the engines' memory from these; counts start at 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, NamedTuple

from hoverboard.contract.errors import RunError
from hoverboard.contract.openflow.pipeline import FIRST_VPORT, Kind
from hoverboard.fastpath.memory import entries
from hoverboard.fastpath.packets.flow_table import Key
from hoverboard.host.checkpointing import journal
from hoverboard.host.checkpointing.journal import Ident, Journal
from hoverboard.vswitch.trace import TraceResult

FILE = "checkpoint"
_VPORT, _PEER, _FLOW = "vport", "peer", "flow"
TracedFlow = tuple[str, TraceResult]  # question, answer


@dataclass
class SavedState:
    """The state that a host process left.

    Attributes:
        vports: VM -> (vport, OpenFlow port).
        peers: peer -> whether it takes segments.
        flows: key -> question and answer; the last written comes last.
    """

    vports: dict[str, tuple[str, int]] = field(default_factory=dict)
    peers: dict[IPv4Address, bool] = field(default_factory=dict)
    flows: dict[Key, TracedFlow] = field(default_factory=dict)

    def free_ofport(self) -> int:
        """An OpenFlow port above those of all saved VMs, for a new VM that comes before they are plugged in."""
        return max((FIRST_VPORT, *(ofport + 1 for _vport, ofport in self.vports.values())))


class CheckpointSource(NamedTuple):
    """The functions that give a dataplane's state to the checkpoint writer; the defaults give an empty state.

    Attributes:
        peers: see SavedState.
        flow: a flow-table entry's question and answer; None if there is no such entry.
        flow_keys: the keys of all entries.
    """

    peers: Callable[[], Mapping[IPv4Address, bool]] = dict
    flow: Callable[[Key], TracedFlow | None] = lambda _key: None
    flow_keys: Callable[[], Iterable[Key]] = tuple


class CheckpointWriter:
    """Writes the checkpoint. As EntryListener and PeerListener it notes changes, which flush() writes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._vports: Callable[[], Mapping[str, tuple[str, int]]] = dict
        self._source = CheckpointSource()
        self.journal: Journal | None = None

    def begin(
        self,
        directory: Path,
        owner: Mapping[str, Any],
        vports: Callable[[], Mapping[str, tuple[str, int]]],
        source: CheckpointSource,
    ) -> None:
        """Write a new checkpoint, and keep it up to date from now on.

        Args:
            directory: where FILE is written.
            owner: identifies the host; load() rejects the checkpoint of another owner.
            vports: see SavedState; called at each write.
            source: the rest of the state; its functions are called at each write.
        """
        self._vports, self._source = vports, source
        self.journal = Journal(directory / FILE, dict(owner), self._value, self._everything)

    def _value(self, ident: Ident) -> Any:
        kind, name = ident
        if kind == _FLOW:
            flow = self._source.flow(name)
            return None if flow is None else [flow[0], encode(flow[1])]
        if kind == _PEER:
            segments = self._source.peers().get(IPv4Address(name))
            return None if segments is None else int(segments)
        vport = self._vports().get(name)
        return None if vport is None else list(vport)

    def _everything(self) -> Iterable[Ident]:
        return [
            *((_VPORT, vm) for vm in self._vports()),
            *((_PEER, str(address)) for address in self._source.peers()),
            *((_FLOW, key) for key in self._source.flow_keys()),
        ]

    def _note(self, kind: str, names: Iterable[Any]) -> None:
        if self.journal is not None:
            self.journal.note(self._clock(), [(kind, name) for name in names])

    def vport_changed(self, vm: str) -> None:
        """Note that a VM's vport was added or removed."""
        self._note(_VPORT, [vm])

    def peer_changed(self, address: IPv4Address) -> None:
        """Note that a peer is new, or takes segments now."""
        self._note(_PEER, [str(address)])

    def flows_changed(self, keys: Iterable[Key]) -> None:
        """Note that entries were installed or removed, or have another answer."""
        self._note(_FLOW, keys)

    @property
    def due(self) -> float | None:
        """The time at which `flush` is due next; None: there are no changes to write."""
        return self.journal.due if self.journal is not None else None

    def flush(self, now: float) -> None:
        """Write changes that are due."""
        if self.journal is not None:
            self.journal.flush(now)

    def status(self) -> dict[str, Any] | None:
        """{"written": records, "failure": why it is no longer written}; None where there is no checkpoint."""
        if self.journal is None:
            return None
        return {"written": self.journal.written, "failure": self.journal.failure}

    def close(self) -> None:
        """Stop writing."""
        if self.journal is not None:
            self.journal.close()


def load(directory: Path, owner: Mapping[str, Any]) -> SavedState:
    """The state that the last host process of this node left.

    Raises:
        RunError: there is no usable checkpoint; the message says why.
    """
    table = journal.read(directory / FILE, dict(owner))
    saved = SavedState()
    try:
        for (kind, name), value in table.items():
            if kind == _VPORT:
                saved.vports[str(name)] = (str(value[0]), int(value[1]))
            elif kind == _PEER:
                saved.peers[IPv4Address(name)] = bool(value)
            elif kind == _FLOW and len(name) == entries.KEY_WORDS:
                saved.flows[tuple(int(word) for word in name)] = (str(value[0]), decode(value[1]))
            else:
                raise ValueError(f"a record of kind {kind!r}")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise RunError(f"the checkpoint cannot be read: {error!r}", where=str(directory / FILE)) from error
    return saved


def encode(verdict: TraceResult) -> list[Any]:
    """An answer of the switch as JSON."""
    return [
        verdict.kind.name if verdict.kind is not None else None,
        verdict.vni,
        verdict.out_port,
        str(verdict.tun_dst) if verdict.tun_dst is not None else None,
        verdict.tun_id,
        verdict.headers,
        sorted(verdict.changed),
        verdict.needs_ports,
        verdict.cacheable,
        verdict.matched,
        sorted(verdict.metadata) if verdict.metadata is not None else None,
        verdict.rule,
    ]


def decode(value: list[Any]) -> TraceResult:
    """The answer of the switch from the JSON of `encode`."""
    kind, vni, out_port, tun_dst, tun_id, headers, changed, needs_ports, cacheable, matched, metadata, rule = value
    return TraceResult(
        kind=Kind[kind] if kind is not None else None,
        vni=int(vni),
        out_port=int(out_port) if out_port is not None else None,
        tun_dst=IPv4Address(tun_dst) if tun_dst is not None else None,
        tun_id=int(tun_id),
        headers={str(name): str(text) for name, text in headers.items()},
        changed=frozenset(changed),
        needs_ports=bool(needs_ports),
        cacheable=bool(cacheable),
        matched=bool(matched),
        metadata=frozenset(int(value) for value in metadata) if metadata is not None else None,
        rule=int(rule),
    )
