"""What throughput, latency, CPU and coprocessor experiments make of what their tools say."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.catalog import coprocessor, cpu, latency
from experiments.catalog.coprocessor import Coprocessor
from experiments.catalog.cpu import Cpu
from experiments.catalog.latency import Latency
from experiments.catalog.throughput import Throughput
from experiments.frame import generation_comparison
from experiments.frame.experiment import Sample
from experiments.frame.generation_comparison import Ends, Pair
from experiments.observe import cpu_window, run_cost
from experiments.observe.cpu_window import ProcessTime, Reading
from experiments.observe.run_cost import RunProcess
from experiments.tools import iperf, round_trip
from experiments.tools.iperf import IperfSample, IperfSpec
from experiments.tools.iperf_output import IperfResult
from experiments.tools.round_trip import RoundTripResult, RoundTripSpec
from experiments.tools.tool_processes import Node
from tests.unit.experiments.fake_testbed import FakeTestbed, ScriptedBench, errors, measured
from topologies.processes.process_table import Process

ENDS = Ends(Node("a", 1), Node("b", 2), "10.0.0.3")


def tcp(bps: float = 8e9, *, retransmits: int | None = 3, seconds: float = 2.0) -> IperfResult:
    return IperfResult("tcp", 1, False, bps, bps, seconds, retransmits, None, None, 25.0, 50.0, (), {"bps": bps})


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The generations whose ends were asked for; both are closed again when `closed` stands there."""
    asked: list[str] = []

    @contextlib.contextmanager
    def ends_of(bench: Any, name: str) -> Iterator[Ends]:
        asked.append(name)
        yield ENDS
        asked.append("closed")

    monkeypatch.setattr(generation_comparison, "ends_of", ends_of)
    return asked


class Together:
    """Several iperf3 beside each other, which find what they should."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *found: IperfResult | str | None) -> None:
        self.asked: list[Any] = []
        self._found = found
        monkeypatch.setattr(iperf, "together", self._together)

    def _together(self, *given: Any) -> list[IperfSample]:
        self.asked.append(given)
        return [
            IperfSample(IperfSpec(), "a", "b", one if isinstance(one, IperfResult) else None,
                        one if isinstance(one, str) else None)
            for one in self._found
        ]  # fmt: skip


def test_throughput_is_that_of_all_iperf3_together(monkeypatch: pytest.MonkeyPatch, ends: list[str]) -> None:
    asked = Together(monkeypatch, tcp(1e9), tcp(3e9, retransmits=4))
    point = {"generation": "ovs", "streams": 200}
    bench = ScriptedBench()
    assert measured(Throughput, point, bench, seconds=5, omit=2) == {
        "throughput": [(4.0, "Gbit/s", point)], "retransmits": [(7, "segments", point)],
    }  # fmt: skip
    assert asked.asked == [(ENDS.source, ENDS.target, ENDS.address, IperfSpec(seconds=5, omit=2), 200)]
    assert [one["iperf3"] for one in bench.kept["iperf3"]] == [{"bps": 1e9}, {"bps": 3e9}]
    assert ends == ["ovs", "closed"]


@pytest.mark.usefixtures("ends")
def test_segments_sent_again_are_counted_only_if_all_senders_count_them(monkeypatch: pytest.MonkeyPatch) -> None:
    Together(monkeypatch, tcp(), tcp(retransmits=None))
    assert "retransmits" not in measured(Throughput, {"generation": "ovs", "streams": 1}, ScriptedBench())


@pytest.mark.usefixtures("ends")
@pytest.mark.parametrize(("found", "words"), [("no route", "no route"), (None, "no result")])
def test_one_iperf3_that_fails_is_a_failed_throughput(
    monkeypatch: pytest.MonkeyPatch, found: str | None, words: str
) -> None:
    Together(monkeypatch, tcp(), found)
    point = {"generation": "ovs", "streams": 1}
    assert errors(Throughput, point, ScriptedBench()) == [Sample("throughput", None, "Gbit/s", point, words)]
    assert measured(Throughput, point, ScriptedBench()).keys() == {"throughput"}


@pytest.mark.parametrize("cpus", ["awake", "halting"])
def test_latency_is_the_tool_s_figures(monkeypatch: pytest.MonkeyPatch, ends: list[str], cpus: str) -> None:
    found = RoundTripResult(9, 1.0, 9.0, 11.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    asked: list[Any] = []
    monkeypatch.setattr(round_trip, "measure", lambda *given: (asked.append((*given, *ends)), found)[1])

    @contextlib.contextmanager
    def awake(seconds: float) -> Iterator[None]:
        ends.append(f"awake for {seconds:g}")
        yield
        ends.append("asleep")

    monkeypatch.setattr(latency, "keep_cpus_awake", awake)
    bench, point = ScriptedBench(), {"generation": "pre", "cpus": cpus}
    assert measured(Latency, point, bench, seconds=0.5) == {
        name: [(value, "us", point)]
        for name, value in (("mean", 11.0), ("p50", 2.0), ("p90", 3.0), ("p99", 4.0), ("p99.9", 5.0))
    }
    spinning = ["awake for 120"] if cpus == "awake" else []
    assert asked == [(ENDS.source, ENDS.target, ENDS.address, RoundTripSpec(seconds=0.5), "pre", *spinning)]
    assert bench.kept["round-trips"]["mean_us"] == 11.0


class Window:
    """The machine's CPU before and after a measurement of 2 s at 8 Gbit/s, which is 2 GB."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, busy: float = 9.0, bps: float = 8e9) -> None:
        self.asked: list[Any] = []
        me = {one: ProcessTime(0.0, 1, False) for one in (77, 5)}
        me[78] = ProcessTime(0.0, 77, False)
        strangers = [{99: ProcessTime(seconds, 1, False)} for seconds in (1.0, 3.0)]
        ours = [{5: ProcessTime(seconds, 1, False)} for seconds in (1.0, 2.5)]
        readings = [
            Reading(total, 0.0, 0.0, me | stranger | our)
            for total, stranger, our in zip((100.0, 100.0 + busy), strangers, ours, strict=True)
        ]
        monkeypatch.setattr(generation_comparison, "pair", self._pair)
        monkeypatch.setattr(cpu.os, "getpid", lambda: 77)
        monkeypatch.setattr(cpu_window, "read", lambda: readings.pop(0))
        monkeypatch.setattr(
            run_cost, "run_processes", lambda run: [RunProcess(Process(5, 0), f"host process of {run}")]
        )
        monkeypatch.setattr(iperf, "measure", lambda *given: (self.asked.append(given), tcp(bps))[1])
        monkeypatch.setattr(cpu, "clock_hz", lambda: 2e9)

    def _pair(self, bench: Any, generation: str) -> Pair:
        self.asked.append(generation)
        testbed: Any = FakeTestbed("two-hosts", {})
        return Pair(ENDS.source, ENDS.target, ENDS.address, testbed)


