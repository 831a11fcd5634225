"""What a host process keeps for the one that comes after it (paper 3.5: "hosts checkpoint state").

Which vport each VM has, which peers take segments, and each flow-table entry as the question and vswitchd's answer
that it came from. What stands in the engines' memory is made from that again; counts begin anew.
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
TracedFlow = tuple[str, TraceResult]  # the question, and the answer


@dataclass
class SavedState:
    """What a host process left.

    Attributes:
        vports: VM -> (vport, OpenFlow port).
        peers: whether each takes segments.
        flows: what was written last comes last.
    """

    vports: dict[str, tuple[str, int]] = field(default_factory=dict)
    peers: dict[IPv4Address, bool] = field(default_factory=dict)
    flows: dict[Key, TracedFlow] = field(default_factory=dict)

    def free_ofport(self) -> int:
        """An OpenFlow port that no VM had: a new VM may come before the old ones are plugged in again."""
        return max((FIRST_VPORT, *(ofport + 1 for _vport, ofport in self.vports.values())))


class CheckpointSource(NamedTuple):
    """How the checkpoint_writer asks a dataplane for what is to be kept of it; by itself, nothing is.

    Attributes:
        peers: see SavedState.
        flow: a flow-table entry's question and answer; None: there is none.
        flow_keys: of all entries.
    """

    peers: Callable[[], Mapping[IPv4Address, bool]] = dict
    flow: Callable[[Key], TracedFlow | None] = lambda _key: None
    flow_keys: Callable[[], Iterable[Key]] = tuple


class CheckpointWriter:
    """Keeps a checkpoint; whoever changes something says what has changed (it is an Entry- and a PeerListener)."""

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
        """Write the checkpoint anew, and keep it from now on.

        Args:
            vports: see SavedState; asked at each write, as is `source`.
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
        """A VM's vport came or went."""
        self._note(_VPORT, [vm])

    def peer_changed(self, address: IPv4Address) -> None:
        """A peer was met, or has answered."""
        self._note(_PEER, [str(address)])

    def flows_changed(self, keys: Iterable[Key]) -> None:
        """Entries came, went, or have another answer."""
        self._note(_FLOW, keys)

    @property
    def due(self) -> float | None:
        """When flush() has something to do."""
        return self.journal.due if self.journal is not None else None

    def flush(self, now: float) -> None:
        """Write what is due."""
        if self.journal is not None:
            self.journal.flush(now)

    def status(self) -> dict[str, Any] | None:
        """{"written": records, "failure": why it is not kept any more}; None where nothing is kept."""
        if self.journal is None:
            return None
        return {"written": self.journal.written, "failure": self.journal.failure}

    def close(self) -> None:
        """Keep it no more."""
        if self.journal is not None:
            self.journal.close()


def load(directory: Path, owner: Mapping[str, Any]) -> SavedState:
    """What the last host process of this node left.

    Raises:
        RunError: nothing that can be used, and why.
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
        raise RunError(f"the checkpoint makes no sense: {error!r}", where=str(directory / FILE)) from error
    return saved


def encode(verdict: TraceResult) -> list[Any]:
    """A verdict as JSON."""
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
    ]


def decode(value: list[Any]) -> TraceResult:
    """The verdict that `encode` was given."""
    kind, vni, out_port, tun_dst, tun_id, headers, changed, needs_ports, cacheable, matched = value
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
    )
