"""The verdict on isolation: what counts as a leak, and the kernel's counters it is read from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.observe import tenant_isolation
from experiments.observe.tenant_isolation import ForeignAddress, IpCounters, Isolation, SameAddress, parse_snmp
from experiments.tools import ping
from experiments.tools.tool_processes import Node
from hoverboard.contract.errors import MeasurementError

SAME = SameAddress("blue", "10.0.0.3", "blue-1", "blue-2", "red-2", 10, 10, 0)
FOREIGN = ForeignAddress("blue", "blue-1", "10.0.0.5", "red-only", "red", 10, 0, 0, 3)
SNMP = "Ip: Forwarding DefaultTTL InReceives InHdrErrors\nIp: 2 64 17 0\nIcmp: InMsgs InErrors InEchos\nIcmp: 9 0 5\n"


def test_counters() -> None:
    assert parse_snmp(SNMP) == IpCounters(packets=17, echo_requests=5)


def test_counters_of_a_vm_are_those_of_its_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "4711" / "net").mkdir(parents=True)
    (tmp_path / "4711" / "net" / "snmp").write_text(SNMP)
    monkeypatch.setattr(tenant_isolation, "Path", lambda text: tmp_path / text.removeprefix("/proc/"))
    assert tenant_isolation.counters(Node("vm", 4711)) == IpCounters(17, 5)


def test_missing_counter_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="no counter 'Icmp'"):
        parse_snmp(SNMP[: SNMP.index("Icmp")])
    with pytest.raises(MeasurementError, match="no counter 'InEchos'"):
        parse_snmp(SNMP.replace("InEchos", "InOthers"))


def test_requests_at_the_target_and_nowhere_else() -> None:
    assert SAME.ok
    assert replace(SAME, target_echo_requests=9).ok, "a lost packet is no leak"
    assert replace(SAME, target_echo_requests=1).ok
    assert not replace(SAME, target_echo_requests=0).ok, "nothing was shown if nothing arrived"
    assert not replace(SAME, target_echo_requests=11).ok, "more arrived than were sent"
    assert not replace(SAME, bystander_packets=1).ok


def test_no_answer_from_outside_and_one_from_inside() -> None:
    assert FOREIGN.ok
    assert not replace(FOREIGN, replies=1).ok
    assert not replace(FOREIGN, owner_packets=1).ok
    assert not replace(FOREIGN, replies_inside=0).ok


def test_every_row_of_both_proofs_has_to_hold() -> None:
    assert Isolation((SAME,), (FOREIGN,)).ok
    assert Isolation((SAME,), ()).ok
    assert Isolation((), (FOREIGN,)).ok
    assert not Isolation((SAME, replace(SAME, bystander_packets=1)), (FOREIGN,)).ok
    assert not Isolation((SAME,), (FOREIGN, replace(FOREIGN, replies=1))).ok
    assert not Isolation((), ()).ok, "nothing was tested"


def test_the_record_has_every_row_with_its_verdict() -> None:
    record = Isolation((SAME,), (replace(FOREIGN, replies=1),)).record()
    assert record["ok"] is False
    (same,), (foreign,) = record["same_address"], record["foreign_address"]
    assert same == {
        "tenant": "blue", "address": "10.0.0.3", "source": "blue-1", "target": "blue-2", "bystander": "red-2",
        "sent": 10, "target_echo_requests": 10, "bystander_packets": 0, "ok": True,
    }  # fmt: skip
    assert (foreign["owner"], foreign["replies"], foreign["ok"]) == ("red-only", 1, False)


class Kernels:
    """Counters of VMs by pid, which pings change: who is pinged, and what else arrives."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, arrives: dict[str, list[tuple[int, int, int]]]) -> None:
        self.counted: dict[int, IpCounters] = {}
        self.pings: list[tuple[str, str, dict[str, Any]]] = []
        self._arrives = arrives  # address -> (pid, packets, echo requests) each
        monkeypatch.setattr(
            tenant_isolation, "counters", lambda place: self.counted.get(place.pid, IpCounters(100, 50))
        )
        monkeypatch.setattr(ping, "measure", self._ping)

    def _ping(self, source: Node, address: str, **settings: Any) -> Any:
        self.pings.append((source.name, address, settings))
        for pid, packets, requests in self._arrives.get(f"{source.name} {address}", []):
            before = self.counted.get(pid, IpCounters(100, 50))
            self.counted[pid] = IpCounters(before.packets + packets, before.echo_requests + requests)
        return SimpleNamespace(received=2 if "inside" in source.name else 1)


def test_the_first_proof_watches_the_target_and_the_vm_of_the_other_tenant_with_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernels = Kernels(
        monkeypatch, {"blue-1 10.0.0.3": [(2, 12, 9), (3, 4, 1)], "blue-1 10.0.0.4": [(4, 10, 10), (5, 0, 0)]}
    )
    targets = [
        ("10.0.0.3", "blue-2", Node("blue-2", 2), "red-2", Node("red-2", 3)),
        ("10.0.0.4", "blue-3", Node("blue-3", 4), "red-3", Node("red-3", 5)),
    ]
    rows = tenant_isolation.same_address("blue", ("blue-1", Node("blue-1", 1)), targets)
    assert rows == [
        SameAddress("blue", "10.0.0.3", "blue-1", "blue-2", "red-2", 10, 9, 4),
        SameAddress("blue", "10.0.0.4", "blue-1", "blue-3", "red-3", 10, 10, 0),
    ]
    assert kernels.pings[0] == ("blue-1", "10.0.0.3", {"count": 10, "interval": 0.02, "size": ping.SMALL})


def test_the_second_proof_pings_from_outside_and_from_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = Kernels(monkeypatch, {"blue-1 10.0.0.5": [(9, 7, 3)], "inside 10.0.0.5": [(9, 3, 3)]})
    found = tenant_isolation.foreign_address(
        "blue", ("blue-1", Node("blue-1", 1)), ("red-only", "red", Node("red-only", 9)), Node("inside", 2), "10.0.0.5",
        count=6,
    )  # fmt: skip
    assert found == ForeignAddress("blue", "blue-1", "10.0.0.5", "red-only", "red", 6, 1, 7, 2)
    assert [(name, settings["count"]) for name, _, settings in kernels.pings] == [("blue-1", 6), ("inside", 3)]
