"""Who is killed, what a flow's longest silence is, and what follows from the samples."""

from __future__ import annotations

import random

import pytest

from experiments.catalog import failover
from experiments.catalog.failover import DIRECT, OVER, Failover
from experiments.frame.experiment import ClaimVerdict, Sample
from experiments.workload import traffic
from experiments.workload.udp_exchange import Carried
from tests.unit.experiments.catalog.made_up import charts, given, lines, of, verdicts

PROCESSES = [
    ("host process of h1", 1), ("host process of hv1", 2), ("ovs-vswitchd of h1", 3), ("ovs-vswitchd of hv1", 4),
    ("ovsdb-server of hv1", 5), ("fabric-manager", 6), ("front-end-0", 7), ("vm-controller-0-0", 8),
    ("host process of hv10", 9), ("vm-controller-0-1", 10), ("ovsdb-server of h1", 11), ("etcd-1", 12), ("etcd-2", 13),
]  # fmt: skip


def test_victims() -> None:
    found = {role: failover.victims(role, "h1", "hv1", PROCESSES, 8) for role in (failover.NOBODY, *failover.ROLES)}
    assert found == {
        "nobody": [], "fabric-manager": [6], "vm-controller": [8], "front-end": [7], "host-process": [1],
        "ovs-vswitchd": [3], "hoverboard": [2, 4, 5], "ovsdb-server": [11], "control-plane": [6, 7, 8, 10],
        "etcd-member": [12],
    }  # fmt: skip


def test_no_process_is_killed_without_a_master() -> None:
    assert failover.victims("vm-controller", "h1", "hv1", PROCESSES, 0) == []


def test_the_longest_silence_counts_both_ends_of_the_window() -> None:
    def silence(*moments: float) -> float:
        return failover.longest_silence(Carried(arrivals=[(at, 0.0) for at in moments]), 1.0, 4.0)

    assert silence() == 3.0
    assert silence(0.5, 1.5, 2.0, 3.75) == 1.75
    assert silence(2.5, 5.0) == 1.5


def test_the_schedule_is_in_order_and_the_same_for_the_same_seed() -> None:
    flows = [traffic.TrafficFlow("a", "b", 160_000.0), traffic.TrafficFlow("c", "d", 1_600_000.0)]
    found = [failover.schedule(random.Random(1), flows, [OVER, DIRECT], 1.0) for _ in range(2)]
    assert found[0] == found[1]
    assert [one.at for one in found[0]] == sorted(one.at for one in found[0])
    assert [sum(one.flow == number for one in found[0]) for number in (0, 1)] == [100, 200]
    assert {one.size for one in found[0] if one.flow == 0} == {200}
    with pytest.raises(ValueError, match="zip"):
        failover.schedule(random.Random(1), flows, [OVER], 1.0)


def lost(most: float, alone: float | None = None, role: str = "front-end") -> list[Sample]:
    found = [*of("lost", 0.0, most, role=role, path=DIRECT), *of("lost", 99.0, role="host-process", path=DIRECT)]
    return found if alone is None else [*found, *of("lost", 0.0, alone, role="nobody", path=OVER)]


@pytest.mark.parametrize(
    ("samples", "result", "ours"),
    [
        (lost(1), "reproduced", "at most 1 datagrams a flow lost, 0 with no process killed"),
        (lost(1, alone=0), "reproduced", "at most 1 datagrams a flow lost, 0 with no process killed"),
        (lost(1.1, alone=1), "partly", "at most 1 datagrams a flow lost, 1 with no process killed"),
        (lost(7, alone=7), "reproduced", "at most 7 datagrams a flow lost, 7 with no process killed"),
        (lost(8, alone=7), "partly", "at most 8 datagrams a flow lost, 7 with no process killed"),
        (lost(19, alone=0), "partly", "at most 19 datagrams a flow lost, 0 with no process killed"),
        (lost(20, alone=0), "not", "at most 20 datagrams a flow lost, 0 with no process killed"),
        *((lost(19, role=role), "partly", "at most 19 datagrams a flow lost, 0 with no process killed")
          for role in ("fabric-manager", "vm-controller", "control-plane", "etcd-member")),
    ],
)  # fmt: skip
def test_fail_static(samples: list[Sample], result: str, ours: str) -> None:
    (verdict,) = verdicts(Failover, samples)
    assert verdict.claim == "with its control plane gone, the network forwards as before"
    assert (verdict.result, verdict.ours, verdict.paper) == (result, ours, "no loss (fail static)")


