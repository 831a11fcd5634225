"""Merges the status documents of all VM controllers: each master reports its switches. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hoverboard.contract.documents import PlaneStatus, ReplicaStatus, Switch


def joined(masters: Iterable[ReplicaStatus]) -> int:
    """The number of VMs that are plugged in, at the switches of all masters."""
    return sum(one["joined"] for one in masters)


def policy_errors(masters: Iterable[ReplicaStatus]) -> tuple[int, str | None]:
    """The number of errors of the masters' offload policies, and one of the last ones."""
    found = [(one["policy_errors"], one["policy_error"]) for one in masters if one["policy_error"] is not None]
    return sum(count for count, _ in found), found[0][1] if found else None


def merge_status(servers: Iterable[str], masters: Sequence[ReplicaStatus]) -> PlaneStatus:
    """The merged status of the masters; also lists nodes that no master owns."""
    switches: dict[str, Switch] = {
        name: {
            "connected": False, "agent": False, "sync": "unknown", "flows": 0, "programmed": False,
            "errors": 0, "last_error": "no VM controller answers for it",
        }
        for name in servers
    }  # fmt: skip
    counters: dict[str, int] = {}
    down: set[str] = set()
    for master in masters:
        switches |= master["switches"]
        down.update(master["hoverboards_down"])
        for name, count in master["counters"].items():
            counters[name] = counters.get(name, 0) + count
    return {
        "switching": next((one["switching"] for one in masters if one["switching"] is not None), None),
        "lookups": sum(one["lookups"] for one in masters),
        "hoverboards_down": sorted(down),
        "switches": dict(sorted(switches.items())),
        "offloads": sum(one["offloads"] for one in masters),
        "counters": counters,
    }
