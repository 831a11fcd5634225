"""The kernel's calls of first processes that Python's standard library lacks, and signals from a descriptor.

It uses the standard library only, and makes no thread: a process with threads cannot enter a user namespace
(user_namespaces(7)).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
from collections.abc import Collection, Sequence
from typing import NoReturn

FAILED = 4  # exit code of the command line's MachineError
FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)

# sys/inotify.h, sys/prctl.h, linux/if.h, signal(2)
_IN_MOVED_FROM, _IN_DELETE, _IN_DELETE_SELF, _IN_MOVE_SELF, _IN_UNMOUNT = 0x40, 0x200, 0x400, 0x800, 0x2000
_IN_CLOEXEC, _IN_NONBLOCK = 0x80000, 0x800
_PR_SET_PDEATHSIG = 1
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_SFD_CLOEXEC = 0x80000
_SI_USER = 0  # and less: a process has sent it
_WORDS_OF_SIGINFO = struct.Struct("=Iii")  # of signalfd_siginfo, which has 128 bytes: number, errno, code
# Of a processor: AUDIT_ARCH of linux/audit.h, and the numbers of setgroups and seccomp.
_SYSCALLS = {"x86_64": (0xC000003E, 116, 317), "aarch64": (0xC00000B7, 159, 277)}

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def end_of_folder(path: str) -> int:
    """A descriptor that can be read when a folder may have been deleted, moved or unmounted (inotify(7)).

    The folder itself does not tell its end while a file that was in it is open. The folder above it does.
    """
    fd = _checked(_libc.inotify_init1(_IN_CLOEXEC | _IN_NONBLOCK), "inotify")
    itself = _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_UNMOUNT
    _checked(_libc.inotify_add_watch(fd, os.fsencode(path), itself), path)
    above = os.fsencode(os.path.dirname(os.path.realpath(path)))
    _libc.inotify_add_watch(fd, above, itself | _IN_DELETE | _IN_MOVED_FROM)  # fails if we may not read that one
    return fd


def end_with_parent() -> None:
    """Let the kernel kill this process when its parent ends."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")


def set_up_loopback() -> None:
    """Set `lo` up in our network namespace (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack_from("16sH", fcntl.ioctl(sock, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


def let_groups_be() -> None:
    """Let setgroups(2) do nothing and succeed, for this process and all below it.

    An ordinary user's namespace has no other groups, and the kernel rejects the call there. Programs that change to a
    user call it all the same: tcpdump would end (seccomp(2)). Nothing is done on other processors than these two.
    """
    arch, setgroups, seccomp = _SYSCALLS.get(os.uname().machine, (0, 0, 0))
    if not arch:
        return
    program = struct.pack(
        "=" + 6 * "HBBI",
        0x20, 0, 0, 4,  # load seccomp_data.arch
        0x15, 0, 3, arch,  # another one: allow
        0x20, 0, 0, 0,  # load seccomp_data.nr
        0x15, 0, 1, setgroups,  # another call: allow
        0x06, 0, 0, 0x50000,  # SECCOMP_RET_ERRNO, with no error
        0x06, 0, 0, 0x7FFF0000,  # SECCOMP_RET_ALLOW
    )  # fmt: skip
    buffer = ctypes.create_string_buffer(program, len(program))
    filters = ctypes.create_string_buffer(struct.pack("@HP", 6, ctypes.addressof(buffer)))
    # SECCOMP_SET_MODE_FILTER; SECCOMP_FILTER_FLAG_SPEC_ALLOW: it costs no speculation.
    _checked(_libc.syscall(seccomp, 1, 4, filters), "seccomp")


def execute(command: list[str], mask: Collection[int], environment: dict[str, str]) -> NoReturn:
    """Become a command: with this signal mask, and with these variables added to the environment."""
    try:
        let_groups_be()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execvpe(command[0], command, {**os.environ, **environment})
    except OSError as error:
        fail(f"{command[0]}: {error.strerror}")
    finally:
        os._exit(127)


class Signals:
    """Blocked signals, read from a descriptor (signalfd(2)).

    Attributes:
        fd: the descriptor.
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        mask, bits = (ctypes.c_ulong * (128 // ctypes.sizeof(ctypes.c_ulong)))(), 8 * ctypes.sizeof(ctypes.c_ulong)
        for number in numbers:
            mask[(number - 1) // bits] |= 1 << ((number - 1) % bits)
        self.fd = _checked(_libc.signalfd(-1, mask, _SFD_CLOEXEC), "signalfd")

    def read(self) -> tuple[int, bool]:
        """The next signal, and whether a process sent it. Else it is the terminal's, which the command has as well."""
        number, _, code = _WORDS_OF_SIGINFO.unpack_from(os.read(self.fd, 128))
        return number, code <= _SI_USER


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since the boot (proc(5), field 22 of stat)."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])


def exit_code(status: int) -> int:
    """The exit code for a status of waitpid(2), as shells have it: 128 + N when signal N ended the process."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def fail(text: str) -> int:
    """Print an error; return the exit code."""
    print(f"hoverboard: {text}", file=sys.stderr, flush=True)
    return FAILED