@pytest.mark.parametrize(
    ("ms", "result", "ours"),
    [
        (1999.0, "reproduced", "next change after 1999 ms (median of 3)"),
        (2000.0, "partly", "next change after 2000 ms (median of 3)"),
    ],
)
def test_a_standby_takes_over(ms: float, result: str, ours: str) -> None:
    others = of("next change", 9.0, role="front-end")
    (verdict,) = verdicts(Failover, [*of("next change", ms / 2, ms, 9 * ms, role="vm-controller"), *others])
    assert verdict.claim == "a standby takes over from a dead VM controller"
    assert (verdict.result, verdict.ours, verdict.paper) == (result, ours, "not stated")


@pytest.mark.parametrize(
    ("role", "path", "other", "claim", "why"),
    [
        ("host-process", DIRECT, OVER, "a killed host process costs a pause", "its checkpoint"),
        ("hoverboard", OVER, DIRECT, "a dead Hoverboard costs a pause", "use the other Hoverboard"),
    ],
)
def test_a_data_plane_comes_back(role: str, path: str, other: str, claim: str, why: str) -> None:
    def said(ms: float) -> ClaimVerdict:
        samples = [*of("silence", ms / 2, ms, 9 * ms, role=role, path=path), *of("silence", 7.0, role=role, path=other)]
        (verdict,) = verdicts(Failover, samples, after=6.0)
        return verdict

    assert [said(ms).result for ms in (2999.0, 3000.0)] == ["reproduced", "partly"]  # half of the traffic's time
    assert said(40.0).ours == "40 ms of silence (median of 3)"
    assert said(40.0).claim.startswith(claim)
    assert why in said(40.0).why


def test_charts_are_by_role_and_path() -> None:
    samples = [
        *of("silence", 5.0, 1.0, 3.0, role="nobody", path=OVER), *of("silence", 6.0, role="nobody", path=DIRECT),
        *of("silence", 90.0, role="hoverboard", path=OVER), *of("next change", 8.0, 4.0, role="hoverboard"),
    ]  # fmt: skip
    drawn = charts(Failover, samples)
    assert lines(drawn["silence"]) == {OVER: [("nobody", 3.0), ("hoverboard", 90.0)], DIRECT: [("nobody", 6.0)]}
    spread = drawn["silence"].series[0].spreads[0]
    assert (spread.n, spread.low, spread.high) == (3, 2.0, 4.0)
    assert lines(drawn["next-change"]) == {"new VM": [("hoverboard", 6.0)]}
    assert all((one.y, one.kind, one.log_y) == ("ms", "bars", True) for one in drawn.values())
    assert all(one.x == "killed role" for one in drawn.values())


def test_points_are_the_roles() -> None:
    points = Failover().points(given(Failover, roles=("nobody", "front-end")))
    assert points == [{"role": "nobody"}, {"role": "front-end"}]


def test_the_testbed_has_vms_for_four_flows_that_share_none() -> None:
    made = failover.topology()
    assert (made.name, made.model, made.report_interval, made.offload_threshold) == (
        "failover", "hoverboard", 0.25, 500_000,
    )  # fmt: skip
    assert (len(made.hosts), len(made.hoverboards)) == (2, 2)
    assert [vm.host for vm in made.vms].count("h1") == [vm.host for vm in made.vms].count("h2") == 4
