"""An ordinary user for tests: a bare uid without an account, with a home and a mount namespace of its own.

    python -m tests.ordinary_user COMMAND [ARGUMENT]...

runs a command of this checkout as such a user; an ordinary user who calls it stays who it is.

In the mount namespace /dev/net/tun has the mode that a test wants, whatever the machine's has, and /run has nothing but
the user's runtime directory. A user who cannot read this checkout gets a copy. At the end of a user all its processes
are killed by pid: nobody else has that uid.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.waiting import until

ROOT = Path(__file__).resolve().parents[1]
TUN = Path("/dev/net/tun")
# Where no accounts are, behind those of `--rootless` (console/rootless.py) and tests/system/console/ordinary_user.py.
_FIRST, _LAST = 61400, 65500
_KEPT = ("PATH", "LANG", "TERM", "HOVERBOARD_TESTS", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")
_LEFT_OUT = shutil.ignore_patterns(".git", ".mutation", "__pycache__", "results", ".*_cache", ".hypothesis")
# $1: uid, $2: mode of the device node, $3: a folder for it. It ends with its standard input.
_KEEP = """
set -e
if [ "$(stat -c %a /dev/net/tun)" != "$2" ]; then
    mknod "$3/tun" c 10 200
    chmod "$2" "$3/tun"
    mount --bind "$3/tun" /dev/net/tun
    rm "$3/tun"
