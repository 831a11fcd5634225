"""A demonstration's summary, checks and table from results that are made up."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from console.show import demo_tables
from experiments import figures
from experiments.demo.demo_results import PingCell, Throughput
from experiments.observe.flow_path import PathPoint, Timeline
from experiments.observe.provenance import record
from experiments.observe.tenant_isolation import Isolation
from hoverboard.contract.document_schemas import check
from tests.unit.experiments.demo.demonstration import SAME, broken, generation, result, tcp


def timeline(*points: tuple[float, int, int], offloaded_at: float | None = None) -> Timeline:
    return Timeline("10.0.0.2", "10.0.0.3", tuple(PathPoint(*one) for one in points), offloaded_at)


LEAK = replace(SAME, bystander_packets=1)


def cell(src: str, dst: str, received: int) -> PingCell:
    return PingCell("blue", src, dst, 3, received, 0.1 if received else None)


def test_ratios_say_how_many_times_better_the_fast_path_is() -> None:
    assert result().ratios() == {
        "throughput": {"1": 10.0, "16": 10.0},
        "latency_direct": pytest.approx(10.0),
        "latency_hoverboard": pytest.approx(10.0),
    }
    whole = result()
    for one in (whole.generations[:1], whole.generations[1:], ()):
        assert replace(whole, generations=one).ratios() == {}


def test_a_ratio_needs_both_values() -> None:
    fast, slow = result().generations
    silent = replace(slow.latency_direct, samples=())
    nothing = replace(slow, throughput=(Throughput(1, tcp(1, 0.0), 0),), latency_direct=silent)
    assert replace(result(), generations=(fast, nothing)).ratios() == {
        "throughput": {}, "latency_direct": None, "latency_hoverboard": pytest.approx(10.0),
    }  # fmt: skip
    instant = replace(fast, latency_direct=replace(fast.latency_direct, samples=(0.0,)))
    assert replace(result(), generations=(instant, slow)).ratios()["latency_direct"] is None


def test_all_checks_of_a_good_run() -> None:
    assert [(one.name, one.ok, one.detail) for one in result().checks()[:3]] == [
        (
            "fastpath: every pair within a tenant pings", True,
            "2 pairs, 5 of 6 answers; lost: blue-2 -> blue-1 1 of 3",
        ),
        (
            "fastpath: no packet crosses tenants", True,
            "1 shared and 1 unshared addresses tried; lost: blue-1 -> blue-2 1 of 10",
        ),
        (
            "fastpath: the flow starts on the Hoverboard and is offloaded", True,
            "offloaded 1.20 s after its first packet",
        ),
    ]  # fmt: skip
    assert [one.name.partition(":")[0] for one in result().checks()] == ["fastpath"] * 3 + ["ovs"] * 3


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"matrix": (cell("a", "b", 0), cell("b", "a", 1), cell("c", "a", 0))}, "no answer: a -> b, c -> a"),
        ({"matrix": ()}, "0 pairs, 0 of 0 answers"),
        ({"isolation": Isolation((), ())}, "0 shared and 0 unshared addresses tried"),
        (
            {"isolation": Isolation((LEAK,), ())},
            "1 shared and 0 unshared addresses tried; red-2 received 1 packet while blue-1 pinged 10.0.0.3; "
            "lost: blue-1 -> blue-2 1 of 10",
        ),
        (
            {"timeline": timeline((0, 0, 0), (1, 99, 0), offloaded_at=1.0)},
            "99 bytes over the Hoverboard, 0 direct, listed as offloaded",
        ),
        (
            {"timeline": timeline((0, 0, 0), (1, 0, 7), offloaded_at=1.0)},
            "0 bytes over the Hoverboard, 7 direct, listed as offloaded",
        ),
        (
            {"timeline": timeline((0, 0, 0), (1, 99, 7))},
            "99 bytes over the Hoverboard, 7 direct, never listed as offloaded",
        ),
    ],
)  # fmt: skip
def test_each_check_can_fail(change: dict[str, Any], detail: str) -> None:
    summary = broken(**change).summary({})
    assert not summary["ok"]
    assert [one["detail"] for one in summary["checks"] if not one["ok"]] == [detail]


def test_a_demonstration_of_nothing_has_not_passed() -> None:
    assert not replace(result(), generations=()).summary({})["ok"]


def test_the_summary_is_as_its_schema_says() -> None:
    summary = result().summary(record({"streams": 1}))
    for one in summary["generations"]:
        one["servers"] = {}  # those of hosts that were made up
    check("demo", summary)


def test_the_summary_has_what_was_measured() -> None:
    summary = result().summary({"taken": "today"})
    assert (summary["experiment"], summary["ok"], summary["seconds"]) == ("demo", True, 61.3)
    assert summary["record"] == {"taken": "today"}
    assert summary["ratios"] == result().ratios()
    fast = summary["generations"][0]
    assert (fast["dataplane"], fast["run"], fast["up_seconds"]) == ("fastpath", "demo-fastpath", 2.57)
    assert (fast["phases"], fast["datapath_types"]) == ({"nodes": 0.4, "hosts": 1.2}, ["netdev"])
    assert fast["ping_matrix"][1] == {
        "network": "blue", "src": "blue-2", "dst": "blue-1", "sent": 3, "received": 2, "min_ms": 0.3, "ok": True,
    }  # fmt: skip
    assert fast["isolation"]["ok"]
    assert fast["latency_ms"]["hoverboard"] == {
        "sent": 3, "received": 2, "min": 0.4, "median": pytest.approx(0.6), "avg": pytest.approx(0.6), "max": 0.8,
        "mdev": 0.01, "stayed_on_hoverboard": True,
    }  # fmt: skip
    assert fast["latency_ms"]["direct"]["median"] == 0.2
    assert fast["throughput"][1] == {
        "streams": 16, "bps": 2e10, "seconds": 2.0, "retransmits": 7, "cpu_client_percent": 91.2,
        "cpu_server_percent": 84.6, "relayed_bytes": 30_000_000, "relayed_share": pytest.approx(0.008),
    }  # fmt: skip
    path = fast["path"]
    assert (path["offloaded_at"], path["direct_at"]) == (1.2, 1.25)
    # The matrix lost one of 6, the own tenant's VM one of 10, the pings over the Hoverboard one of 3, the others none.
    assert fast["pings"] == {"sent": 6 + 10 + 3 + 3, "lost": 3}
    assert (path["src"], path["hoverboard_bytes"], path["direct_bytes"]) == ("10.0.0.2", 8_000_000, 80_000_000)
    assert path["points"][5] == {"at": 1.25, "hoverboard_bytes": 8_000_000, "direct_bytes": 20_000_000}
    json.dumps(summary)


@pytest.mark.parametrize(
    ("relayed", "bps", "share"),
    [(0, 8e6, 0.0), (150_000, 8e6, 0.1), (1_500_000, 8e6, 1.0), (9_000_000, 8e6, 1.0), (0, 0.0, 1.0)],
)
def test_the_share_that_was_relayed_is_of_all_that_was_sent(relayed: int, bps: float, share: float) -> None:
    assert Throughput(1, tcp(1, bps), relayed).relayed_share == pytest.approx(share)  # of 1.5 MB


def test_the_delay_of_an_offload_is_one_number_everywhere() -> None:
    """In the check, in the table, in the figure, and in the report's tile and caption."""
    line = timeline((0, 0, 0), (0.02, 1, 0), (1, 2, 0), (1.25, 2, 9), offloaded_at=0.987)
    whole = broken(timeline=line)
    assert whole.checks()[2].detail == "offloaded 0.99 s after its first packet"
    summary = whole.summary({})
    assert summary["generations"][0]["path"]["offloaded_at"] == 0.987
    table = demo_tables.path_table(summary["generations"][0])
    assert "offloaded at 0.99 s" in list(table.columns[-1].cells)
    (axes,) = figures.flow_path(line, title="").axes
    assert [one.get_text() for one in axes.texts] == ["offloaded, 0.99 s"]


