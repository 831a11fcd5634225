"""Makes the namespaces of an ordinary user's run, and is the first process in them.

    python -I -S first_process.py --state DIR [--stay] COMMAND [ARGUMENT]...

The caller's process makes the namespaces, stays outside, and waits for COMMAND: it passes signals on, and returns the
exit code. Its child is pid 1 inside. When that ends, the kernel ends all processes in there, whatever they did. It
starts COMMAND as its child, and reaps what it inherits. It ends with COMMAND, or with `--stay` after the last process
inside. If the caller's process is killed, COMMAND is killed too.

Inside, the user is root of these namespaces, and has no more rights than before on files. COMMAND finds in its
environment who keeps it in here, as the machine sees it (HOVERBOARD_NAMESPACES), and the state directory.

This is a program of its own, and uses the standard library only: see `system_calls`. See also pid_namespaces(7) and
mount_namespaces(7).
"""

from __future__ import annotations

import argparse
import errno
import os
import select
import signal
import sys
from collections.abc import Collection
from contextlib import suppress

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from topologies.namespaces import kernel_calls as kernel
from topologies.namespaces.kernel_calls import mount
from topologies.rootless import system_calls as calls
from topologies.rootless.system_calls import FORWARDED, Signals, exit_code, fail, start_time
from topologies.rootless.terminal import Terminal

VARIABLE = "HOVERBOARD_NAMESPACES"
STATE_VARIABLE = "HOVERBOARD_STATE_DIR"
# What of /run stays as it is on the machine; all else of it is hidden. A run needs its own netns and openvswitch.
KEPT_OF_RUN = ("/run/user", "/run/media", "/run/systemd/resolve", "/run/resolvconf", "/run/lock", "/run/shm")
_NEEDED = ("/run/netns", "/run/openvswitch", "/run/lock")  # lock: where the machine has none
_PASSWD = "/run/passwd"
_NAMESPACES = (
    kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWIPC
)  # fmt: skip
# From pid 1 to the process outside, two bytes each: the command has stopped, or has ended with this exit code.
_STOPPED, _ENDED = b"Z ", b"E"
_CONTINUE = b"C"  # the other way


def main() -> int:
    """Make the namespaces, run the command in them, and return its exit code (128 + N: signal N ended it)."""
    parser = argparse.ArgumentParser(prog="first_process.py")
    parser.add_argument("--stay", action="store_true", help="end after the last process, not with COMMAND")
    parser.add_argument("--state", required=True, help="the state directory, which stays where it is")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [*FORWARDED, signal.SIGCHLD])
    uid, gid, outside = os.getuid(), os.getgid(), os.stat("/proc/self/ns/pid").st_ino
    if uid == 0:  # there, what root may do with files would be left to all in the run
        return fail("this is for ordinary users; root gives --rootless\n  -> hoverboard up --rootless")
    try:
        _make_namespaces(uid, gid)
    except OSError as error:
        return fail(_reason(error))
    # Both ends of each pipe close when their process ends, so that each side notices the end of the other.
    orders, orders_out = os.pipe()
    news, news_out = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(orders_out)
        os.close(news)
        code = calls.FAILED
        try:
            code = FirstProcess(args.command, args.state, args.stay, orders, news_out, mask).main()
        finally:
            os._exit(code)
    os.close(orders)
    os.close(news_out)
    terminal = Terminal()
    os.write(orders_out, f"{child}:{start_time(child)}:{outside}\n".encode())
    try:
        return _wait_outside(child, news, orders_out, terminal)
    finally:
        terminal.take_back()


def _make_namespaces(uid: int, gid: int) -> None:
    """Leave the machine's namespaces, in one step; one user and one group are mapped, to root inside."""
    kernel.unshare(_NAMESPACES)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _reason(error: OSError) -> str:
    """The meaning of the kernel's error, and what an administrator can do."""
    if error.errno in (errno.ENOSPC, errno.EUSERS):
        return (
            "no more user namespaces are allowed (user.max_user_namespaces, or too many below each other)\n"
            "  -> end other runs; or let the administrator raise it: sysctl -w user.max_user_namespaces=10000"
        )
    if error.errno in (errno.EPERM, errno.EACCES):
        return (
            f"an ordinary user may not make the namespaces of a run here ({error.filename}: {error.strerror})\n"
            "  -> `hoverboard doctor` names what forbids it; or run it as root: sudo hoverboard ..."
        )
    return f"the namespaces of a run cannot be made: {error}\n  -> see `hoverboard doctor`"


def _wait_outside(child: int, news: int, orders: int, terminal: Terminal) -> int:
    """Pass signals on until the first process tells the exit code of the command, or ends."""
    signals = Signals(FORWARDED)
    while True:
        ready = _readable(news, signals.fd)
        if signals.fd in ready:
            number, sent = signals.read()
            if sent:
                with suppress(ProcessLookupError):
                    os.kill(child, number)
        if news in ready:
            message = os.read(news, 2)
            if message == _STOPPED:
                terminal.stop()
                with suppress(BrokenPipeError):
                    os.write(orders, _CONTINUE)
            elif message:
                return message[1]
            else:
                return exit_code(os.waitpid(child, 0)[1])


def _readable(*fds: int) -> set[int]:
    """Wait until some of these descriptors can be read, whatever their numbers are (poll(2)); return those."""
    waiting = select.poll()
    for fd in fds:
        waiting.register(fd, select.POLLIN)
    return {fd for fd, _ in waiting.poll()}


