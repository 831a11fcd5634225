"""entries[], and the other arrays of the flow table."""

from __future__ import annotations

MAX_ENTRIES = 131_072
HASH_SLOTS = 262_144  # load factor 1/2 at most, and no larger: it is read in random order
KEY_WORDS = 8  # one cache line
# A row of the flow table: the key, then in the next cache line the entry and the statistics of both engines (each
# packet belongs to one of them). Rows are read in random order: one page, and two lines that are fetched together.
ROW_WORDS, ROW_ENTRY, ROW_STATS = 16, 8, (12, 14)
MAX_PEERS = 4_096  # index 0 stands for all peers beyond, which get segments cut in software
TEMPLATE_BYTES = 64

# 32 bits each, half a cache line. HEADER and MACS are rows of headers[] and macs[]: entries with the same outer
# headers, or MACs to set, share one, which then is in the cache; row 0 is none.
ACTION, TARGET, SUM, STAGES, CHAIN, HEADER, MACS, SAMPLE = range(8)
WORDS = 8
ACT_DROP, ACT_VPORT, ACT_TUNNEL = 0, 1, 2
# Bits of STAGES: one packet in so many (SAMPLE) is copied to the VM's coprocessor; all packets go there (CHAIN says
# what it does with them). A flow between two VMs of this host has stages of both: the receiver's are the same bits,
# NEXT bits higher, and the upper 16 bits of SAMPLE and CHAIN.
STAGE_SAMPLE, STAGE_COPROCESSOR = 1, 2
STAGE_NEXT, HALF_BITS, HALF = 2, 16, 0xFFFF
