"""Words of meta[], the description of a ring slot, and the kinds of rings and of their packets."""

from __future__ import annotations

RING_SLOTS = 512  # miss and inject rings
MISSES_PER_PORT = 64  # slots that one VM may use, so that one VM cannot use them all
MISSES_OF_UPLINK = 384  # slots that the uplink may use: a busy stream misses until its new entry is installed
SIDE_SLOTS = 32  # slots of the rings to and from a coprocessor or a VMM

PORT, OFFSET, LENGTH, KIND, TUNNEL = 0, 1, 2, 3, 4
WORDS = 5
# KIND of an injected packet. PROCESS: look it up. RAW: send it unchanged out of PORT. STAGED: look it up and skip the
# stages of its first VM (STAGED + 1: skip all stages).
INJECT_PROCESS, INJECT_RAW, INJECT_STAGED = 0, 1, 2
# KIND of a missed packet. FLOW: there is no entry. CONTROL: for the host itself (ARP, probe). STAGED: there is no
# entry, and the stages of its first VM are done (STAGED + 1: all stages are done).
MISS_FLOW, MISS_CONTROL, MISS_STAGED = 0, 1, 2

# Rings beside a port, in each engine's memory: to and from its VM's coprocessor, to and from its VMM.
TO_COPROCESSOR, FROM_COPROCESSOR, TO_VMM, FROM_VMM = range(4)
SIDES = 4
# side_wake[]: eventfd, and whether its owner sleeps; first of the coprocessor, then of the VMM.
COPROCESSOR_FD, COPROCESSOR_ASLEEP, VMM_FD, VMM_ASLEEP = range(4)
# KIND of a packet to a coprocessor: the chain of its flow-table entry, or for a sampled copy CHAIN_SAMPLE - chain.
# KIND of a packet from a coprocessor: packets.FIRST_DONE or ALL_DONE.
CHAIN_SAMPLE = -1
# Slots of the ring to a coprocessor that samples leave free for packets.
SAMPLE_ROOM = SIDE_SLOTS // 2
# samples[], for the VM of a port: samples taken, and samples that found no room.
SAMPLED, SAMPLES_LOST = 0, 1
