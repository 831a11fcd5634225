"""Words of ports[], one row per port."""

from __future__ import annotations

# Indices in all port arrays.
UPLINK, FIRST_TAP = 1, 2
COUNT = 128

# RATE: bytes/s (0: no limit). BURST: bytes. TOKENS (bytes) and FILLED (ns): written by the egress engine.
# QUEUES: how many rows, from this one on, are queues of the same virtual NIC. 0: this row is not the first.
FD, KIND, OFPORT, RATE, BURST, TOKENS, FILLED, QUEUES = range(8)
WORDS = 8
KIND_NONE, KIND_TAP, KIND_RING = 0, 1, 2
