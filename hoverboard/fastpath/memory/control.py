"""ctl[]: an engine's own words; and the commands that its control thread gives it."""

from __future__ import annotations

EGRESS, INGRESS = 0, 1  # the two engines of a host (paper section 4.2)
BATCH_EGRESS, BATCH_INGRESS = 32, 128  # paper section 4.2; the most, see BATCH
# A batch also ends after this many bytes: 32 segments of 64 KB would push each other out of the cache.
BATCH_BYTES = 1 << 16

# MORE: the port just served may have more; FREE: length of the free list; DUE: ns when a rate-limited port may be
# served again; TOLD: misses that the control thread was told of; DICE: state of the random numbers that pick samples,
# never 0; NOW: monotonic ns as the engines' thread last read it, set before each batch (it reads the clock every
# LOOK_EVERY passes).
TABLE, FIVE, BATCH, PRIORITY, KIND, ARRIVED, QUEUED, MORE, PASSES = range(9)
FREE, DUE, TOLD, DICE, NOW = 9, 10, 11, 12, 13
# The capacity of a Hoverboard, in its ingress engine (elements.police): what a packet and 1,024 bytes cost, ns
# (0: nothing); the engine's: when what has been taken will be worked off.
PACKET_NS, KILOBYTE_NS, PACKETS_DUE, BYTES_DUE = 16, 17, 18, 19
WORDS = 24

# Commands to an engine.
CMD_TABLE, CMD_PORT, CMD_BATCH = range(3)
COMMAND_SLOTS = 64
