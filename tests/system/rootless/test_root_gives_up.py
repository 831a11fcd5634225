"""`--rootless`: what root starts so gets neither root's terminal nor root's open files."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ordinary_user import ROOT
from tests.system.privileges import needs_other_users
from tests.waiting import until

pytestmark = needs_other_users

# It says what it has, then types into the terminal that it finds, and shows what it reads there.
PROGRAM = """
import fcntl, os, termios
print("descriptors", sorted(map(int, os.listdir("/proc/self/fd")))[:-1], os.isatty(0), os.ttyname(0), flush=True)
try:
    for letter in "touch stolen\\n":
        fcntl.ioctl(os.open("/dev/tty", os.O_RDWR), termios.TIOCSTI, letter)
except OSError as error:
    print("rejected:", error.strerror, flush=True)
print("got", input("say: "), flush=True)
raise SystemExit(7)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/tmp") and folder.is_relative_to("/tmp"):
            folder.chmod(0o755)  # another user reads it
    (file := tmp_path / "program.py").write_text(PROGRAM)
    file.chmod(0o644)
    return file


def test_a_program_has_a_terminal_of_its_own_and_no_other_descriptor(program: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    words = [sys.executable, "-P", "-s", "-m", "console.cli", "--rootless", "python", "--outside", str(program)]
    secret = os.open(__file__, os.O_RDONLY)
    os.set_inheritable(secret, True)
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", *words],
        stdin=theirs, stdout=theirs, stderr=theirs, pass_fds=(secret,), cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SUDO_UID": "61201", "SUDO_GID": "61201"},
    ) as process:  # fmt: skip
        os.close(secret)
        seen = ""

        def shown(wanted: str) -> bool:
            nonlocal seen
            if select.select([ours], [], [], 0.1)[0]:
                seen += os.read(ours, 65536).decode(errors="replace")
            return wanted in seen

        until(lambda: shown("say: "), 60, "the program asks nothing")
        os.write(ours, b"hello\n")  # not read where the program could type for itself
        until(lambda: shown("got "), 60, "the program gets no answer")
        assert process.wait(30) == 7
    assert "descriptors [0, 1, 2] True" in seen
    assert name not in seen
    # What it typed is in its own terminal: nothing but our own line may be left in ours.
    os.set_blocking(theirs, False)
    typed = b""
    with contextlib.suppress(BlockingIOError):
        typed = os.read(theirs, 4096)
    assert b"stolen" not in typed
    os.close(theirs)
    os.close(ours)
    assert not (tmp_path / "stolen").exists()


def test_what_stays_in_the_background_does_not_hold_the_command(program: Path, tmp_path: Path) -> None:
    program.write_text("import subprocess\nprint('pid', subprocess.Popen(['sleep', '300']).pid, 'begun', flush=True)\n")
    ours, theirs = pty.openpty()
    words = [sys.executable, "-P", "-s", "-m", "console.cli", "--rootless", "python", "--outside", str(program)]
    with subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SUDO_UID": "61203", "SUDO_GID": "61203"},
    ) as process:  # fmt: skip
        assert process.wait(60) == 0
        shown = os.read(ours, 65536).decode()
        with contextlib.suppress(ProcessLookupError):  # the hang-up of its terminal has ended it
            os.kill(int(shown.partition("pid ")[2].split()[0]), signal.SIGKILL)
    assert "begun" in shown
    os.close(theirs)
    os.close(ours)


def test_pipes_stay_pipes(program: Path, tmp_path: Path) -> None:
    program.write_text("import os, sys\nprint(sys.stdin.read().upper(), os.geteuid(), os.path.exists('/dev/tty'))\n")
    done = subprocess.run(
        [sys.executable, "-P", "-s", "-m", "console.cli", "--rootless", "python", "--outside", str(program)],
        input="some words", capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SUDO_UID": "61202", "SUDO_GID": "61202"},
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()[:3]) == (0, ["SOME", "WORDS", "61202"]), done.stderr
