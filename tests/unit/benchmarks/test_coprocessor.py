"""The coprocessor benchmark on a testbed that is made up: turns, medians, ratios to no stage, CPU of the thread."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import coprocessor
from experiments.tools import iperf
from experiments.tools.iperf import IperfSpec
from tests.unit.experiments.fake_testbed import FakeTestbed


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str, IperfSpec]]:
    """The streams that were asked for; each round is half as fast as the one before, encryption a quarter of none."""
    asked: list[tuple[str, str, str, IperfSpec]] = []

    @contextlib.contextmanager
    def testbed(topology: Any, run: str) -> Iterator[Any]:
        said = {"cpu_seconds": 8.0, "packets": 5, "drops": {"stage": 2}}
        rows = {"none": None, "none-there": None, "acl": said}
        vms = {name: {"coprocessor": row} for name, row in rows.items()}
        for name in ("acl-there", "shaping", "shaping-there", "encryption", "encryption-there"):
            vms[name] = {"coprocessor": {"cpu_seconds": 4.0, "drops": {"there": 1}}}
        yield FakeTestbed(topology, {"run": run}, lambda host: {"vms": vms})

    def measure(here: Any, there: Any, address: str, spec: IperfSpec) -> Any:
        asked.append((here.name, there.name, address, spec))
        round_number = (len(asked) - 1) // 4
        share = {"none": 1.0, "acl": 0.5, "shaping": 0.5, "encryption": 0.25}[here.name]
        return SimpleNamespace(bps=8e9 * share / 2**round_number)

    monkeypatch.setattr(coprocessor, "Testbed", testbed)
    monkeypatch.setattr(iperf, "measure", measure)
    return asked


def test_stages_take_turns_and_are_held_against_none_round_by_round(
    streams: list[tuple[str, str, str, IperfSpec]],
) -> None:
    said: list[tuple[str, float]] = []
    found = coprocessor.measure(3, 2, lambda what, share: said.append((what, share)))
    assert [here for here, _, _, _ in streams] == [
        "none", "acl", "shaping", "encryption", "acl", "shaping", "encryption", "none",
    ]  # fmt: skip
    assert {there for _, there, _, _ in streams} == {f"{stage}-there" for stage in coprocessor.STAGES}
    assert {spec for *_, spec in streams} == {IperfSpec(seconds=3, omit=1)}
    assert len({address for _, _, address, _ in streams}) == 4
    assert found["none"] == {
        "bps": 6e9, "samples": [8e9, 4e9], "ratio": 1.0, "coprocessor_cpu_share": 0.0, "packets": 0, "drops": {},
        "drops_there": {},
    }  # fmt: skip
    assert found["acl"] == {
        "bps": 3e9, "samples": [4e9, 2e9], "ratio": 0.5, "coprocessor_cpu_share": 1.0, "packets": 5,
        "drops": {"stage": 2}, "drops_there": {"there": 1},
    }  # fmt: skip
    assert found["encryption"]["ratio"] == 0.25
    assert said[:2] == [("none, round 1 of 2", 0.0), ("acl, round 1 of 2", 0.125)]
    assert said[-1] == ("none, round 2 of 2", 0.875)
