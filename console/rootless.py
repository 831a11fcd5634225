"""Where a command runs: root's run on the machine, an ordinary user's in namespaces of that user's own.

A command that makes a run becomes the same command in new namespaces. One that needs to be inside of a run becomes the
same command in the namespaces of that run. Both are done by exec: a process with threads cannot enter a user namespace.
"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import NoReturn

from console import own_terminal
from hoverboard import mapped_users
from hoverboard.contract.errors import MachineError, RunError

OPTION = "--rootless"
_ASKED = "HOVERBOARD_ROOTLESS"  # set where root became an ordinary user: the verbs that follow need the option, too
# Where no account is: a range of uids that Debian gives to nobody, and systemd to dynamic users.
_FIRST_FREE_UID, _LAST_FREE_UID = 61184, 65519
# Set for a command that goes on in namespaces; what that command starts is another one.
_GOES_ON = "HOVERBOARD_GOES_ON"
_LOGIN = ("HOME", "USER", "LOGNAME", "MAIL", "SHELL", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR")
_went_on = False  # this process is such a command: `begin` reads it


def begin() -> None:
    """Note at the start of a command whether it is one that goes on in namespaces."""
    global _went_on
    _went_on = os.environ.pop(_GOES_ON, None) is not None


def goes_on() -> bool:
    """Whether this command began outside of the namespaces that it is in now."""
    return _went_on


def enter_new(*, stay: bool = False, linger: bool = False) -> None:
    """Let an ordinary user's command go on in new namespaces; return at once for root, and if we are in some already.

    Args:
        stay: the namespaces stay until the last process in them has ended. Else all end with the command.
        linger: keep the files of runs below /tmp, where they outlive the login.

    Raises:
        MachineError: an ordinary user cannot have a run on this machine, or the state directory is refused.
    """
    if os.geteuid() == 0:
        return
    from hoverboard.fastpath.compiled import trust
    from topologies.processes.run_directory import ready_state
    from topologies.rootless import namespaces

    namespaces.check_machine()
    trust.judge(os.environ)  # here owners can be told apart, and inside they cannot
    _execute(namespaces.new(_this_command(), ready_state(linger=linger), stay=stay))


def enter_run(run: str) -> None:
    """Let the command go on in the namespaces of a run; return at once if it is root's, or if we are in there already.

    Raises:
        RunError: nothing of the run is alive, or it is in namespaces that are not to be seen from here.
    """
    from topologies.client import user_runs
    from topologies.processes.run_directory import existing
    from topologies.rootless import namespaces

    directory = existing(run)
    first = user_runs.first_of(directory)
    if first is None:
        return
    if not user_runs.is_alive(first, directory):
        raise RunError(
            f"all processes of run {run!r} have ended", where=str(directory.path),
            next_step=f"remove what is left with: hoverboard down --run {run}",
        )  # fmt: skip
    os.environ["HOVERBOARD_RUN"] = run  # which of several was meant is settled
    os.environ["HOVERBOARD_STATE_DIR"] = str(directory.path.parent)
    _execute(namespaces.joining(first, _this_command()))


def _this_command() -> list[str]:
    return [sys.executable, "-P", *sys.orig_argv[1:]]


def _execute(command: list[str]) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os.environ[_GOES_ON] = "1"
    os.execvp(command[0], command)


def become_ordinary() -> None:
    """Give root up for good: become the user who called `sudo`, or a uid that owns nothing.

    Raises:
        MachineError: that user cannot read the checkout or the environment.
    """
    if os.geteuid() != 0 or mapped_users.only_one():  # in the namespaces, the command line is the same
        return
    from hoverboard.safe_files import caller

    found = caller()
    uid, gid = (found.uid, found.gid) if found.uid else (free_uid(), 0)
    gid = gid or uid
    name, home = str(uid), f"/tmp/hoverboard-{uid}"
    own_terminal.take()  # from here on another process, without root's terminal and files
    try:
        account = pwd.getpwuid(uid)
        name, home = account.pw_name, account.pw_dir
        os.initgroups(name, gid)
    except KeyError:
        os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    for variable in (*_LOGIN, "SUDO_UID", "SUDO_GID", "SUDO_USER", "SUDO_COMMAND"):
        os.environ.pop(variable, None)
    os.environ.update({"HOME": home, "USER": name, "LOGNAME": name, _ASKED: "1"})
    if os.access(runtime := f"/run/user/{uid}", os.W_OK):
        os.environ["XDG_RUNTIME_DIR"] = runtime
    _check_readable(name)


def _check_readable(name: str) -> None:
    """Check that we, an ordinary user now, can read what we run."""
    for path in (Path(__file__), Path(sys.prefix) / "bin" / "python"):
        if not os.access(path, os.R_OK):
            raise MachineError(
                f"user {name} cannot read it", where=str(path),
                next_step="put the checkout where that user can read it, and set it up again: ./bootstrap.sh",
            )  # fmt: skip


def command() -> str:
    """The word or words with which a verb for this run begins."""
    return f"hoverboard {OPTION}" if os.environ.get(_ASKED) else "hoverboard"


def free_uid() -> int:
    """The first uid of the range that no account of this machine has."""
    taken = {one.pw_uid for one in pwd.getpwall()}
    return next(uid for uid in range(_FIRST_FREE_UID, _LAST_FREE_UID) if uid not in taken)
