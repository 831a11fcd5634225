"""Statistics exporter: rates by port, and the flows that carry most, from counters that the engines keep anyway.

Once a second the control thread reads the engines' arrays and takes differences: the engines do nothing for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hoverboard.fastpath.memory.arrays import I64, Memory

TOP = 10  # flows in the list of the busiest


@dataclass(frozen=True)
class Interval:
    """Counts between two readings of the counters.

    Attributes:
        seconds: length of the interval.
        ports: (PORTS, 4) rx packets, rx bytes, tx packets, tx bytes.
        entries: (rows, 2) packets and bytes by row of the flow table.
    """

    seconds: float
    ports: I64
    entries: I64

    def port_rates(self, names: Mapping[int, str]) -> dict[str, dict[str, float]]:
        """{name: {rx_pps, rx_bps, tx_pps, tx_bps}}; rx is what the engines received from the port."""
        found = {}
        for port, name in names.items():
            rx_packets, rx_bytes, tx_packets, tx_bytes = (self.ports[port] / self.seconds).tolist()
            found[name] = {
                "rx_pps": round(rx_packets, 1), "rx_bps": round(rx_bytes * 8), "tx_pps": round(tx_packets, 1),
                "tx_bps": round(tx_bytes * 8),
            }  # fmt: skip
        return found

    def top_rows(self, count: int = TOP) -> list[tuple[int, dict[str, float]]]:
        """(row, {pps, bps}) of the entries that carried most bytes, the busiest first; idle entries are left out."""
        octets = self.entries[:, 1]
        rows = [int(row) for row in np.argsort(octets)[::-1][:count] if octets[row] > 0]
        return [
            (row, {"pps": round(float(packets) / self.seconds, 1), "bps": round(float(size) * 8 / self.seconds)})
            for row in rows
            for packets, size in [self.entries[row]]
        ]


class Rates:
    """Rates from the counters of one host's engines.

    Args:
        memories: (egress, ingress).
    """

    def __init__(self, memories: tuple[Memory, Memory]) -> None:
        self._memories = memories
        self._last: tuple[float, I64, I64] | None = None
        self.interval: Interval | None = None

    def look(self, now: float, rows: int) -> None:
        """Read the counters; `rows` is the number of rows of the flow table that were ever used."""
        ports = sum((m.port_stats for m in self._memories), np.zeros_like(self._memories[0].port_stats))
        entries = self._memories[0].stats[:rows] + self._memories[1].stats[:rows]
        if self._last is not None:
            then, before_ports, before = self._last
            before = np.concatenate([before, np.zeros((rows - len(before), 2), np.int64)])
            # A row that counts less than before belongs to a new entry, which began at 0.
            carried = np.where((entries < before).any(axis=1, keepdims=True), entries, entries - before)
            self.interval = Interval(now - then, ports - before_ports, carried)
        self._last = (now, ports, entries)
