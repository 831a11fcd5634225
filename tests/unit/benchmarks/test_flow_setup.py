"""The flow set-up benchmark without its testbed: packets of a load, bars, command line."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import Any

import pytest

from benchmarks import flow_setup, new_flows
from benchmarks.new_flows import Arrivals


def test_a_datagram_of_a_load() -> None:
    packet = new_flows.datagram(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), 4711, 53, 7)
    assert len(packet) == 36
    assert packet[0] == 0x45
    assert packet[9] == 17
    assert packet[12:20] == bytes([10, 0, 0, 1, 10, 0, 0, 2])
    assert struct.unpack("!HHHH", packet[20:28]) == (4711, 53, 16, 0)
    assert struct.unpack("!Q", packet[28:])[0] == 7


def test_flows_a_second_are_those_that_arrived() -> None:
    assert Arrivals(10, 2.0, [0.01] * 8).per_second == 4.0


def figures(engine: list[float], trace: list[float], ratio: float) -> dict[str, Any]:
    detail = {"p50_ms": 1.0, "p99_ms": 2.0, "lost": 0}
    summary = {
        name: flow_setup.distribution(values).as_dict() for name, values in (("engine", engine), ("trace", trace))
    }
    return {"summary": summary, "details": {"engine": [detail] * len(engine)}, "engine_over_trace": ratio}


@pytest.mark.parametrize(("ratio", "passed"), [(0.8, True), (0.79, False)])
def test_the_bar(ratio: float, passed: bool) -> None:
    found = figures([800.0], [1000.0], ratio)
    assert [bar.passed for bar in flow_setup.bars(found)] == [passed]
    assert flow_setup.table(found).row_count == 5


def test_options() -> None:
    quick = flow_setup.options(["--quick", "--window", "16"])
    assert (quick.repeat, quick.seconds, quick.window) == (3, 1.0, 16)
    assert (flow_setup.options([]).repeat, flow_setup.options([]).seconds) == (5, 2.0)
    assert (flow_setup.options(["--repeat", "9", "--seconds", "0.5"]).seconds, quick.window) == (0.5, 16)
    for wrong in (["--window", "0"], ["--repeat", "0"], ["--repeat", "-1"], ["--seconds", "0"], ["--seconds", "-1"]):
        with pytest.raises(SystemExit):
            flow_setup.options(wrong)
