"""`experiment run --scheduler` for real: a Dask scheduler and a worker of ours on loopback, the testbed with it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.privileges import needs_other_users
from topologies.processes.deadlines import wait_for
from topologies.processes.run_directory import run_names

pytest.importorskip("distributed")
ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-P", "-m", "console.cli", "experiment"]
ADDRESS = "127.0.0.2"


def _started(stack: ExitStack, log: Path, *command: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        command, stdout=stack.enter_context(log.open("wb")), stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True
    )

    def ended() -> None:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(ended)
    return process


def _printed(keys: Path) -> list[str]:
    """The words that `experiment certificates` prints for the scheduler, with an address that nothing else uses."""
    done = subprocess.run([*COMMAND, "certificates", str(keys)], capture_output=True, text=True, check=True, cwd=ROOT)
    _, _, words = done.stdout.splitlines()[-1].partition(": ")
    return [ADDRESS if word == "ADDRESS" else word for word in shlex.split(words)]


@pytest.fixture
def scheduler(state: Path, tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The scheduler's address, and its process. It is started as printed, but on a port of its own."""
    with ExitStack() as stack:
        there = tmp_path / "scheduler.json"
        words = [*_printed(tmp_path / "keys"), "--port", "0", "--scheduler-file", str(there)]
        process = _started(stack, tmp_path / "scheduler.log", *words)
        wait_for(
            lambda: there.is_file() and there.read_text().strip().endswith("}"), 60,
            lambda: (tmp_path / "scheduler.log").read_text(),
        )  # fmt: skip
        yield json.loads(there.read_text())["address"], process


@pytest.fixture
def cluster(
    scheduler: tuple[str, subprocess.Popen[bytes]], tmp_path: Path
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The scheduler's address, and the worker's process."""
    address, _ = scheduler
    with ExitStack() as stack:
        log = tmp_path / "worker.log"
        worker = _started(stack, log, *COMMAND, "worker", address, "--tls", str(tmp_path / "keys"))
        wait_for(lambda: b"measures for" in log.read_bytes(), 60, lambda: log.read_text())
        yield address, worker


@pytest.mark.timeout(240)
def test_points_are_measured_on_the_worker_and_come_here(
    cluster: tuple[str, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    address, worker = cluster
    out = tmp_path / "out"
    line = ["run", "latency", "--quick", "--set", "generations=ovs", "--repeat", "2", "--out", str(out), "--json"]
    done = subprocess.run(
        [*COMMAND, *line, "--scheduler", address, "--tls", str(tmp_path / "keys")],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)[0]["failed"] == 0
    points = [json.loads(text) for text in (out / "points.jsonl").read_text().splitlines()]
    assert {one["machine"] for one in points} == {os.uname().nodename}
    assert {one["repetition"] for one in points} == {0, 1}
    assert all(one["samples"] for one in points)
    assert "ovs" in next((out / "topologies").iterdir()).read_text()
    assert len(list((out / "raw").iterdir())) == len(points)
    assert worker.poll() is None
    assert run_names() == []  # the worker took its testbed down when the run was over


@pytest.mark.long
@pytest.mark.timeout(60)
def test_a_scheduler_that_is_not_there(state: Path, tmp_path: Path) -> None:
    line = [*COMMAND, "run", "latency", "--quick", "--out", str(tmp_path / "out"), "--scheduler"]
    line += ["tcp://127.0.0.1:1", "--insecure"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=50, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "no Dask scheduler" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def listening(pid: int) -> list[str]:
    """The addresses that a process and its threads listen on, as ss prints them."""
    shown = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    return [line.split()[3] for line in shown.splitlines() if f"pid={pid}," in line]


@pytest.mark.timeout(90)
def test_a_scheduler_as_printed_listens_on_one_address_and_loopback(
    scheduler: tuple[str, subprocess.Popen[bytes]],
) -> None:
    address, process = scheduler
    assert address.startswith(f"tls://{ADDRESS}:")
    hosts = sorted(place.rpartition(":")[0] for place in listening(process.pid))
    assert hosts == ["127.0.0.1", ADDRESS], "HTTP, and peers"


@needs_other_users
@pytest.mark.timeout(120)
def test_without_a_certificate_nobody_runs_code(cluster: tuple[str, subprocess.Popen[bytes]], tmp_path: Path) -> None:
    address, worker = cluster
    assert address.startswith("tls://")
    ports = listening(worker.pid)
    assert [port.rpartition(":")[0] for port in ports] == ["127.0.0.1"], "one address, and no dashboard"
    text = Path(__file__).with_name("dask_intruder.py").read_text()

    def intrude(*words: object, uid: int) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", text, address, f"tls://{ports[0]}", *map(str, words)],
            capture_output=True, text=True, timeout=100, check=False, user=uid, group=uid, cwd="/",
            env={"HOME": "/nonexistent", "PATH": os.environ["PATH"]},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert intrude(tmp_path / "keys", uid=0) == ["worker with a certificate gives 0"]
    lines = intrude(uid=65534)
    assert len(lines) == 4
    assert all(" refused: " in line for line in lines), lines


@pytest.mark.parametrize("words", [["worker"], ["run", "latency", "--quick", "--scheduler"]])
def test_an_address_without_tls_is_rejected(state: Path, tmp_path: Path, words: list[str]) -> None:
    done = subprocess.run(
        [*COMMAND, *words, "tcp://127.0.0.1:1"], capture_output=True, text=True, timeout=50, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "--insecure" in done.stderr
