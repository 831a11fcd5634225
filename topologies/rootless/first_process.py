"""Makes the namespaces of an ordinary user's run, and is the first process in them.

    python -I -S first_process.py [--stay] --state DIR COMMAND [ARGUMENT]...

The caller's process makes the namespaces, stays outside, and waits for COMMAND: it passes signals on, and returns the
exit code. Its child is pid 1 inside. When that ends, the kernel ends all processes in there, whatever they did. It
starts COMMAND as its child, and reaps what it inherits. It ends with COMMAND, or with `--stay` after the last process
inside. If the caller's process is killed, COMMAND is killed too.

Inside, the user is root of these namespaces, and has no more rights than before on files. COMMAND finds in its
environment who keeps it in here, as the machine sees it (HOVERBOARD_NAMESPACES), and the state directory.

This is a program of its own, and uses the standard library only: a process with threads cannot make a user namespace
(user_namespaces(7)). See also pid_namespaces(7), mount_namespaces(7).
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Collection
from contextlib import suppress
from typing import NoReturn

FAILED = 4  # exit code of the command line's MachineError
VARIABLE = "HOVERBOARD_NAMESPACES"
STATE_VARIABLE = "HOVERBOARD_STATE_DIR"
# What of /run stays as it is on the machine; all else of it is hidden. A run needs its own netns, openvswitch and lock.
KEPT_OF_RUN = ("/run/user", "/run/media", "/run/systemd/resolve", "/run/resolvconf")
_NEEDED = ("/run/netns", "/run/openvswitch", "/run/lock")

# linux/sched.h, sys/mount.h, linux/if.h, signal(2)
_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_SLAVE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x80000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_IN_DELETE_SELF, _IN_MOVE_SELF, _IN_UNMOUNT, _IN_CLOEXEC = 0x400, 0x800, 0x2000, 0x80000  # sys/inotify.h
_SI_USER = 0
_WORDS_OF_SIGINFO = struct.Struct("=Iii")  # signalfd_siginfo: number, errno, code; 128 bytes in all
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_STOPPED, _ENDED, _CONTINUE = b"Z ", b"E", b"C"

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Make the namespaces, run the command in them, and return its exit code (128 + N: signal N ended it)."""
    parser = argparse.ArgumentParser(prog="first_process.py")
    parser.add_argument("--stay", action="store_true", help="end after the last process, not with COMMAND")
    parser.add_argument("--state", required=True, help="the state directory, which stays where it is")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [*_FORWARDED, signal.SIGCHLD])
    uid, gid, outside = os.getuid(), os.getgid(), os.stat("/proc/self/ns/pid").st_ino
    try:
        _make_namespaces(uid, gid)
    except OSError as error:
        return _fail(_reason(error))
    # Both ends of each pipe close when their process ends, so that each side notices the end of the other.
    orders, orders_out = os.pipe()
    news, news_out = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(orders_out)
        os.close(news)
        code = FAILED
        try:
            code = FirstProcess(args.command, args.state, args.stay, orders, news_out, before).main()
        finally:
            os._exit(code)
    os.close(orders)
    os.close(news_out)
    os.write(orders_out, f"{child}:{_start_time(child)}:{outside}\n".encode())
    return _wait_outside(child, news, orders_out)


def _make_namespaces(uid: int, gid: int) -> None:
    """Leave the machine's namespaces, in one step; one user and one group are mapped, to root inside."""
    if _libc.unshare(_NEWUSER | _NEWNS | _NEWPID | _NEWNET | _NEWUTS | _NEWIPC) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _reason(error: OSError) -> str:
    """What the kernel's error means, and what an administrator can do."""
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


def _fail(text: str) -> int:
    print(f"hoverboard: {text}", file=sys.stderr, flush=True)
    return FAILED


def _start_time(pid: int) -> int:
    """When a process started, in clock ticks since the boot (proc(5), field 22 of stat)."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])


class _Signals:
    """Blocked signals, read from a descriptor (signalfd(2))."""

    def __init__(self, numbers: list[int]) -> None:
        mask = (ctypes.c_ulong * (1024 // (8 * ctypes.sizeof(ctypes.c_ulong))))()
        bits = 8 * ctypes.sizeof(ctypes.c_ulong)
        for number in numbers:
            mask[(number - 1) // bits] |= 1 << ((number - 1) % bits)
        self.fd = _libc.signalfd(-1, mask, 0x80000)  # SFD_CLOEXEC
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "signalfd")

    def read(self) -> tuple[int, bool]:
        """The next signal, and whether a process sent it. Else it is the terminal's, which sends it to COMMAND too."""
        number, _, code = _WORDS_OF_SIGINFO.unpack_from(os.read(self.fd, 128))
        return number, code <= _SI_USER


# --- outside ------------------------------------------------------------------------------------------------------