fi
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "/run/user/$1"
mkdir -m 1777 /run/lock
chown "$1:$1" "/run/user/$1"
chmod 700 "/run/user/$1"
echo ready
exec cat
"""


@dataclass
class OrdinaryUser:
    """A user of a test.

    Attributes:
        uid: bare: no account has it; the only group has the same number.
        home: 0700, below /tmp.
        checkout: that the user can read.
        keeper: keeps the mount namespace.
        environment: of the user's commands.
        runtime: what logind would have made: /run/user/UID; used by those commands that have it in their environment.
    """

    uid: int
    home: Path
    checkout: Path
    keeper: subprocess.Popen[str]
    environment: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def runtime(self) -> str:
        """The user's runtime directory, in the mount namespace."""
        return f"/run/user/{self.uid}"

    @property
    def state(self) -> Path:
        """The state directory without a runtime directory."""
        return Path(f"/tmp/hoverboard-{self.uid}")

    def words(self, *command: object, cwd: Path | None = None, **environment: str) -> list[str]:
        """The command by which root runs one as this user. A variable with the value "" is left out."""
        variables = {**self.environment, **environment}
        return [
            "nsenter", f"--mount=/proc/{self.keeper.pid}/ns/mnt",
            "setpriv", "--reuid", str(self.uid), "--regid", str(self.uid), "--clear-groups", "--inh-caps=-all",
            "env", "-i", *(f"{name}={value}" for name, value in variables.items() if value),
            "sh", "-c", 'cd "$0" && exec "$@"', str(cwd or self.home), *map(str, command),
        ]  # fmt: skip

    def run(
        self, *command: object, cwd: Path | None = None, timeout: float = 100, text: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as this user, with `text` on its standard input."""
        return subprocess.run(
            self.words(*command, cwd=cwd, **environment),
            input=text, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def start(
        self, *command: object, cwd: Path | None = None, environment: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start a command as this user; it is killed at the end at the latest. The process is the command itself."""
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(self.words(*command, cwd=cwd, **(environment or {})), **(given | options))
        self.started.append(process)
        return process

    def write(self, name: str, text: str) -> str:
        """Write a file as this user; the name, which may be relative to the home."""
        done = self.run("sh", "-c", 'cat > "$0"', name, text=text)
        assert done.returncode == 0, done.stderr
        return name

    @staticmethod
    def cli(*words: object) -> list[str]:
        """`hoverboard` of the checkout."""
        return [sys.executable, "-P", "-s", "-m", "console.cli", *map(str, words)]

    def hoverboard(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `hoverboard` with these words as this user; for the options see `run`."""
        return self.run(*self.cli(*words), **options)

    def ok(self, *words: object, **options: Any) -> str:
        """The output of `hoverboard` with these words, which must succeed."""
        done = self.hoverboard(*words, **options)
        assert done.returncode == 0, f"{words}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def pids(self) -> set[int]:
        """All processes of this user, wherever they are."""
        return {pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _uid_of(pid) == self.uid}

    def left(self) -> list[str]:
        """What is left of the user's runs: processes, and entries of the state directories."""
        found = [f"process {pid}: {_command(pid)}" for pid in sorted(self.pids())]
        for folder in (self.state, Path(f"/proc/{self.keeper.pid}/root{self.runtime}/hoverboard")):
            with contextlib.suppress(FileNotFoundError):
                found += [str(entry) for entry in folder.iterdir()]
        return found

    def close(self) -> None:
        """Kill what is left of the user, and remove its files."""
        for process in self.started:
            process.kill()
        until(self._none_is_left, 30, "processes of the user are left")
        for process in (*self.started, self.keeper):
            if process.stdin is not None:
                process.stdin.close()  # the keeper ends with it
            with process:
                pass
        for folder in (self.home, self.state, *([] if self.checkout == ROOT else [self.checkout])):
            _remove(folder)

    def _none_is_left(self) -> bool:
        left = self.pids()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left


def make(*, tun: int = 0o666, copied: bool = False) -> OrdinaryUser:
    """A new user. The caller is root of the machine, and calls `close` at the end.

    Args:
        tun: mode of /dev/net/tun for this user.
        copied: the user gets a copy of the checkout, even if it can read this one.
    """
    uid, home = _drawn()
    with tempfile.TemporaryDirectory(prefix="tun", dir="/tmp") as folder:
        keeper = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", _KEEP, "sh", str(uid), f"{tun:o}", folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == "ready\n", "the mount namespace of a user cannot be made"
    checkout = ROOT if not copied and _readable_by_all(ROOT) else _copy()
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment |= {"HOME": str(home), "USER": str(uid), "LOGNAME": str(uid), "PYTHONPATH": str(checkout)}
    return OrdinaryUser(uid, home, checkout, keeper, environment)


def _drawn() -> tuple[int, Path]:
    """A uid that nobody has, and its home: who makes that folder has the uid."""
    while True:
        uid = random.SystemRandom().randint(_FIRST, _LAST)
        home = Path(f"/tmp/hbuser{uid}")
        try:
            pwd.getpwuid(uid)
        except KeyError:
            with contextlib.suppress(FileExistsError):
                home.mkdir(0o700)
                os.chown(home, uid, uid)
                return uid, home


def _readable_by_all(root: Path) -> bool:
    """Whether every user can read a checkout: its folders to the top, and its packages."""
    if any(not folder.stat().st_mode & stat.S_IXOTH for folder in (root, *root.parents)):
        return False
    files = [*root.glob("*/"), *root.glob("console/*.py"), *root.glob("topologies/*/*.py"), root / "tests/conftest.py"]
    return all(one.stat().st_mode & stat.S_IROTH for one in files)


def _copy() -> Path:
    target = Path(tempfile.mkdtemp(prefix="hbcheckout", dir="/tmp"))
    shutil.copytree(ROOT, target, ignore=_LEFT_OUT, dirs_exist_ok=True, symlinks=True)
    for entry in (target, *target.rglob("*")):
        if not entry.is_symlink():
            entry.chmod(entry.stat().st_mode | 0o444 | (0o111 if entry.is_dir() else 0))
    return target


def _remove(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if folder.is_symlink() or not folder.is_dir():
            folder.unlink()
        else:
            shutil.rmtree(folder)


def _uid_of(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return None
    if "\nState:\tZ" in status:
        return None  # it has ended; who started it has not looked yet
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Uid:"))


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


@contextlib.contextmanager
def user(**options: Any) -> Iterator[OrdinaryUser]:
    """A user for the length of a block; for the options see `make`."""
    made = make(**options)
    try:
        yield made
    finally:
        made.close()


def main(command: list[str]) -> int:
    """Run a command as an ordinary user, in the checkout; the exit code of the command."""
    if os.geteuid() != 0:
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # of timeout(1): clean up all the same
    with user() as someone:
        (temporary := someone.home / "tmp").mkdir(0o700)
        os.chown(temporary, someone.uid, someone.uid)
        # The checkout may be another user's: git clones it all the same.
        someone.write(".gitconfig", "[safe]\n\tdirectory = *\n")
        words = someone.words(*command, cwd=someone.checkout, TMPDIR=str(temporary))
        return subprocess.run(words, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