class FirstProcess:
    """Pid 1 of the namespaces.

    Args:
        command: to run.
        state: the state directory.
        stay: end after the last process, not with the command.
        orders: a pipe from the process outside: one line that says who we are, then _CONTINUE after a stop.
        news: a pipe to it, for _STOPPED and _ENDED.
        mask: of signals, for the command.
    """

    def __init__(
        self, command: list[str], state: str, stay: bool, orders: int, news: int, mask: Collection[int]
    ) -> None:
        self._command, self._state, self._stay, self._mask = command, state, stay, mask
        self._orders, self._news = orders, news
        self._child = 0
        self._ended: int | None = None  # exit code of the command

    def main(self) -> int:
        """Arrange what the run sees, start the command, and stay until its end; return the exit code."""
        with os.fdopen(os.dup(self._orders), "rb", buffering=0) as lines:
            me = lines.readline().decode().strip()
        if not me:
            return calls.FAILED
        try:
            gone, place = calls.end_of_folder(self._state), _identity(self._state)
            _arrange(self._state)
        except OSError as error:
            return fail(_reason(error))
        signals = Signals([*FORWARDED, signal.SIGCHLD])
        self._child = os.fork()
        if self._child == 0:
            calls.execute(self._command, self._mask, {VARIABLE: me, STATE_VARIABLE: self._state})
        outside = [self._orders]
        while True:
            ready = _readable(signals.fd, gone, *outside)
            if gone in ready:
                os.read(gone, 65536)
                if _identity(self._state) != place:
                    # The user has logged out: nobody could reach a run any more.
                    return fail(f"{self._state}: the state directory has gone, so the run has ended")
            if signals.fd in ready:
                number, sent = signals.read()
                if number == signal.SIGCHLD:
                    if self._reap():
                        return self._ended or 0
                elif sent and self._ended is None:
                    os.kill(self._child, number)
            if self._orders in ready:
                if os.read(self._orders, 1):
                    self._continue()
                else:  # the process outside has ended: it was killed, or it knows the exit code
                    outside = []
                    if self._ended is None:
                        os.kill(self._child, signal.SIGKILL)

    def _reap(self) -> bool:
        """Take the status of processes that ended or stopped; whether we end, too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if pid != self._child or self._ended is not None:
                continue
            if os.WIFSTOPPED(status):
                # In a process group of the machine, whose number is 0 in here, the process outside was stopped too.
                if os.getpgid(pid) != 0:
                    self._tell(_STOPPED)
                continue
            self._ended = exit_code(status)
            if not self._stay:
                return True
            self._tell(_ENDED + bytes([self._ended]))
            self._let_go()

    def _continue(self) -> None:
        with suppress(ProcessLookupError):
            group = os.getpgid(self._child)
            os.killpg(group, signal.SIGCONT) if group else os.kill(self._child, signal.SIGCONT)

    def _tell(self, message: bytes) -> None:
        with suppress(BrokenPipeError):
            os.write(self._news, message)

    def _let_go(self) -> None:
        """Let go of the caller's terminal, pipes and folder: the run outlives them."""
        with suppress(PermissionError):
            os.setsid()
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        os.close(self._news)


def _identity(folder: str) -> tuple[int, int] | None:
    """Which folder is at a path; None: there is none."""
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _arrange(state: str) -> None:
    """Give the namespaces a /run and a /proc of their own, and a loopback device that is up."""
    here = None
    with suppress(FileNotFoundError):  # it was removed
        here = os.getcwd()
    mount(None, "/", kernel.MS_REC | kernel.MS_SLAVE)  # what the machine mounts later is seen here, and not the reverse
    kept = [path for path in KEPT_OF_RUN if os.path.isdir(path)]
    if (real := os.path.realpath(state)).startswith("/run/") and not real.startswith(tuple(f"{one}/" for one in kept)):
        kept.append(real)
    opened = [(path, os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) for path in kept]
    mount("tmpfs", "/run", kernel.MS_NOSUID | kernel.MS_NODEV, b"tmpfs", b"mode=755,size=64m")
    for path, fd in opened:
        os.makedirs(path, exist_ok=True)
        mount(f"/proc/self/fd/{fd}", path, kernel.MS_BIND | kernel.MS_REC)
        os.close(fd)
    for path in _NEEDED:
        os.makedirs(path, exist_ok=True)
    mount("proc", "/proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC, b"proc")
    _show_accounts()
    with suppress(OSError):  # a folder that is hidden now
        os.chdir(here or "/")
    calls.set_up_loopback()


def _show_accounts() -> None:
    """Let the accounts of root and tcpdump be the one user that is mapped.

    Programs without HOME look for their files in the home of root: it is that user's. tcpdump becomes its own user
    once it has opened its device.
    """
    home = os.environ.get("HOME", "")
    with open("/etc/passwd", encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.split(":") for line in file]
    for line in lines:
        if line[0] == "tcpdump" and len(line) > 3:
            line[2:4] = "0", "0"
        if line[0] == "root" and len(line) > 6 and os.path.isabs(home) and not {":", "\n"} & set(home):
            line[5] = home
    with open(_PASSWD, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.writelines(":".join(line) for line in lines)
    os.chmod(_PASSWD, 0o644)
    mount(_PASSWD, "/etc/passwd", kernel.MS_BIND)


if __name__ == "__main__":
    sys.exit(main())
