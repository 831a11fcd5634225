"""Words of the debug elements' arrays. The control thread writes them, except where a comment names the engine."""

from __future__ import annotations

# capture_control[]: PORTS: number of captured ports. SNAP: bytes kept of a frame. STRIDE: bytes of a slot.
# SLOTS: a power of two. LOST, written by the engine: packets that found the ring full.
CAP_PORTS, CAP_SNAP, CAP_STRIDE, CAP_SLOTS, CAP_LOST = range(5)
# capture_meta[] of a packet: port, event, monotonic ns, length on the wire, bytes kept, port of entry, and the row of
# the flow-table entry that sends it. For a drop the last two are the row of the entry that drops it, and the reason.
CAPTURED_PORT, CAPTURED_EVENT, CAPTURED_TIME, CAPTURED_LENGTH, CAPTURED_KEPT, CAPTURED_FROM, CAPTURED_DETAIL = range(7)
CAPTURE_WORDS = 8
# Received from the port, sent out of it, sent out of it once cut into frames, dropped by its entry.
EVENT_IN, EVENT_OUT, EVENT_CUT, EVENT_DROP = range(4)
CAPTURE_SLOTS = 8_192  # at most; fewer with a snap length above 512
CAPTURE_BYTES = 1 << 22  # of frames in the capture ring
# sample[]: EVERY: one packet in so many is sampled (0: none). Written by the engine: LEFT: packets until the next
# sample. SLOT: pool slot + 1 of the sampled packet (0: none). TIME: when it was received. ROUTED: it has a way out.
SAMPLE_EVERY, SAMPLE_LEFT, SAMPLE_SLOT, SAMPLE_TIME, SAMPLE_ROUTED = range(5)
LATENCY_BUCKETS = 320  # eight for each power of two of ns; the last begins at 69 minutes
