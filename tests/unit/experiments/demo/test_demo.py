"""The demonstration's parameters, which generations it takes, and how its progress grows; no testbed."""

from __future__ import annotations

import pytest

from experiments.demo import demo
from experiments.demo.demo import DemoSpec, _Steps, demo_spec
from hoverboard.contract.errors import InputError, MachineError
from topologies.spec import schema


@pytest.mark.parametrize(
    ("generations", "datapath", "found"),
    [
        ("fastpath,ovs", "netdev", ("fastpath", "ovs")),
        ("ovs, fastpath,ovs", "netdev", ("fastpath", "ovs")),  # the newest first, each once
        ("pre", "netdev", ("pre",)),
        ("all", "netdev", ("fastpath", "fastpath-vmm", "ovs", "pre")),
        ("all", "system", ("fastpath", "fastpath-vmm", "ovs-offload", "ovs", "pre")),
        ("ovs-offload", "system", ("ovs-offload",)),
    ],
)
def test_generations(generations: str, datapath: str, found: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "datapath_type", lambda: datapath)
    assert demo_spec("name", generations) == DemoSpec(run="name", generations=found)  # type: ignore[arg-type]


def test_generations_that_are_not_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "datapath_type", lambda: "netdev")
    with pytest.raises(InputError, match="no dataplane generation 'ovs2'") as caught:
        demo_spec("name", "ovs,ovs2")
    assert "pre, ovs, ovs-offload" in str(caught.value.next_step)
    with pytest.raises(MachineError):
        demo_spec("name", "fastpath,ovs-offload")


def test_parameters_are_recorded_with_the_topology_s() -> None:
    topology = schema.load("demo")
    assert DemoSpec(generations=("ovs",), seconds=3, pings=7).parameters(topology) == {
        "topology": "demo", "model": "hoverboard", "offload_threshold_bps": topology.offload_threshold,
        "report_interval_s": topology.report_interval, "generations": ["ovs"], "pair": ["blue-1", "blue-2"],
        "iperf3_streams": [1, 16], "iperf3_seconds": 3, "iperf3_omit_s": 1, "followed_seconds": 7,
        "path_sample_interval_s": 0.25, "pings_hoverboard": 20, "pings_hoverboard_interval_s": 0.1,
        "pings_direct": 7, "pings_direct_interval_s": 0.005,
    }  # fmt: skip


def test_progress_is_the_share_of_all_steps_expected_seconds() -> None:
    seen: list[tuple[str, float]] = []
    spec = DemoSpec(
        generations=("fastpath", "ovs"), streams=(1, 16), seconds=4, omit=1, follow_seconds=7, slow_pings=20,
        slow_interval=0.1, pings=200, ping_interval=0.005,
    )  # fmt: skip
    steps = _Steps(spec, lambda step, share: seen.append((step, share)))
    # 5 + 4 + 1.5 + 2.5 + 8 + 1.5 + 11 + 1.5 seconds of each generation.
    whole = 2 * 35.0
    order = [
        ("starting", 0.0), ("isolation", 5.0), ("pings", 9.0), ("latency over the Hoverboard", 10.5),
        ("following one flow", 13.0), ("latency, direct", 21.0), ("throughput", 22.5), ("stopping", 33.5),
    ]  # fmt: skip
    for number, dataplane in enumerate(("fastpath", "ovs")):
        for step, seconds in order:
            steps.begin(dataplane, step)
            assert seen[-1] == (f"{dataplane}: {step}", pytest.approx((35.0 * number + seconds) / whole))
            steps.detail("more")
            assert seen[-1] == (f"{dataplane}: {step}, more", pytest.approx((35.0 * number + seconds) / whole))
