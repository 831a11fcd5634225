"""meta[] of a ring slot; which rings there are, and what goes through them."""

from __future__ import annotations

RING_SLOTS = 512  # miss and inject rings
MISSES_PER_PORT = 64  # of them, at most this many from one VM, so that one cannot take them all
MISSES_OF_UPLINK = 384  # a busy stream that changes its path misses until its new entry is there
SIDE_SLOTS = 32  # rings beside a port: to and from a coprocessor, or a VMM's virtual NIC

PORT, OFFSET, LENGTH, KIND, TUNNEL = 0, 1, 2, 3, 4
WORDS = 5
# KIND of an injected packet: look it up, send it as it is out of PORT, or look it up and skip its first VM's stages
# (STAGED + 1: all stages).
INJECT_PROCESS, INJECT_RAW, INJECT_STAGED = 0, 1, 2
# KIND of a missed packet: no entry, for the host itself (ARP, probe), no entry and its first VM's stages are done
# (STAGED + 1: all stages).
MISS_FLOW, MISS_CONTROL, MISS_STAGED = 0, 1, 2

# Rings beside a port, in each engine's memory: to and from its VM's coprocessor, to and from its VMM.
TO_COPROCESSOR, FROM_COPROCESSOR, TO_VMM, FROM_VMM = range(4)
SIDES = 4
# side_wake[]: eventfd, whether its owner sleeps; of the coprocessor, then of the VMM.
COPROCESSOR_FD, COPROCESSOR_ASLEEP, VMM_FD, VMM_ASLEEP = range(4)
# KIND of what goes to a coprocessor: the chain of its flow-table entry, or CHAIN_SAMPLE - chain of a sampled copy;
# of what comes back from there: packets.FIRST_DONE or ALL_DONE.
CHAIN_SAMPLE = -1
# Slots of the ring to a coprocessor that samples leave to packets.
SAMPLE_ROOM = SIDE_SLOTS // 2
# samples[]: of the VM of a port: samples taken, those that found no room.
SAMPLED, SAMPLES_LOST = 0, 1
