"""`hoverboard flows`: rows that differ look different, drops name their rule, and notes say only what applies."""

from __future__ import annotations

from typing import Any

from console.show import flow_tables, tables

ENTRY = {
    "vni": 7, "src": "10.0.0.2", "dst": "10.0.0.3", "proto": 6, "ports": "40000 > 80", "sender": "blue-1", "more": None,
    "cookie": "0x7000007000000", "kind": "offload", "via": "172.16.0.2", "from": "vm", "now": True,
    "packets": 3, "bytes": 400,
}  # fmt: skip


def document(*entries: dict[str, Any], counts: bool = False, openflow: int = 1) -> Any:
    return {
        "node": "h1", "openflow": ["cookie=0x0"] * openflow, "purposes": ["x"] * openflow, "openflow_counts": counts,
        "entries": [{**ENTRY, **one} for one in entries],
    }  # fmt: skip


def cells(table: Any) -> list[tuple[str, ...]]:
    return list(zip(*(column.cells for column in table.columns), strict=True))


def test_a_row_says_all_that_its_entry_is_for() -> None:
    table = flow_tables.entries(document({}))
    assert table.title == "flow table of h1: 1 entry"
    assert cells(table) == [
        ("7", "blue-1", "10.0.0.2", "10.0.0.3", "tcp", "40000 > 80", "offload", "172.16.0.2", "3", "400")
    ]


def test_rows_that_differ_look_different() -> None:
    others: list[dict[str, Any]] = [
        {}, {"ports": "40001 > 80"}, {"sender": "172.16.0.9", "from": "tunnel"}, {"more": "ECN(0)"}, {"proto": 17},
        {"now": False},
    ]  # fmt: skip
    rows = cells(flow_tables.entries(document(*others)))
    assert len(set(rows)) == len(others)


def test_a_drop_names_its_rule_and_an_earlier_answer_is_marked() -> None:
    cause = {"kind": "drop-firewall-ingress", "cause": "denied by rule http of blue", "via": None}
    rows = cells(flow_tables.entries(document(cause, {"now": False, "bytes": 1})))
    assert rows[0][6:8] == ("drop-firewall-ingress: denied by rule http of blue", "-")
    assert rows[1][6] == "offload (before)"


def test_an_entry_of_no_ip_packet() -> None:
    bare = {"src": None, "dst": None, "proto": None, "ports": None, "sender": None, "more": "Ethernet type 0x88cc"}
    assert cells(flow_tables.entries(document(bare)))[0][1:6] == ("vm", "-", "-", "-, Ethernet type 0x88cc", "-")


def test_protocols_by_name() -> None:
    assert [flow_tables.protocol(number) for number in (1, 6, 17, 58, 253, None)] == [
        "icmp", "tcp", "udp", "icmpv6", "253", "-"
    ]  # fmt: skip


def test_notes_say_only_what_applies() -> None:
    assert list(flow_tables.notes(document({}, counts=True, openflow=0))) == []
    earlier, zero, words = flow_tables.notes(document({"now": False}))
    assert earlier.startswith("(before): ")
    assert "n_packets below stays 0" in zero
    assert "cookie" in words


def test_drops_by_flow_are_shown_in_words_and_not_by_cookie() -> None:
    counters: Any = {"rx_packets": 3, "drops": {"spoofed": 2}, "drops_by_flow": {"0x102000007000000": 2}}
    assert cells(tables.counters(counters)) == [("rx_packets", "3"), ("drops: spoofed", "2")]
    table = tables.dropped_by([{"reason": "spoofed", "cause": "not its own", "packets": 2}])
    assert cells(table) == [("spoofed", "not its own", "2")]
