"""Starts that fail: what is said, which logs stay and for how long, and who wins when two want one name."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hoverboard.contract.errors import RunError
from tests.waiting import until
from topologies.client import run_client
from topologies.processes import failed_logs, marks
from topologies.run import host_processes, up
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """program(name, body): a shell program of that name comes first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def write(name: str, body: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)

    return write


def hoverboard(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "console.cli", *words], capture_output=True, text=True, stdin=subprocess.DEVNULL,
        timeout=250, check=False, **more,  # type: ignore[call-overload]
    )  # fmt: skip


def no_process_of(state: Path) -> bool:
    return not any(mark.directory.is_relative_to(state) for mark in marks.Machine().look())


@pytest.mark.parametrize("detach", [["--detach"], []])
@pytest.mark.parametrize(("name", "log"), [("ovs-vswitchd", "ovs-vswitchd.log"), ("ovsdb-server", "ovsdb-server.log")])
def test_a_daemon_that_ends_is_told_with_its_own_words_and_the_log_can_be_read(
    name: str, log: str, detach: list[str], program: Callable[[str, str], None], state: Path, tiny: Path, run_name: str
) -> None:  # fmt: skip
    program(name, 'echo "cannot start: made up" >&2; exit 3')
    done = hoverboard("up", str(tiny), "--run", run_name, *detach)
    assert done.returncode == RunError.exit_code, done.stderr
    assert f"{name} of h" in done.stderr
    assert "cannot start: made up" in done.stderr
    (named,) = [word.rstrip(":") for word in done.stderr.split() if word.rstrip(":").endswith(log)]
    assert "cannot start: made up" in Path(named).read_text()
    assert [one.name for one in state.iterdir()] == [".failed"]
    assert no_process_of(state)
    assert f"{run_name}" in next(
        line["detail"] for line in json.loads(hoverboard("doctor", "--json").stdout)["lines"]
        if line["name"] == "failed starts"
    )  # fmt: skip
    assert hoverboard("down", "--run", run_name).returncode == 0
    assert list(state.iterdir()) == []


def test_kept_logs_go_with_the_next_start_of_that_name_or_with_all(
    program: Callable[[str, str], None], state: Path, tiny: Path, run_name: str, tmp_path: Path
) -> None:
    program("ovs-vswitchd", "exit 3")
    for name in (run_name, f"{run_name}-2"):
        with pytest.raises(RunError):
            run_client.start_detached(tiny, run=name)
    assert failed_logs.names(state) == [run_name, f"{run_name}-2"]
    (tmp_path / "bin" / "ovs-vswitchd").unlink()
    run_client.start_detached(tiny, run=run_name)
    assert failed_logs.names(state) == [f"{run_name}-2"]
    assert run_client.live_runs() == [run_name]
    assert hoverboard("down", "--all").returncode == 0
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("name", ["ovs-vswitchd", "ovsdb-server"])
def test_a_daemon_that_hangs_is_told_after_its_time_out(
    name: str, program: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, state: Path, tiny: Path,
    run_name: str,
) -> None:  # fmt: skip
    program(name, 'echo "I wait for ever"; exec sleep 300')
    monkeypatch.setattr(up, "_SWITCH_TIMEOUT", 2.0)
    with pytest.raises(RunError, match=f"after 2 s: {name} of h.* does not serve") as failed:
        Testbed(tiny, run=run_name).up()
    assert "I wait for ever" in str(failed.value)
    assert Path(failed.value.where).is_file()
    assert no_process_of(state)


def test_a_python_process_that_cannot_start_is_told_with_the_end_of_its_output(
    monkeypatch: pytest.MonkeyPatch, state: Path, tiny: Path, run_name: str
) -> None:
    python = host_processes.python
    monkeypatch.setattr(host_processes, "python", lambda module, *words: python(f"{module}y", *words))
    with pytest.raises(RunError, match="the nursery of the host processes ended") as failed:
        Testbed(tiny, run=run_name).up()
    assert "No module named hoverboard.host.nurseryy" in str(failed.value)
    assert "No module named hoverboard.host.nurseryy" in Path(failed.value.where).read_text()


@pytest.mark.parametrize("detach", [["--detach"], []])
def test_of_two_starts_of_one_name_one_wins_and_the_other_says_so(
    detach: list[str], state: Path, tiny: Path, run_name: str
) -> None:
    command = [sys.executable, "-P", "-m", "console.cli", "up", str(tiny), "--run", run_name, *detach]
    with contextlib.ExitStack() as stack:
        both = [
            stack.enter_context(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
            )
            for _ in range(2)
        ]
        until(lambda: any(one.poll() is not None for one in both), 120.0, "none of the two ends")
        loser = next(one for one in both if one.poll() not in (None, 0)) if not detach else None
        if detach:
            for one in both:
                one.wait(120)
            (loser,) = [one for one in both if one.returncode != 0]
        assert loser is not None
        assert loser.returncode == RunError.exit_code
        _, errors = loser.communicate()
        assert f"run '{run_name}' is already up, or is being started or taken down" in errors
        until(lambda: run_client.live_runs() == [run_name], 60.0, "the winner is not up")
        until(lambda: _state_of(run_name) == "up", 60.0, "the winner does not come up")
        run_client.down(run_name)
        for one in both:
            one.communicate()
    assert list(state.iterdir()) == []


def _state_of(run: str) -> str:
    with run_client.RunClient(run) as client:
        return str(client.call("ping")["state"])


def test_the_lock_of_a_start_that_was_killed_is_no_hindrance(state: Path, tiny: Path, run_name: str) -> None:
    (state / run_name).mkdir()
    (state / run_name / "lock").touch()
    run_client.start_detached(tiny, run=run_name)
    assert run_client.live_runs() == [run_name]


def test_a_topology_from_a_pipe_comes_up_in_the_background(state: Path, tiny: Path, run_name: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -P -m console.cli up <(cat '{tiny}') --run {run_name} --detach"],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert _state_of(run_name) == "up"
    plan = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -P -m console.cli apply <(cat '{tiny}') --run {run_name} --dry-run"],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert "nothing to do" in plan.stdout, plan.stderr
