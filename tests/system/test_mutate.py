"""`tests/mutate` leaves nothing behind when it is told to end, and a mutant reaches nothing that the others need."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mutation import forking
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


# What follows is done by an interpreter of its own. Other system tests leave threads of gRPC in the process of pytest,
# and gRPC ends a forked process in which it cannot begin them anew.
IN_CHILD = """
import sys
from pathlib import Path
from tests.mutation import forking
from tests.system import test_mutate
checkout = Path(sys.argv[2])
work = getattr(test_mutate, sys.argv[1])
print(forking.in_child(lambda: work(checkout), float(sys.argv[3]), checkout))
"""


def in_child(work: Callable[[Path], int], checkout: Path, seconds: float = 60) -> str:
    """What `forking.in_child` gives for a function of this file."""
    return python(IN_CHILD, work.__name__, str(checkout), str(seconds))


def python(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "module.py").write_text("")
    return tmp_path


def delete(checkout: Path) -> int:
    try:
        (checkout / "module.py").unlink()
    except OSError as error:
        return error.errno or 0
    return 0


def test_a_mutant_cannot_change_the_checkout(checkout: Path) -> None:
    assert in_child(delete, checkout) == str(errno.EROFS)
    assert (checkout / "module.py").exists()


def kill(checkout: Path) -> int:
    child = subprocess.Popen(["sleep", "60"])
    os.kill(-1, signal.SIGKILL)
    return 7 if child.wait() == -signal.SIGKILL and os.getpid() > 1 else 8


def test_a_mutant_that_kills_all_kills_its_own_children_alone(checkout: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as bystander:
        try:
            assert in_child(kill, checkout) == "7"
            assert bystander.poll() is None
        finally:
            bystander.kill()


def in_memory(checkout: Path) -> Path:
    return Path("/dev/shm") / checkout.name


def leave(checkout: Path) -> int:
    in_memory(checkout).write_text("")
    subprocess.Popen(["sleep", "60"], start_new_session=True)
    return len(os.listdir("/dev/shm"))


LEFT = """
import os, sys
from pathlib import Path
from tests.mutation import forking
from tests.system import test_mutate
checkout = Path(sys.argv[1])
print(forking.in_child(lambda: test_mutate.leave(checkout), 60, checkout), test_mutate.descendants(os.getpid()))
"""


def test_what_a_mutant_leaves_in_memory_and_its_processes_are_gone(checkout: Path) -> None:
    assert python(LEFT, str(checkout)) == "1 []"
    assert not in_memory(checkout).exists()


AGAIN = """
import os, signal, sys
from pathlib import Path
from tests.mutation import apart
from tests.system import test_mutate
checkout = Path(sys.argv[1])
module = checkout / "module.py"
apart.PACKAGES = ()
apart._pytest = lambda tests: len(tests) if module.read_text() == "mutant" else 99
runner = apart.Apart(checkout)
print(runner.run(module, "mutant", ["a", "b"], 60))
(process,) = test_mutate.descendants(os.getpid())
os.kill(process, signal.SIGKILL)
print(runner.run(module, "mutant", ["a", "b", "c"], 60))
print(repr(module.read_text()))
(process,) = test_mutate.descendants(os.getpid())
runner.end()
print(Path(f"/proc/{process}").exists())
"""


def test_the_process_that_runs_tests_apart_is_begun_again(checkout: Path) -> None:
    assert python(AGAIN, str(checkout)).split() == ["2", "3", "''", "False"]


def hang(checkout: Path) -> int:
    return signal.pause() or 0


def test_a_mutant_that_hangs_is_ended_with_its_processes(checkout: Path) -> None:
    assert in_child(hang, checkout, 1) == "None"


def die(checkout: Path) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def test_a_mutant_that_dies_has_crashed(checkout: Path) -> None:
    assert in_child(die, checkout) == str(forking.CRASHED)
