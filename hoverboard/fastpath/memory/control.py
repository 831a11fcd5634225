"""Words of ctl[], the array of one engine's own words, and the commands that the control thread sends to an engine."""

from __future__ import annotations

EGRESS, INGRESS = 0, 1  # the two engines of a host (paper section 4.2)
BATCH_EGRESS, BATCH_INGRESS = 32, 128  # paper section 4.2; the largest values of BATCH
# A batch also ends after this many bytes: 32 segments of 64 KB would evict each other from the cache.
BATCH_BYTES = 1 << 16

# TABLE: the hash table in use. FIVE_TUPLES: number of 5-tuple entries in it. BATCH: packets of a batch, at most.
# PRIORITY: 1: the VM with the least recent work is served first; 0: the oldest packet. KIND: EGRESS or INGRESS.
# ARRIVED: number of the next packet that enters a VM queue. QUEUED: packets in VM queues.
# MORE: whether the port that was served last may have more packets. PASSES: how often a port was served.
TABLE, FIVE_TUPLES, BATCH, PRIORITY, KIND, ARRIVED, QUEUED, MORE, PASSES = range(9)
# FREE: length of the free list. DUE: time (ns) from which a rate-limited port may be served.
# MISSES_NOTIFIED: producer index of the miss ring when the control thread was last notified.
# DICE: state of the random numbers that pick samples, never 0. NOW: monotonic time (ns), set before each batch; the
# engine thread reads the clock every EPOLL_EVERY passes.
FREE, DUE, MISSES_NOTIFIED, DICE, NOW = 9, 10, 11, 12, 13
# The capacity of a Hoverboard, in its ingress engine (elements.police). PACKET_NS, KILOBYTE_NS: cost (ns) of a packet
# and of 1,024 bytes; 0: no limit. PACKETS_DUE, BYTES_DUE, written by the engine: time at which accepted work is done.
PACKET_NS, KILOBYTE_NS, PACKETS_DUE, BYTES_DUE = 16, 17, 18, 19
WORDS = 24

# Commands to an engine.
CMD_TABLE, CMD_PORT, CMD_BATCH = range(3)
COMMAND_SLOTS = 64