def test_without_an_offload_or_a_packet_there_is_no_delay() -> None:
    assert timeline((0, 0, 0), (1, 1, 0)).offload_delay is None
    assert timeline((0, 0, 0), offloaded_at=1.0).offload_delay is None
    assert timeline((0, 0, 0), (1, 1, 0), offloaded_at=-0.01).offload_delay == 0.0


def test_lost_pings_are_told_in_checks_and_table() -> None:
    checks = {one.name: one.detail for one in result().checks()}
    assert checks["ovs: every pair within a tenant pings"].endswith("; lost: blue-2 -> blue-1 1 of 3")
    assert checks["ovs: no packet crosses tenants"].endswith("; lost: blue-1 -> blue-2 1 of 10")
    whole = replace(SAME, target_echo_requests=10)
    good = broken(matrix=(cell("a", "b", 3),), isolation=Isolation((whole,), ())).checks()
    assert not any("lost" in one.detail for one in good[:2])
    (_path, measured, _checks) = demo_tables.demo(result().summary({}))
    rows = list(zip(*(column.cells for column in measured.columns), strict=True))
    assert ("pings lost", "3 of 22", "3 of 22", "") in rows


def test_two_figures_of_one_pair_that_differ_are_explained() -> None:
    """The followed flow had 0.64 Gbit/s on the direct path."""
    for bps, alike in ((0.64e9, True), (0.79e9, True), (0.52e9, True), (0.81e9, False), (0.4e9, False)):
        (fast, _) = broken(throughput=(Throughput(1, tcp(1, bps), 0),)).generations
        assert (fast.note() is None) == alike, bps
    whole = broken(throughput=(Throughput(1, tcp(1, 0.4e9), 0),))
    note = whole.summary({})["notes"][0]
    assert note.startswith("fastpath: one stream of this pair had 0.64 Gbit/s while it was followed, and 0.40 Gbit/s")
    for nothing in ({"throughput": ()}, {"timeline": timeline((0, 0, 0))}):
        assert broken(**nothing).generations[0].note() is None


