"""How runs begin and end: in the background, killed, interrupted half way, raced; nothing is left afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hoverboard.contract.errors import InputError, RunError
from tests.holders import holder_process
from tests.system.runs.run_pings import ping
from topologies.client import run_client
from topologies.client.run_client import RunClient
from topologies.processes import supervisor
from topologies.processes.ledger import Ledger, live_processes
from topologies.processes.phases import PHASES, PhaseEvent
from topologies.processes.process_table import LinuxProcesses
from topologies.processes.run_directory import is_held
from topologies.run.testbed import Testbed

if TYPE_CHECKING:
    from tests.system.conftest import Traces

    Eventually = Callable[[Callable[[], bool], float, str], None]

pytestmark = pytest.mark.timeout(120)


def start(file: Path, run: str) -> dict[str, object]:
    return run_client.start_detached(file, run=run)


def test_detached_up_status_down(state: Path, tiny: Path, run_name: str, traces: Callable[[str], Traces]) -> None:
    events: list[PhaseEvent] = []
    ready = run_client.start_detached(tiny, run=run_name, progress=events.append)
    assert ready["run"] == run_name
    assert {event.phase for event in events} == set(PHASES)
    seen = traces(run_name)
    seen.look()
    assert run_client.live_runs() == [run_name]
    with RunClient(run_name) as run:
        assert run.status()["state"] == "up"
        pid = run.pid_of("blue-1")
    answer = subprocess.run(
        ["mnexec", "-a", str(pid), "ping", "-c1", "-W2", "10.0.0.1"], capture_output=True, timeout=10, check=False
    )
    assert answer.returncode == 0
    run_client.down(run_name)
    assert seen.left() == []
    with pytest.raises(RunError, match="there is no run"):
        RunClient(run_name)


def test_kill_9_of_the_holder_then_down(
    state: Path, tiny: Path, run_name: str, traces: Callable[[str], Traces], eventually: Eventually
) -> None:
    start(tiny, run_name)
    seen = traces(run_name)
    seen.look()
    holder = holder_process(run_name, state)
    assert holder is not None
    os.kill(holder.pid, signal.SIGKILL)
    eventually(lambda: not is_held(seen.directory), 5.0, "the dead holder still holds the run")
    assert [dead.run for dead in run_client.dead_runs()] == [run_name]
    with pytest.raises(RunError, match="has died"):
        RunClient(run_name)
    with pytest.raises(RunError, match="holder of run .* died"):
        start(tiny, run_name)
    run_client.down(run_name)
    assert seen.left() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_signal_ends_the_holder_cleanly(
    number: signal.Signals, state: Path, tiny: Path, run_name: str, traces: Callable[[str], Traces],
    eventually: Eventually,
) -> None:  # fmt: skip
    start(tiny, run_name)
    seen = traces(run_name)
    seen.look()
    holder = holder_process(run_name, state)
    assert holder is not None
    os.kill(holder.pid, number)
    eventually(lambda: not seen.directory.path.exists(), 20.0, "the run is still there")
    assert seen.left() == []


# Where little exists yet, and where processes of all kinds do; the others are long.
AT_PHASES = [
    "nodes",
    "hosts",
    *(pytest.param(name, marks=pytest.mark.long) for name in ("links", "switches", "program")),
]


@pytest.fixture
def foreground(tiny: Path, run_name: str) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts a program that brings `tiny` up and says each phase; foreground(code run in each event)."""
    made: list[subprocess.Popen[str]] = []

    def begin(code: str) -> subprocess.Popen[str]:
        program = (
            "import os, signal, sys\nfrom topologies.run.testbed import Testbed\n"
            "def progress(event):\n"
            "    print(event.phase, event.done, flush=True)\n"
            f"    {code}\n"
            f"bed = Testbed({str(tiny)!r}, run={run_name!r})\n"
            "bed.up(progress)\nprint('up', flush=True)\nbed.wait_down()\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        made.append(process)
        return process

    yield begin
    for process in made:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("phase", AT_PHASES)
def test_ctrl_c_half_way_undoes_everything(
    phase: str, state: Path, foreground: Callable[[str], subprocess.Popen[str]], traces: Callable[[str], Traces],
    run_name: str,
) -> None:  # fmt: skip
    seen = traces(run_name)
    process = foreground(f"event.phase == {phase!r} and event.done == 1 and os.kill(os.getpid(), signal.SIGINT)")
    output, errors = process.communicate(timeout=60)
    assert process.returncode in (1, -signal.SIGINT), errors
    assert "KeyboardInterrupt" in errors
    assert f"{phase} 1" in output
    assert seen.left() == []


@pytest.mark.parametrize("phase", AT_PHASES)
def test_a_crash_half_way_is_cleaned_by_down(
    phase: str, state: Path, foreground: Callable[[str], subprocess.Popen[str]], traces: Callable[[str], Traces],
    run_name: str,
) -> None:  # fmt: skip
    seen = traces(run_name)
    process = foreground(f"event.phase == {phase!r} and event.done == 1 and os.kill(os.getpid(), signal.SIGKILL)")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    seen.look()
    run_client.down(run_name)
    assert seen.left() == []


def test_a_part_that_does_not_come_up_is_named_and_everything_undone(
    state: Path, tiny: Path, run_name: str, traces: Callable[[str], Traces], monkeypatch: pytest.MonkeyPatch
) -> None:
    from topologies.emulation import ovs_daemons

    monkeypatch.setattr(ovs_daemons, "SWITCH_PROGRAM", "false")
    seen = traces(run_name)
    with pytest.raises(RunError, match="ovs-vswitchd of .* ended while it was starting"):
        Testbed(tiny, run=run_name).up()
    assert seen.left() == []


def test_racing_ups_one_wins_and_the_other_is_refused(
    state: Path, tiny: Path, run_name: str, traces: Callable[[str], Traces]
) -> None:
    beds = [Testbed(tiny, run=run_name) for _ in range(3)]
    refused: list[RunError] = []
    barrier = threading.Barrier(len(beds))

    def up(bed: Testbed) -> None:
        barrier.wait()
        try:
            bed.up()
        except RunError as error:
            refused.append(error)

    threads = [threading.Thread(target=up, args=(bed,)) for bed in beds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert len(refused) == 2
    assert all("already up" in str(error) for error in refused)
    (winner,) = [bed for bed in beds if bed.state == "up"]
    assert ping(winner, "blue-1", "10.0.0.1")
    seen = traces(run_name)
    seen.look()
    winner.down()
    assert seen.left() == []


def test_a_down_while_it_starts(
    state: Path, foreground: Callable[[str], subprocess.Popen[str]], traces: Callable[[str], Traces], run_name: str
) -> None:
    seen = traces(run_name)
    process = foreground("pass")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("switches"):
            break
    run_client.down(run_name)
    _, errors = process.communicate(timeout=30)
    assert "was taken down while it was starting" in errors
    assert seen.left() == []


def test_a_faulty_file_starts_nothing(state: Path, tmp_path: Path, run_name: str) -> None:
    file = tmp_path / "faulty.yaml"
    file.write_text("hosts: 1\nhoverbords: 1\nnetworks: []\n")
    with pytest.raises(InputError, match=r"faulty.yaml:2: hoverbords: unknown key"):
        run_client.start_detached(file, run=run_name)
    assert list(state.iterdir()) == []


def test_what_needs_a_nursery_that_is_given_up_is_given_up_and_the_run_ends_at_once(
    testbed: Callable[..., Testbed], tiny: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "MAX_DEATHS", 1)
    bed = testbed(tiny)

    def row(what: str) -> dict[str, object]:
        rows = bed.supervision()["processes"]
        return next((dict(one) for one in rows if one["what"] == what and one["server"] in (None, "h1")), {})

    records = live_processes(Ledger(bed.directory), LinuxProcesses())
    nursery = next(one.process for one in records if one.kind == "nursery")
    os.kill(nursery.pid, signal.SIGKILL)
    eventually(lambda: row("nursery").get("state") == "given up", 10.0, "the nursery is not given up")
    monkeypatch.setattr(supervisor, "MAX_DEATHS", 8)  # the host process may be restarted
    host = bed.server("h1").host_pid
    assert host is not None
    os.kill(host, signal.SIGKILL)
    eventually(lambda: row("host process").get("state") == "given up", 10.0, "the host process waits for the nursery")
    assert str(row("host process")["last"]).endswith("; not restarted: nursery is given up")
    bed.down()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("restart ")]


def test_a_process_that_was_left_inside_a_vm_goes_with_the_run(
    state: Path, tiny: Path, run_name: str, traces: Callable[[str], Traces]
) -> None:
    bed = Testbed(tiny, run=run_name)
    bed.up()
    seen = traces(run_name)
    seen.look()
    left = bed.node("blue-1").popen(["sleep", "infinity"])
    bed.node("blue-1").cmd("sleep 1000 &")
    bed.down()
    assert left.wait(5.0) != 0
    left.communicate()
    assert seen.left() == []
