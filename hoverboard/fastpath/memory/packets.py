"""packets[]: a row a pool slot; and what a slot holds."""

from __future__ import annotations

VNET_BYTES = 12  # struct virtio_net_hdr_v1, TUNSETVNETHDRSZ
# Room before a frame for the encapsulation: 12 vnet + 50 outer + 16 segment option = 78, rounded up.
HEADROOM = 128
FRAME_MAX = 65_600  # a 64,000-byte segment with headers, or a 65,521-byte fabric frame
SLOT_BYTES = 65_792  # HEADROOM + FRAME_MAX, rounded up to 64
POOL_SLOTS = 512  # packets an engine holds at once: a batch, and on ingress what waits for its VM
VM_QUEUE_SLOTS = 256  # of them, at most this many for one VM

# START is where the received frame begins (its virtio-net header is 12 bytes before), FRAME and LENGTH the inner
# frame, VNET whether a virtio-net header stands before FRAME. STAGED: the coprocessor stages that are done: none,
# those of the first VM (FIRST_DONE), all.
START, TOTAL, FRAME, LENGTH, VNET, INDEX, HASH, PORT = range(8)
PORTS, TUNNEL, OUT, OUT_START, OUT_LENGTH, ARRIVED, STAGED, PARSED = range(8, 16)
WORDS = 16
FIRST_DONE, ALL_DONE = 1, 2
