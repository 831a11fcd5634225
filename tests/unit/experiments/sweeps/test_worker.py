"""What a machine does for another machine's run: one run at a time, and what it says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments.observe import provenance
from experiments.sweeps import runner, worker
from experiments.sweeps.worker import Job
from hoverboard import mapped_users
from hoverboard.contract.errors import InputError
from tests.unit.experiments.sweeps.dice import FILE
from tests.unit.experiments.sweeps.fake_bench import FakeBench


class Bench(FakeBench):
    """Says whether it was closed, and with what it was made."""

    made: list[Bench]

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings, self.closed = settings, False
        Bench.made.append(self)

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def benches(monkeypatch: pytest.MonkeyPatch) -> list[Bench]:
    monkeypatch.setattr(Bench, "made", [], raising=False)
    monkeypatch.setattr(worker, "TestbedBench", Bench)
    monkeypatch.setattr(worker, "plan", lambda cpus: "too few")
    monkeypatch.setattr(worker, "_current", None)
    return Bench.made


def job(run: str = "r", sides: int = 6, **changed: Any) -> Job:
    given = {
        "run": run, "where": "/not/here/dice.py", "source": FILE, "key": f"sides={sides}", "point": {"sides": sides},
        "changed": {"offset": 3}, "values": {"sides": (6,), "offset": 3, "broken": 0}, "repetition": 2, "quick": True,
        "seed": 7,
    }  # fmt: skip
    return Job(**(given | changed))  # type: ignore[arg-type]


def test_a_point_is_measured_on_the_run_s_bench(benches: list[Bench]) -> None:
    outcome, topologies = worker.measure(job())
    assert (outcome.key, outcome.repetition, outcome.point) == ("sides=6", 2, {"offset": 3, "sides": 6})
    assert 4 <= (outcome.samples[0].value or 0) <= 9
    assert topologies == {"none": "hosts: 0\n"}
    worker.measure(job(sides=20))
    (bench,) = benches
    assert bench.begun == ["sides=6", "sides=20"]
    settings = bench.settings
    settings.pop("say")("thrown away")
    assert settings == {"quick": True, "seed": 7, "pinning": "too few"}
    assert not bench.closed


def test_another_run_takes_the_place_of_the_one_before(benches: list[Bench]) -> None:
    worker.measure(job("one"))
    worker.measure(job("two", pin=False))
    assert [one.closed for one in benches] == [True, False]
    assert benches[1].settings["pinning"] is None
    worker.finish()
    worker.finish()
    assert benches[1].closed
    worker.measure(job("two"))
    assert len(benches) == 3


def test_an_experiment_is_loaded_once_a_run(benches: list[Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    find = worker.load_experiment
    monkeypatch.setattr(worker, "load_experiment", lambda where, source: (loaded.append(where), find(where, source))[1])
    for one in (job(), job(sides=20), job(where="/not/here/other.py")):
        worker.measure(one)
    assert loaded == ["/not/here/dice.py", "/not/here/other.py"]


def test_a_person_s_file_comes_as_its_text(tmp_path: Path) -> None:
    assert worker.load_experiment("/not/here/dice.py", FILE).name == "dice"
    two = f"{FILE}\nclass Loaded(Dice):\n    name = 'loaded'\n"
    assert worker.load_experiment("/not/here/dice.py:Loaded", two).name == "loaded"
    assert worker.load_experiment("latency", None).name == "latency"
    with pytest.raises(InputError, match="has no experiment"):
        worker.load_experiment("/not/here/coins.py", "class Nothing: ...")


@pytest.mark.parametrize("privileges", ["root", "rootless"])
def test_a_machine_says_what_it_is(monkeypatch: pytest.MonkeyPatch, privileges: str) -> None:
    monkeypatch.setattr(mapped_users, "privileges", lambda: privileges)
    monkeypatch.setattr(worker.platform, "node", lambda: "m1")
    monkeypatch.setattr(provenance, "commit", lambda: {"commit": "c"})
    monkeypatch.setattr(provenance, "machine", lambda: {"cores": 2})
    monkeypatch.setattr(provenance, "versions", lambda: {"python": "3"})
    monkeypatch.setattr(runner, "missing", lambda: ["a module"])
    about = worker.describe()
    assert about.pop("boot") == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert about == {
        "name": "m1", "privileges": privileges, "code": {"commit": "c"}, "machine": {"cores": 2},
        "versions": {"python": "3"}, "missing": ["a module"], "pinning": "too few",
    }  # fmt: skip
