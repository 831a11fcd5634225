"""Arrays of the debug elements; control words belong to the control thread but for those of the engine's named here."""

from __future__ import annotations

# capture_control[]: how many ports are captured (0: none), bytes kept of a frame, bytes a slot, slots (a power
# of two); the engine's: packets that found the ring full.
CAP_PORTS, CAP_SNAP, CAP_STRIDE, CAP_SLOTS, CAP_LOST = range(5)
# capture_meta[] of a packet: port, event, monotonic ns, length on the wire, bytes kept, where it came in, detail:
# the drop reason, or the flow-table entry it goes out by.
CAPTURED_PORT, CAPTURED_EVENT, CAPTURED_TIME, CAPTURED_LENGTH, CAPTURED_KEPT, CAPTURED_FROM, CAPTURED_DETAIL = range(7)
CAPTURE_WORDS = 8
# Received from the port, sent out of it, sent out of it once cut into frames, dropped by its entry.
EVENT_IN, EVENT_OUT, EVENT_CUT, EVENT_DROP = range(4)
CAPTURE_SLOTS = 8_192  # at most; fewer with a snap length above 512
CAPTURE_BYTES = 1 << 22  # of frames in the capture ring
# sample[]: one packet in EVERY (0: none); the engine's: packets LEFT until then, pool SLOT + 1 of the sampled packet
# (0: none under way), when it was received, whether it found its way out.
SAMPLE_EVERY, SAMPLE_LEFT, SAMPLE_SLOT, SAMPLE_TIME, SAMPLE_ROUTED = range(5)
LATENCY_BUCKETS = 320  # eight to each power of two of ns; the last begins at 69 minutes
