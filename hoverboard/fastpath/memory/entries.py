"""Words of entries[], and of the other arrays of the flow table."""

from __future__ import annotations

MAX_ENTRIES = 131_072
HASH_SLOTS = 262_144  # load factor 1/2 at most; not larger, because slots are read in random order
KEY_WORDS = 8  # one cache line
# A row of the flow table: first the key; in the next cache line the entry, and the statistics of each engine.
# Rows are read in random order, so a row is in one page, and its two lines are fetched together.
ROW_WORDS, ROW_ENTRY, ROW_STATS = 16, 8, (12, 14)
MAX_PEERS = 4_096  # index 0 stands for all further peers; they get segments cut in software
TEMPLATE_BYTES = 64

# 32 bits each, half a cache line. HEADER and MACS are rows of headers[] and macs[]. Entries with the same outer
# headers, or the same MACs, share a row, which then is in the cache. Row 0: none.
ACTION, TARGET, SUM, STAGES, CHAIN, HEADER, MACS, SAMPLE = range(8)
WORDS = 8
ACT_DROP, ACT_VPORT, ACT_TUNNEL = 0, 1, 2
# Bits of STAGES. STAGE_SAMPLE: one packet in SAMPLE is copied to the VM's coprocessor. STAGE_COPROCESSOR: all packets
# go there, to the stages of CHAIN. A flow between two VMs of this host has stages of both. The receiver's are the same
# bits, NEXT bits higher, and the upper 16 bits of SAMPLE and CHAIN.
STAGE_SAMPLE, STAGE_COPROCESSOR = 1, 2
STAGE_NEXT, HALF_BITS, HALF = 2, 16, 0xFFFF
