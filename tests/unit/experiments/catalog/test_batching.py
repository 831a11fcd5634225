"""Section 4.2: what a batch gains, of made-up samples."""

from __future__ import annotations

import pytest

from experiments.catalog.batching import Batching, topology
from experiments.frame.experiment import Sample
from tests.unit.experiments.catalog.made_up import charts, given, lines, of, verdicts
from topologies.spec.topology import MOST_EGRESS


def engine(**ns: float) -> list[Sample]:
    """Three samples of each batch ("b32"), whose median is the value."""
    return [one for name, value in ns.items() for one in of("engine", value / 2, value, 9 * value, batch=int(name[1:]))]


def live(**rates: float) -> list[Sample]:
    return [one for name, value in rates.items() for one in of("packet rate", value, batch=int(name[1:]))]


@pytest.mark.parametrize(
    ("samples", "result", "ours", "ratio"),
    [
        (engine(b1=200, b8=100, b32=125), "reproduced", "2.00 x (5 -> 10 million packets/s at 8)", 2 / 2.4),
        (engine(b1=199, b32=100), "partly", "1.99 x (5.03 -> 10 million packets/s at 32)", 1.99 / 2.4),
        (engine(b1=120, b32=100), "partly", "1.20 x (8.33 -> 10 million packets/s at 32)", 1.2 / 2.4),
        (engine(b1=119, b32=100), "not", "1.19 x (8.4 -> 10 million packets/s at 32)", 1.19 / 2.4),
        (engine(b1=100, b32=200), "not", "1.00 x (10 -> 10 million packets/s at 1)", 1 / 2.4),
        (engine(b1=100), "not measured", "", None),
        (engine(b8=100, b32=200), "not measured", "", None),
        (engine(b1=100, b32=0), "not measured", "", None),
        (engine(b1=100, b64=50), "not measured", "", None),  # 64 was not asked for
    ],
)
def test_the_engine_alone(samples: list[Sample], result: str, ours: str, ratio: float | None) -> None:
    alone, between = verdicts(Batching, samples)
    assert (alone.claim, alone.paper) == ("batching raises the peak packet rate 2.4 times (the engine alone)", "2.4 x")
    assert (alone.result, alone.ours) == (result, ours)
    assert alone.ratio == (None if ratio is None else pytest.approx(ratio))
    assert between.result == "not measured"


@pytest.mark.parametrize(
    ("samples", "result", "ours"),
    [
        (live(b1=100, b128=200), "reproduced", "2.00 x (100 -> 200 1000 packets/s at 128)"),
        (live(b1=100, b8=120, b128=110), "partly", "1.20 x (100 -> 120 1000 packets/s at 8)"),
        (live(b1=100, b128=119), "not", "1.19 x (100 -> 119 1000 packets/s at 128)"),
        (live(b1=0, b128=119), "not measured", ""),
        (live(b1=100, b64=119), "not measured", ""),
    ],
)
def test_vm_to_vm(samples: list[Sample], result: str, ours: str) -> None:
    alone, between = verdicts(Batching, samples)
    assert between.claim == "batching raises the peak packet rate 2.4 times (VM to VM)"
    assert (between.result, between.ours) == (result, ours)
    assert alone.result == "not measured"


def test_charts_are_in_multiples_of_a_batch_of_one() -> None:
    drawn = charts(Batching, [*engine(b1=200, b32=100), *live(b1=100, b128=150), *of("packet rate", 250, batch=128)])
    assert lines(drawn["engine-gain"]) == {
        "egress engine alone": [(1, 1.0), (32, 2.0)], "section 4.2, peak": [(1, 2.4), (32, 2.4)],
    }  # fmt: skip
    assert lines(drawn["live-gain"])["VM to VM, 64 bytes"] == [(1, 1.0), (128, 2.0)]
    last = drawn["live-gain"].series[0].spreads[1]
    assert (last.n, last.low, last.median, last.high) == (2, 1.75, 2.0, 2.25)
    assert [one.paper for one in drawn["live-gain"].series] == [False, True]
    assert drawn["live-gain"].log_x
    assert charts(Batching, live(b1=100)).keys() == {"live-gain"}


def test_points_are_the_engine_alone_and_each_batch_between_two_vms() -> None:
    assert Batching().points(given(Batching, live=(1, 8))) == [
        {"what": "engine"}, {"what": "live", "batch": 1}, {"what": "live", "batch": 8},
    ]  # fmt: skip


@pytest.mark.parametrize(("batch", "egress"), [(1, 1), (MOST_EGRESS, MOST_EGRESS), (128, MOST_EGRESS)])
def test_the_testbed_takes_so_many_packets_at_a_time(batch: int, egress: int) -> None:
    made = topology(batch)
    assert (made.name, made.model, made.hoverboards) == (f"batch-{batch}", "preprogrammed", ())
    assert [one.batch for one in made.hosts] == [(egress, batch)] * 2
    assert [vm.host for vm in made.vms] == ["h1", "h2"]
