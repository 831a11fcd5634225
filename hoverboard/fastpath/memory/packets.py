"""Words of packets[], one row per pool slot, and the sizes of a slot."""

from __future__ import annotations

VNET_BYTES = 12  # struct virtio_net_hdr_v1, TUNSETVNETHDRSZ
# Room before a frame for the encapsulation: 12 vnet + 50 outer + 16 segment option = 78, rounded up.
HEADROOM = 128
FRAME_MAX = 65_600  # a 64,000-byte segment with headers, or a 65,521-byte fabric frame
SLOT_BYTES = 65_792  # HEADROOM + FRAME_MAX, rounded up to 64
POOL_SLOTS = 512  # packets that an engine holds at once: a batch, and on ingress the packets in VM queues
VM_QUEUE_SLOTS = 256  # of them, at most this many for one VM

# START, TOTAL: the received frame (its virtio-net header is 12 bytes before). FRAME, LENGTH: the inner frame.
# VNET: whether a virtio-net header is before FRAME. INDEX: flow-table entry. STAGED: the coprocessor stages that are
# done: 0: none, FIRST_DONE: those of the first VM, ALL_DONE: all.
START, TOTAL, FRAME, LENGTH, VNET, INDEX, HASH, PORT = range(8)
PORTS, TUNNEL, OUT, OUT_START, OUT_LENGTH, ARRIVED, STAGED, PARSED = range(8, 16)
WORDS = 16
FIRST_DONE, ALL_DONE = 1, 2