def test_cpu_per_byte_is_what_the_machine_did_less_what_strangers_did(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(monkeypatch)
    bench = ScriptedBench()
    found = measured(Cpu, {"generation": "ovs"}, bench, seconds=2, streams=3)
    assert window.asked == ["ovs", (ENDS.source, ENDS.target, ENDS.address, IperfSpec(seconds=2, streams=3))]
    # 9 s of which strangers had 2; iperf3 had 25 and 50 % of a CPU for 2 s.
    seconds = {"host": 7.0 - 1.5, "guest": 1.5, "total": 7.0}
    for number, side in enumerate(("host", "guest", "total")):
        labels = {"generation": "ovs", "side": side}
        assert found["CPU time"][number] == (pytest.approx(seconds[side] / 2), "s/GB", labels)
        assert found["cycles"][number] == (pytest.approx(seconds[side]), "cycles/byte", labels)
    assert bench.kept["iperf3"] == {"bps": 8e9}
    assert bench.kept["cpu"]["by_kind"] == {"host process of made-up": 1.5}


def test_what_guests_used_is_never_more_than_all(monkeypatch: pytest.MonkeyPatch) -> None:
    Window(monkeypatch, busy=3.0)
    found = measured(Cpu, {"generation": "ovs"}, ScriptedBench())
    assert [value for value, _, _ in found["CPU time"]] == pytest.approx([0.0, 0.75, 0.5])


def test_without_a_clock_there_are_no_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    Window(monkeypatch)
    monkeypatch.setattr(cpu, "clock_hz", lambda: None)
    assert "cycles" not in measured(Cpu, {"generation": "ovs"}, ScriptedBench())


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("cpu MHz\t\t: 2000.500\nmodel name: x\ncpu MHz : 3000\n", 2_500_250_000.0),
        ("processor : 0\n", None),
    ],
)
def test_the_clock_of_the_cpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, clock: float | None) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(cpu, "Path", lambda path: tmp_path / Path(path).name)
    assert cpu.clock_hz() == clock


class Worker:
    """Coprocessor threads by VM: their CPU seconds, two more at each look; that of shaping begins after the first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 10.0
        self.asked: list[Any] = []
        monkeypatch.setattr(iperf, "measure", lambda *given: (self.asked.append(given), tcp(3e9))[1])

    def prepare(self, testbed: FakeTestbed) -> None:
        """The VM that sends through ACLs is on a host of its own."""
        testbed.status = self._status
        (network,) = testbed.topology.networks
        vms = tuple(replace(vm, host="h9") if vm.name == "acl" else vm for vm in network.vms)
        testbed.topology = replace(testbed.topology, networks=(replace(network, vms=vms),))

    def _status(self, host: str) -> dict[str, Any]:
        self.seconds += 2.0
        said = {"cpu_seconds": self.seconds, "packets": 9}
        late = said if self.seconds > 12.0 else None
        return {"vms": {"acl": {"coprocessor": said}, "none": {"coprocessor": None}, "shaping": {"coprocessor": late}}}


def test_a_stage_s_stream_and_the_time_of_its_sender_s_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(monkeypatch)
    bench = ScriptedBench(worker.prepare)
    point = {"stage": "acl"}
    assert measured(Coprocessor, point, bench, seconds=3, omit=1) == {
        "throughput": [(3.0, "Gbit/s", point)], "sender's coprocessor": [(50.0, "% of a CPU", point)],
    }  # fmt: skip
    (testbed,) = bench.testbeds
    address = next(str(vm.ip) for vm in testbed.topology.vms if vm.name == "acl-there")
    assert worker.asked == [(testbed.node("acl"), testbed.node("acl-there"), address, IperfSpec(seconds=3, omit=1))]
    assert bench.kept == {"iperf3": {"bps": 3e9}, "coprocessor": {"cpu_seconds": 14.0, "packets": 9}}
    assert testbed.opened == testbed.closed == ["h9", "h9"]
    assert coprocessor.TOPOLOGY.is_file()


def test_a_thread_that_began_meanwhile_counts_from_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = ScriptedBench(Worker(monkeypatch).prepare)
    found = measured(Coprocessor, {"stage": "shaping"}, bench, seconds=3, omit=1)
    assert found["sender's coprocessor"][0][0] == 100 * 14.0 / 4


def test_a_vm_without_a_coprocessor_has_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = ScriptedBench(Worker(monkeypatch).prepare)
    assert measured(Coprocessor, {"stage": "none"}, bench).keys() == {"throughput"}
    assert bench.kept["coprocessor"] == {}
