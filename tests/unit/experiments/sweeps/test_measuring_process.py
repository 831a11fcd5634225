"""The child that measures for a worker of an ordinary user: a real process, but without namespaces."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from experiments.frame.experiment import Sample
from experiments.sweeps import measuring_process, worker
from experiments.sweeps.worker import Job
from hoverboard.contract.errors import InputError, MachineError
from topologies.rootless import namespaces

FILE = """
import os, signal
from pathlib import Path
from experiments.frame.experiment import Experiment, Sample
from experiments.frame.parameters import Parameter

class Own(Exception): ...

class Pids(Experiment):
    name = title = source = measures = "pids"
    minutes = 0.1
    repeat = 1
    parameters = (Parameter("do", (), "", "what"),)

    def points(self, values):
        return [{"do": do} for do in values["do"]]

    def measure(self, point, values, bench):
        yield Sample("pid", float(os.getpid()), "", dict(point))
        match point["do"]:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "leave":
                os._exit(7)
            case "fail":
                raise Own("a class that is not known outside")
            case "wait":
                os.mkfifo(values["fifo"])
                Path(values["fifo"]).read_text()

    def charts(self, table, values):
        return []
"""


@pytest.fixture(autouse=True)
def ordinary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An ordinary user, as far as this process asks; the child is root or not, as we are."""

    def command(words: Sequence[str], state: Path, *, stay: bool) -> list[str]:
        assert (state, stay) == (tmp_path, False)
        return list(words)

    monkeypatch.setattr(measuring_process.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(namespaces, "check_machine", lambda: None)
    monkeypatch.setattr(namespaces, "new", command)
    monkeypatch.setattr(measuring_process, "ready_state", lambda: tmp_path)
    monkeypatch.setattr(measuring_process, "_child", None)
    yield
    measuring_process.finish()


def job(do: str, **values: object) -> Job:
    point = {"do": do}
    return Job("r", "/not/here/pids.py", FILE, do, point, {}, {"do": (do,), **values}, 0, True, 1, False)


def pid(found: Sequence[Sample]) -> int:
    assert found[0].value is not None
    return int(found[0].value)


@pytest.mark.skipif(os.geteuid() != 0, reason="the child would go into namespaces of its own")
def test_points_are_measured_in_one_child_until_one_ends_it() -> None:
    first, topologies = measuring_process.measure(job("look"))
    again, _ = measuring_process.measure(job("look"))
    child = pid(first.samples)
    assert child == pid(again.samples) != os.getpid()
    assert (topologies, first.error) == ({}, "")
    failed, _ = measuring_process.measure(job("fail"))
    assert "Own: a class that is not known outside" in failed.error
    assert pid(failed.samples) == child
    for do, how in (("die", "was ended by signal 9"), ("leave", "ended with exit code 7")):
        dead, topologies = measuring_process.measure(job(do))
        assert dead.error == f"MeasurementError: the process that measured this point {how}"
        assert (dead.key, dead.point, dead.samples, topologies) == (do, {"do": do}, [], {})
        fresh, _ = measuring_process.measure(job("look"))
        assert pid(fresh.samples) != child
        child = pid(fresh.samples)
    measuring_process.finish()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    measuring_process.finish()


@pytest.mark.skipif(os.geteuid() != 0, reason="the child would go into namespaces of its own")
def test_an_experiment_that_is_not_there_is_said_and_the_child_stays() -> None:
    before, _ = measuring_process.measure(job("look"))
    broken = Job("r", "/not/here/coins.py", "class Nothing: ...", "k", {}, {}, {}, 0, True, 1, False)
    with pytest.raises(InputError, match="has no experiment") as caught:
        measuring_process.measure(broken)
    assert caught.value.where
    after, _ = measuring_process.measure(job("look"))
    assert pid(before.samples) == pid(after.samples)


@pytest.mark.skipif(os.geteuid() != 0, reason="the child would go into namespaces of its own")
def test_a_worker_that_ends_does_not_wait_for_its_point(tmp_path: Path) -> None:
    errors: list[str] = []
    fifo = tmp_path / "fifo"

    def measure() -> None:
        errors.append(measuring_process.measure(job("wait", fifo=str(fifo)))[0].error)

    thread = threading.Thread(target=measure)
    thread.start()
    while not fifo.exists():  # the point has begun
        assert thread.is_alive()
        os.sched_yield()
    measuring_process.finish()
    thread.join()
    assert len(errors) == 1
    assert "ended with exit code 0" in errors[0]


def test_a_child_that_cannot_begin_is_an_error_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "new", lambda words, state, *, stay: ["false"])
    with pytest.raises(MachineError, match="ended with exit code 1"):
        measuring_process.check()
    monkeypatch.setattr(namespaces, "new", lambda words, state, *, stay: ["sh", "-c", "kill -9 $$"])
    with pytest.raises(MachineError, match=f"signal {signal.SIGKILL}"):
        measuring_process.measure(job("look"))


def test_root_measures_in_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(measuring_process.os, "geteuid", lambda: 0)
    monkeypatch.setattr(worker, "measure", lambda one: asked.append(one))
    monkeypatch.setattr(worker, "finish", lambda: asked.append("finish"))
    monkeypatch.setattr(namespaces, "new", lambda *_, **__: pytest.fail("a child was made"))
    one = job("look")
    measuring_process.check()
    measuring_process.measure(one)
    measuring_process.finish()
    assert asked == [one, "finish"]
