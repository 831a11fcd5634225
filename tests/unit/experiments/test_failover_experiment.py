"""Who is killed, what a flow's longest silence is, and what follows from the samples."""

from __future__ import annotations

import random

from experiments import traffic
from experiments.catalog import failover
from experiments.catalog.failover import DIRECT, OVER, Failover
from experiments.exchange import Carried
from experiments.frame.experiment import Sample, Table
from experiments.frame.parameters import values

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


def test_the_longest_silence_counts_both_ends_of_the_window() -> None:
    def silence(*moments: float) -> float:
        return failover.longest_silence(Carried(arrivals=[(at, 0.0) for at in moments]), 1.0, 4.0)

    assert silence() == 3.0
    assert silence(0.5, 1.5, 2.0, 3.75) == 1.75
    assert silence(2.5, 5.0) == 1.5


def test_the_schedule_is_in_order_and_the_same_for_the_same_seed() -> None:
    flows = [traffic.Flow("a", "b", 160_000.0), traffic.Flow("c", "d", 1_600_000.0)]
    found = [failover.schedule(random.Random(1), flows, [OVER, DIRECT], 1.0) for _ in range(2)]
    assert found[0] == found[1]
    assert [one.at for one in found[0]] == sorted(one.at for one in found[0])
    assert [sum(one.flow == number for one in found[0]) for number in (0, 1)] == [100, 200]
    assert {one.size for one in found[0] if one.flow == 0} == {200}


def test_verdicts() -> None:
    def results(lost: float) -> dict[str, str]:
        samples = [
            Sample("lost", 0.0, "", {"role": "nobody", "path": OVER}),
            Sample("lost", lost, "", {"role": "front-end", "path": DIRECT}),
            Sample("next change", 300.0, "ms", {"role": "vm-controller"}),
            Sample("silence", 90_000.0, "ms", {"role": "hoverboard", "path": OVER}),
        ]
        experiment = Failover()
        found = experiment.verdicts(Table(samples), values(experiment.parameters, {}, quick=False))
        return {one.claim: one.result for one in found}

    assert list(results(0).values()) == ["reproduced", "reproduced", "partly"]
    assert list(results(5).values()) == ["partly", "reproduced", "partly"]
    assert list(results(500).values()) == ["not", "reproduced", "partly"]
