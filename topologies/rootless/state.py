"""The state directory of an ordinary user's runs.

It is `$XDG_RUNTIME_DIR/hoverboard`, which is the user's alone and on no network. Without that variable it is
`/tmp/hoverboard-UID`, whose owner and rights are checked. A user who logs out loses the former.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hoverboard.contract.errors import MachineError

TMP = Path("/tmp")
RUNTIME = Path("/run/user")
_STEP = "set HOVERBOARD_STATE_DIR to a folder of yours on a local disk; or look at it, and remove it if it is yours"
# Locks and sockets there are not those of this machine.
_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "lustre", "gpfs"}


def default_dir(*, linger: bool = False) -> Path:
    """The state directory of this user.

    Args:
        linger: below /tmp, where it outlives the login.
    """
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if not linger and os.path.isabs(given) and is_private(Path(given)):
        return Path(given) / "hoverboard"
    return TMP / f"hoverboard-{os.getuid()}"


def all_dirs() -> list[Path]:
    """The places where runs of this user may be, the one for new runs first."""
    logged_in = RUNTIME / str(os.getuid())  # a shell of cron, su or sudo lacks the variable that names it
    runtime = [logged_in / "hoverboard"] if is_private(logged_in) else []
    lingering = default_dir(linger=True)
    # Anybody may have made a folder of this name in /tmp. It matters only if it is ours, or the only place.
    return list(dict.fromkeys([default_dir(), *runtime, *([lingering] if is_private(lingering) else [])]))


def is_private(folder: Path) -> bool:
    """Whether a folder is there, and is this user's alone."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def make(folder: Path) -> None:
    """Make a state directory for this user alone, or check the one that is there.

    Raises:
        MachineError: it is another user's, or others can read it, or it cannot be made, or is on a network file system.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        raise MachineError("the folder above it is not there", where=str(folder), next_step=_STEP) from None
    except OSError as error:
        what = f"the state directory cannot be made: {(error.strerror or 'unknown reason').lower()}"
        raise MachineError(what, where=str(folder), next_step=_STEP) from error
    check(folder)


def check(folder: Path) -> None:
    """Check that a state directory that is there is this user's alone, on a local disk, and not full.

    Raises:
        MachineError: it is not.
    """
    if not is_private(folder):
        raise MachineError("the state directory is not a folder of this user alone", where=str(folder), next_step=_STEP)
    if (kind := file_system(folder)) in _NETWORK_FILE_SYSTEMS:
        raise MachineError(
            f"the state directory is on {kind}, a network file system", where=str(folder), next_step=_STEP
        )
    found = os.statvfs(folder)
    if (found.f_blocks and not found.f_bavail) or (found.f_files and not found.f_favail):
        raise MachineError("there is no space left", where=str(folder), next_step="make room there")


def file_system(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The type of the file system that a folder is on, as mountinfo of proc(5) names it; "" if mountinfo lacks it."""
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.read_text().splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == wanted:
            return after.split()[0]
    return ""
