"""Processes of a run as the launcher starts them: recorded, in a session of their own, with their output in a log."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from hoverboard.contract.errors import RunError
from tests.unit.topologies.real_processes import open_files
from topologies.processes.launcher import Launcher, end_of, python
from topologies.processes.ledger import Ledger, kill_all
from topologies.processes.process_table import LinuxProcesses
from topologies.processes.run_directory import RunDirectory

_DEADLINE = 5.0  # seconds
# Stands for Mininet's: says how it was called, then becomes the command.
_MNEXEC = """#!/bin/sh
echo "mnexec $1 $2"
shift
[ "$1" = sleep ] || shift
exec "$@"
"""
_NSENTER = """#!/bin/sh
echo "nsenter $*"
shift 3
exec "$@"
"""


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launcher]:
    directory = RunDirectory.of("r", tmp_path)
    directory.path.mkdir()
    directory.lock.touch()
    ledger = Ledger(directory)
    ledger.create(LinuxProcesses())
    for name, text in (("mnexec", _MNEXEC), ("nsenter", _NSENTER)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    # A namespace for a host name needs root; the system ring makes real ones.
    monkeypatch.setattr("topologies.processes.launcher.host_name", lambda name: nullcontext())
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    made = Launcher(ledger)
    yield made
    kill_all(directory)
    made.reap(_DEADLINE)


def output(child: subprocess.Popen[bytes]) -> str:
    assert child.stdout is not None
    with child.stdout as stream:
        text = stream.read().decode()
    child.wait(_DEADLINE)
    return text


def test_a_process_is_recorded_and_runs_in_a_session_of_its_own(launcher: Launcher) -> None:
    child = launcher.start(["/bin/cat", "/proc/self/stat"], "a cat", "shell", stdout=subprocess.PIPE)
    stat = output(child).split()
    (known,) = launcher.ledger.processes()
    assert (known.process.pid, known.what, known.kind) == (child.pid, "a cat", "shell")
    assert int(stat[5]) == child.pid  # the session
    assert child.returncode == 0


def test_output_and_errors_go_to_the_end_of_the_log(launcher: Launcher, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    before = open_files()
    launcher.start(["/bin/sh", "-c", "echo out; echo err >&2"], "a shell", "shell", log=log).wait(_DEADLINE)
    assert open_files() == before
    assert log.read_text() == "before\nout\nerr\n"


def test_output_may_go_elsewhere_than_errors(launcher: Launcher, tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = launcher.start(
        ["/bin/sh", "-c", "echo out; echo err >&2"], "a shell", "shell", log=log, stdout=subprocess.PIPE
    )
    assert (output(child), log.read_text()) == ("out\n", "err\n")


def test_without_a_log_output_goes_nowhere_and_there_is_no_input(
    launcher: Launcher, capfd: pytest.CaptureFixture[str]
) -> None:
    launcher.start(["/bin/sh", "-c", "echo out; echo err >&2"], "a shell", "shell").wait(_DEADLINE)
    assert capfd.readouterr() == ("", "")
    assert output(launcher.start(["/bin/cat"], "a cat", "shell", stdout=subprocess.PIPE)) == ""


def test_the_environment_is_ours_and_what_is_given(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "1")
    say = ["/bin/sh", "-c", "echo $OURS $GIVEN"]
    for env, said in ((None, "1\n"), ({"GIVEN": "2"}, "1 2\n"), ({"OURS": "3"}, "3\n")):
        assert output(launcher.start(say, "a shell", "shell", env=env, stdout=subprocess.PIPE)) == said


def test_how_a_child_has_ended_is_its_signal_or_its_exit_code(launcher: Launcher) -> None:
    child = launcher.start(["/bin/sleep", "60"], "a sleeper", "shell")
    assert end_of(child) is None
    child.kill()
    child.wait()
    assert end_of(child) == "SIGKILL"
    child.returncode = -99
    assert end_of(child) == "signal 99"
    failed = launcher.start(["/bin/false"], "a failure", "shell")
    failed.wait()
    assert end_of(failed) == "exit code 1"


def test_a_process_in_the_namespaces_of_another_is_started_by_nsenter_and_mnexec(launcher: Launcher) -> None:
    child = launcher.start(["/bin/echo", "hello"], "a shell", "shell", netns_pid=77, stdout=subprocess.PIPE)
    entered = "nsenter --target 77 --uts mnexec -a 77 /bin/echo hello\nmnexec -a 77\n"
    assert output(child) == f"{entered}hello\n"


def test_a_namespace_is_there_when_its_pid_has_been_said(launcher: Launcher) -> None:
    before = open_files()
    child = launcher.namespace("h1")
    assert open_files() == before
    (known,) = launcher.ledger.processes()
    assert (known.process.pid, known.what, known.kind) == (child.pid, "namespace of h1", "namespace")
    assert child.poll() is None
    assert Path(f"/proc/{child.pid}/cmdline").read_bytes().endswith(b"sleep\0infinity\0")


def test_a_missing_namespace_is_reported_with_its_exit_code(launcher: Launcher) -> None:
    launcher.ledger.directory.closing.touch()
    with pytest.raises(RunError, match="no namespace for h1: exit code 125"):
        launcher.namespace("h1")


def test_a_namespace_that_does_not_come_is_not_waited_for_without_an_end(
    launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mnexec").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr("topologies.processes.launcher._NAMESPACE_TIMEOUT", 0.2)
    with pytest.raises(RunError, match=r"no namespace for h1 after 0.2 s: mnexec hangs\n  -> check that"):
        launcher.namespace("h1")


def test_children_are_reaped_once_they_have_ended(launcher: Launcher) -> None:
    first, second = (launcher.start(["/bin/sleep", "60"], "a sleeper", "shell") for _ in range(2))
    first.kill()
    launcher.forget(first)
    assert first.returncode == -9
    launcher.forget(first)
    with pytest.raises(subprocess.TimeoutExpired):
        launcher.reap(0.0)
    second.kill()
    second.wait(_DEADLINE)
    third = launcher.start(["/bin/true"], "true", "shell")
    launcher.reap(_DEADLINE)
    assert third.returncode == 0


def test_a_child_that_was_forgotten_is_not_waited_for_again(launcher: Launcher) -> None:
    child = launcher.start(["/bin/true"], "true", "shell")
    launcher.forget(child)
    waits: list[float | None] = []
    child.wait = lambda timeout=None: waits.append(timeout) or 0  # type: ignore[method-assign,func-returns-value]
    launcher.reap(_DEADLINE)
    assert waits == []


def test_our_own_modules_are_found_where_this_package_is(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(__file__).resolve().parents[4])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert python("controllers", "--dir", "/x") == [
        "env", "--unset=PYTHONHOME", f"PYTHONPATH={root}",
        sys.executable, "-P", "-s", "-m", "controllers", "--dir", "/x",
    ]  # fmt: skip
    monkeypatch.setenv("PYTHONPATH", f"/a:{root}:::.:here:../b:/b:/a")
    assert python("controllers")[2] == f"PYTHONPATH={root}:/a:/b"


def test_what_a_process_ignores_its_children_do_not_get(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PYTHON")]:
        monkeypatch.delenv(name)
    for name in ("PYTHONPATH", "PYTHONPYCACHEPREFIX"):
        monkeypatch.setenv(name, "/a")
    monkeypatch.setattr(sys, "flags", SimpleNamespace(ignore_environment=1))
    root = str(Path(__file__).resolve().parents[4])
    assert python("controllers")[:4] == [
        "env", "--unset=PYTHONPATH", "--unset=PYTHONPYCACHEPREFIX", f"PYTHONPATH={root}",
    ]  # fmt: skip


def test_a_process_starts_in_the_root_directory_and_keeps_its_files_private(launcher: Launcher, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f"pwd; umask; echo >{tmp_path}/made"
    launcher.forget(launcher.start(["/bin/sh", "-c", script], "a", "shell", log=log))
    assert log.read_text() == "/\n0077\n"
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600