def test_the_table_has_a_row_for_each_value() -> None:
    found = [row[1:] for row in replace(result(), generations=(generation("ovs", 1),)).csv_rows()]
    assert found[:5] == [
        ("start-up", "", "s", 2.5678),
        ("throughput", "1 stream", "bit/s", 1e9), ("retransmits", "1 stream", "segments", 7),
        ("throughput", "16 streams", "bit/s", 2e9), ("retransmits", "16 streams", "segments", 7),
    ]  # fmt: skip
    assert found[5:10] == [
        *(("round trip", "hoverboard", "ms", one) for one in (4.0, 8.0)),
        *(("round trip", "direct", "ms", one) for one in (1.0, 2.0, 6.0)),
    ]
    assert found[10:12] == [
        ("path rate", "hoverboard 0.00-0.25 s", "bit/s", 64e6), ("path rate", "direct 0.00-0.25 s", "bit/s", 0.0),
    ]  # fmt: skip
    assert found[-1] == ("path rate", "direct 1.75-2.00 s", "bit/s", 640e6)
    assert len(found) == 10 + 2 * 8
    assert {row[0] for row in result().csv_rows()} == {"fastpath", "ovs"}


def test_what_was_not_counted_has_no_row() -> None:
    one = generation("ovs", 1)
    uncounted = replace(one, throughput=(Throughput(1, replace(tcp(1, 1e9), retransmits=None), 0),))
    rows = list(replace(result(), generations=(uncounted,)).csv_rows())
    assert "retransmits" not in {row[1] for row in rows}


def test_round_trips_are_compared_and_shown_by_their_medians() -> None:
    fast, slow = result().generations
    # A pause of the scheduler moves the mean of ovs tenfold, and its median not at all.
    pause = replace(slow.latency_direct, samples=(1.0, 2.0, 6.0, 1.0, 300.0), avg_ms=62.0)
    paused = replace(result(), generations=(fast, replace(slow, latency_direct=pause)))
    assert paused.ratios()["latency_direct"] == pytest.approx(10.0)
    _, shown, _ = demo_tables.demo(paused.summary({}))
    rows = list(zip(*(column.cells for column in shown.columns), strict=True))
    assert rows[2:4] == [
        ("round trip, direct (median)", "0.200 ms", "2.000 ms", "10.0 x"),
        ("round trip, over the Hoverboard (median)", "0.600 ms", "6.000 ms", "10.0 x"),
    ]


def test_the_shown_path_has_a_row_a_second() -> None:
    points = result().summary({})["generations"][0]["path"]["points"]
    assert [point["at"] for point in demo_tables.whole_seconds(points)] == [1, 2]
