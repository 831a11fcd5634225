"""`tests/mutate` leaves nothing behind when it is told to end, and a mutant reaches nothing that the others need."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutation import apart, forking
from topologies.processes.deadlines import wait_for

CHECKOUT = Path(__file__).parents[2]


def descendants(pid: int) -> list[int]:
    try:
        children = [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return [*children, *(below for child in children for below in descendants(child))]


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A call that works on a checkout of its own, and is under way."""
    root = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", str(CHECKOUT), str(root)], check=True)
    process = subprocess.Popen(
        [str(CHECKOUT / "tests" / "mutate"), f"--root={root}", "controllers/partitions.py"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        # unshare, the first process of its namespace, and the one that waits for tests in there.
        wait_for(lambda: len(descendants(process.pid)) >= 3, 60.0, lambda: "tests/mutate has not begun", where="here")
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGKILL, -9)]
)
def test_a_signal_ends_all_of_it(number: signal.Signals, code: int, begun: subprocess.Popen[bytes]) -> None:
    below = descendants(begun.pid)
    begun.send_signal(number)
    assert begun.wait(10) == code
    wait_for(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), 10.0,
        lambda: "some of it still runs", where="here",
    )  # fmt: skip


def test_two_do_not_work_on_one_checkout(begun: subprocess.Popen[bytes]) -> None:
    assert isinstance(begun.args, list)
    second = subprocess.run(begun.args, capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 2
    assert second.stderr.startswith("tests/mutate: another tests/mutate works on ")
    assert begun.poll() is None


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "module.py").write_text("")
    return tmp_path


def test_a_mutant_cannot_change_the_checkout(checkout: Path) -> None:
    def delete() -> int:
        try:
            (checkout / "module.py").unlink()
        except OSError as error:
            return error.errno or 0
        return 0

    assert forking.in_child(delete, 60, checkout) == errno.EROFS
    assert (checkout / "module.py").exists()


def test_a_mutant_that_kills_all_kills_its_own_children_alone(checkout: Path) -> None:
    def kill() -> int:
        child = subprocess.Popen(["sleep", "60"])
        os.kill(-1, signal.SIGKILL)
        return 7 if child.wait() == -signal.SIGKILL and os.getpid() > 1 else 8

    with subprocess.Popen(["sleep", "60"]) as bystander:
        try:
            assert forking.in_child(kill, 60, checkout) == 7
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_what_a_mutant_leaves_in_memory_and_its_processes_are_gone(checkout: Path) -> None:
    left = Path("/dev/shm") / checkout.name

    def leave() -> int:
        left.write_text("")
        subprocess.Popen(["sleep", "60"], start_new_session=True)
        return len(os.listdir("/dev/shm"))

    before = descendants(os.getpid())
    assert forking.in_child(leave, 60, checkout) == 1
    assert not left.exists()
    assert set(descendants(os.getpid())) <= set(before)


def test_the_process_that_runs_tests_apart_is_begun_again(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = checkout / "module.py"
    monkeypatch.setattr(apart, "PACKAGES", ())
    monkeypatch.setattr(apart, "_pytest", lambda tests: len(tests) if module.read_text() == "mutant" else 99)
    there = set(descendants(os.getpid()))
    runner = apart.Apart(checkout)
    assert runner.run(module, "mutant", ["a", "b"], 60) == 2
    (process,) = set(descendants(os.getpid())) - there
    os.kill(process, signal.SIGKILL)
    assert runner.run(module, "mutant", ["a", "b", "c"], 60) == 3
    assert module.read_text() == ""
    (process,) = set(descendants(os.getpid())) - there
    runner.end()
    assert not Path(f"/proc/{process}").exists()


def test_a_mutant_that_hangs_is_ended_with_its_processes(checkout: Path) -> None:
    assert forking.in_child(lambda: signal.pause() or 0, 1, checkout) is None


def test_a_mutant_that_dies_has_crashed(checkout: Path) -> None:
    assert forking.in_child(lambda: os.kill(os.getpid(), signal.SIGKILL) or 0, 60, checkout) == forking.CRASHED