def _wait_outside(child: int, news: int, orders: int) -> int:
    """Pass signals on until the first process tells the exit code of the command, or ends."""
    signals = _Signals(list(_FORWARDED))
    while True:
        ready, _, _ = select.select([news, signals.fd], [], [])
        if signals.fd in ready:
            number, sent = signals.read()
            if sent:
                with suppress(ProcessLookupError):
                    os.kill(child, number)
        if news in ready:
            message = os.read(news, 2)
            if message == _STOPPED:  # the user's shell gets the terminal back, as from any job
                os.kill(os.getpid(), signal.SIGSTOP)
                with suppress(BrokenPipeError):
                    os.write(orders, _CONTINUE)
            elif message:
                return message[1]
            else:
                return _code(os.waitpid(child, 0)[1])


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


# --- inside: pid 1 ------------------------------------------------------------------------------------------------


class FirstProcess:
    """Pid 1 of the namespaces.

    Args:
        command: to run.
        state: the state directory.
        stay: end after the last process, not with the command.
        orders: a pipe from the process outside: one line that says who we are, then _CONTINUE after a stop.
        news: a pipe to it, for messages of two bytes: _STOPPED, or _ENDED and the exit code of the command.
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
            return FAILED
        try:
            _arrange(self._state)
        except OSError as error:
            return _fail(_reason(error))
        signals, gone = _Signals([*_FORWARDED, signal.SIGCHLD]), _end_of_folder(self._state)
        self._child = self._start(me)
        outside: list[int] = [self._orders]
        while True:
            ready, _, _ = select.select([signals.fd, gone, *outside], [], [])
            if gone in ready and not os.path.isdir(self._state):
                return FAILED  # the user has logged out: nobody could reach a run any more
            if signals.fd in ready:
                number, sent = signals.read()
                if number == signal.SIGCHLD:
                    if self._reap():
                        return self._ended or 0
                elif sent and self._ended is None:
                    os.kill(self._child, number)
            if self._orders in ready and not os.read(self._orders, 1):
                # The process outside has ended: it was killed, or it knows the exit code.
                outside = []
                if self._ended is None:
                    os.kill(self._child, signal.SIGKILL)
            elif self._orders in ready:
                self._continue()

    def _start(self, me: str) -> int:
        child = os.fork()
        if child == 0:
            try:
                signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
                os.execvpe(self._command[0], self._command, {**os.environ, VARIABLE: me, STATE_VARIABLE: self._state})
            except OSError as error:
                _fail(f"{self._command[0]}: {error.strerror}")
            finally:
                os._exit(127)
        return child

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
            self._ended = _code(status)
            if not self._stay:
                return True
            self._tell(_ENDED + bytes([self._ended]))
            self._leave_terminal()

    def _continue(self) -> None:
        with suppress(ProcessLookupError):
            group = os.getpgid(self._child)
            os.killpg(group, signal.SIGCONT) if group else os.kill(self._child, signal.SIGCONT)

    def _tell(self, message: bytes) -> None:
        with suppress(BrokenPipeError):
            os.write(self._news, message)

    def _leave_terminal(self) -> None:
        """Let go of the caller's terminal, pipes and folder: the run outlives them."""
        with suppress(PermissionError):
            os.setsid()
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        os.close(self._news)


def _end_of_folder(path: str) -> int:
    """A descriptor that can be read when something happens to a folder itself (inotify(7)): its end, or an unmount."""
    fd = int(_libc.inotify_init1(_IN_CLOEXEC))
    if fd < 0 or _libc.inotify_add_watch(fd, os.fsencode(path), _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_UNMOUNT) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "inotify")
    return fd


def _arrange(state: str) -> None:
    """Give the namespaces a /run and a /proc of their own, and a loopback device that is up."""
    here = os.getcwd()
    _mount(None, "/", None, _MS_REC | _MS_SLAVE)  # what the machine mounts later is seen in here, and not the reverse
    kept = [path for path in KEPT_OF_RUN if os.path.isdir(path)]
    if (real := os.path.realpath(state)).startswith("/run/") and not real.startswith(tuple(f"{one}/" for one in kept)):
        kept.append(real)
    opened = [(path, os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) for path in kept]
    _mount("tmpfs", "/run", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=64m")
    for path, fd in opened:
        os.makedirs(path, exist_ok=True)
        _mount(f"/proc/self/fd/{fd}", path, None, _MS_BIND | _MS_REC)
        os.close(fd)
    for path in _NEEDED:
        os.makedirs(path, exist_ok=True)
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    with suppress(OSError):  # its caller may stand in a folder that is hidden now
        os.chdir(here)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack_from("16sH", fcntl.ioctl(sock, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    words = [None if one is None else os.fsencode(one) for one in (source, target, kind)]
    if _libc.mount(*words, ctypes.c_ulong(flags), data.encode()) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"mount on {target}")


def _run() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    _run()
