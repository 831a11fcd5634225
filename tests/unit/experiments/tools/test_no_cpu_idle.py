"""CPUs that do not halt: a spinner for each, of the lowest class, gone after the block."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from experiments.tools import no_cpu_idle
from hoverboard.contract.errors import MachineError


def test_a_spinner_for_each_cpu_of_the_lowest_class_and_gone_after_the_block() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    with no_cpu_idle.keep_cpus_awake(60.0) as pids:
        assert [os.sched_getaffinity(pid) for pid in pids] == [{cpu} for cpu in cpus]
        assert {os.sched_getscheduler(pid) for pid in pids} == {os.SCHED_IDLE}
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_spinner_ends_by_itself_when_its_time_is_up_or_its_starter_gone() -> None:
    for seconds, parent in (("0", str(os.getpid())), ("60", "1")):
        argv = [
            no_cpu_idle.sys.executable,
            "-I",
            "-c",
            no_cpu_idle._SPINNER,
            str(min(os.sched_getaffinity(0))),
            seconds,
            parent,
        ]
        done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (0, b"ready\n")


@pytest.mark.parametrize("spinner", ["", "import time; time.sleep(60)"])
def test_a_spinner_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch, spinner: str) -> None:
    monkeypatch.setattr(no_cpu_idle, "_SPINNER", spinner)
    monkeypatch.setattr(no_cpu_idle, "_READY_TIMEOUT", 0.05 if spinner else 30.0)
    with pytest.raises(MachineError, match="a spinner did not start"), no_cpu_idle.keep_cpus_awake(1.0):
        pass


def test_spinners_get_their_cpu_their_time_and_their_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    argvs: list[list[str]] = []
    real = subprocess.Popen

    def popen(argv: list[str], **settings: Any) -> Any:
        argvs.append(argv)
        return real([*argv[:3], "print('ready', flush=True); input()"], **settings | {"stdin": subprocess.PIPE})

    monkeypatch.setattr(no_cpu_idle.subprocess, "Popen", popen)
    monkeypatch.setattr(no_cpu_idle.os, "sched_getaffinity", lambda pid: {3, 1})
    with no_cpu_idle.keep_cpus_awake(2.5):
        pass
    assert [argv[4:] for argv in argvs] == [["1", "2.5", str(os.getpid())], ["3", "2.5", str(os.getpid())]]
    assert {argv[1] for argv in argvs} == {"-I"}
