"""Indexes of drops[]: the reasons for which a packet is dropped, with a counter for each."""

from __future__ import annotations

from hoverboard.contract.openflow.pipeline import Kind, drop_reason

OF_ENGINES = (
    "short-frame",
    "malformed-ipv4",
    "vlan",
    "malformed-outer",
    "not-for-this-host",
    "not-geneve",
    "geneve-critical-option",
    "miss-queue-full",
    "vport-down",
    "uplink-down",
    "uncacheable",
    "bad-segment",
    "switch-not-programmed",
    "unnamed-flow",  # by an OpenFlow flow that is not part of the pipeline
    "malformed-ipv6",
    "vm-queue-full",
    "coprocessor-queue-full",
    "dos-blocked",  # a stage has blocked the source
    "over-capacity",
)
NAMES: tuple[str, ...] = tuple(
    dict.fromkeys(OF_ENGINES + tuple(reason for kind in Kind if (reason := drop_reason(kind)) is not None))
)
(
    SHORT,
    IPV4,
    VLAN,
    OUTER,
    NOT_US,
    NOT_GENEVE,
    CRITICAL,
    MISS_FULL,
    VPORT_DOWN,
    UPLINK_DOWN,
    UNCACHEABLE,
    SEGMENT,
    UNPROGRAMMED,
    UNNAMED,
    IPV6,
    VM_QUEUE,
    COPROCESSOR,
    BLOCKED,
    CAPACITY,
) = range(len(OF_ENGINES))
