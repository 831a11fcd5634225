"""Writes the files that a command leaves for people: results, reports, captures.

Each file gets a random name first, and its own name by a rename: it is whole or not there, and no symbolic link is
followed. What `sudo` makes belongs to the user who called it. Root writes into no folder of another user.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from hoverboard import mapped_users
from hoverboard.contract.errors import InputError

_ID = re.compile(r"[0-9]{1,10}")
_NO_ID = 2**32 - 1  # means "leave it as it is" to the kernel
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# A file in place of /dev/stdout or /dev/null would break the machine; files in /dev/shm break nothing.
_SYSTEM = re.compile(r"/(proc|sys|dev(?!/shm))(/|$)")
_MOST_LINKS = 40  # in one path, as the kernel has it
_Missing = Literal["make", "raise", "stop"]  # what is done at the first folder that is missing; stop: above it


class RefusedPlaceError(InputError):
    """A place that is not written into: a folder or link there belongs to another user, or cannot be replaced."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A user and a group, by number."""

    uid: int
    gid: int


def caller() -> Owner:
    """The user that files are for: under `sudo` the user who called it, else the user of this process."""
    ids = [os.environ.get(name, "") for name in ("SUDO_UID", "SUDO_GID")]
    if (
        os.geteuid() == 0
        and not mapped_users.only_one()
        and all(_ID.fullmatch(one) and int(one) < _NO_ID for one in ids)
    ):
        return Owner(*map(int, ids))
    return Owner(os.geteuid(), os.getegid())


def make_folder(path: Path, *, mode: int = 0o777) -> None:
    """Make a folder, and those above it that are missing.

    Args:
        path: of the folder.
        mode: the rights of new folders; the umask takes from them.

    Raises:
        InputError: it is in, or is, a folder of another user, or a link of another user leads there.
        OSError: it cannot be made.
    """
    with _opened(path, "make", mode=mode):
        pass


def check_folder(path: Path) -> None:
    """Check, before there is anything to write, that we may write into a folder. Nothing is made.

    Args:
        path: of the folder; if it is missing, the nearest one above it is checked.

    Raises:
        InputError: as `make_folder`.
        OSError: something on the way is no folder, or cannot be opened.
    """
    with _opened(path, "stop"):
        pass


def write_file(folder: Path, name: str, data: str | bytes, *, mode: int = 0o666) -> None:
    """Write a file as a whole or not at all. The folder is made if it is missing.

    Args:
        folder: its folder.
        name: its name there; a file or link of that name is replaced.
        data: its content; text is written as UTF-8.
        mode: its rights; the umask takes from them.

    Raises:
        InputError: the folder, or a link that leads there, belongs to another user.
        OSError: the file cannot be written.
    """
    with _opened(folder, "make") as there:
        draft, fd = _new_file(there, mode, caller())
        _finish(there, draft, fd, name, data)


def write_own_file(folder: Path, name: str, data: str | bytes) -> None:
    """Write a file as `write_file` does, for the user of this process alone. The folder must be there."""
    with _opened(folder, "raise") as there:
        draft, fd = _new_file(there, 0o600, None)
        _finish(there, draft, fd, name, data)


def open_private(path: Path) -> int:
    """A descriptor of a new, empty file that only its owner can read. A file or link of that name is replaced.

    Raises:
        InputError, OSError: as `write_file`.
    """
    with _opened(path.parent, "raise") as there:
        draft, fd = _new_file(there, 0o600, caller())
        try:
            _rename(there, draft, path.name)
        except BaseException:
            os.close(fd)
            os.unlink(draft, dir_fd=there)
            raise
        return fd


def open_to_append(folder: Path, name: str) -> BinaryIO:
    """A file to read and to append to. It is made if it is missing.

    Raises:
        InputError: as `write_file`; or it is a link, no regular file, or has a second name.
        OSError: it cannot be opened.
    """
    with _opened(folder, "make") as there:
        with contextlib.suppress(FileExistsError):
            os.close(_new(there, _plain(name), 0o666, caller()))
        try:
            fd = os.open(name, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=there)
        except OSError as error:
            if not stat.S_ISLNK(os.stat(name, dir_fd=there, follow_symlinks=False).st_mode):
                raise
            raise _refused(folder / name, "this is a symbolic link") from error
    kind = os.fstat(fd)
    if not stat.S_ISREG(kind.st_mode) or kind.st_nlink != 1 or not _is_trusted(kind.st_uid):
        os.close(fd)
        raise _refused(folder / name, "this is not a file of yours alone")
    return os.fdopen(fd, "ab+")


def _plain(name: str) -> str:
    if "/" in name or name in ("", ".", ".."):
        raise ValueError(f"not the name of a file: {name!r}")
    return name


def _finish(there: int, draft: str, fd: int, name: str, data: str | bytes) -> None:
    """Write the data into a new file, and give the file its name."""
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
        _rename(there, draft, name)
    except BaseException:
        os.unlink(draft, dir_fd=there)
        raise


def _rename(there: int, draft: str, name: str) -> None:
    """Give a new file its name, in place of a file or link of that name, and of nothing else."""
    with contextlib.suppress(FileNotFoundError):
        kind = os.stat(_plain(name), dir_fd=there, follow_symlinks=False).st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISLNK(kind):
            raise RefusedPlaceError("this is no file that can be replaced", where=name, next_step="use another name")
    os.rename(draft, _plain(name), src_dir_fd=there, dst_dir_fd=there)


def _new_file(there: int, mode: int, owner: Owner | None) -> tuple[str, int]:
    """The random name and a descriptor of a new file."""
    draft = f".hoverboard-{secrets.token_hex(8)}"
    return draft, _new(there, draft, mode, owner)


def _new(there: int, name: str, mode: int, owner: Owner | None) -> int:
    """A descriptor of a new file of this owner; no file is left if it cannot be given away."""
    fd = os.open(name, _NEW, mode, dir_fd=there)
    try:
        _give(fd, owner)
    except BaseException:
        os.close(fd)
        os.unlink(name, dir_fd=there)
        raise
    return fd


def _give(fd: int, owner: Owner | None) -> None:
    if owner is not None and owner.uid != os.geteuid():
        os.fchown(fd, owner.uid, owner.gid)


@contextlib.contextmanager
def _opened(folder: Path, missing: _Missing, *, mode: int = 0o777) -> Iterator[int]:
    """A descriptor of a folder that we may write into."""
    there = _walk(folder, missing, mode)
    try:
        _check_owner(there, folder)
        if _SYSTEM.match(os.readlink(f"/proc/self/fd/{there}")):
            raise _refused(folder, "this folder is the system's, and not for files")
        yield there
    finally:
        os.close(there)


def _walk(folder: Path, missing: _Missing, mode: int) -> int:
    """Open a folder part by part, so that no other user can exchange a part after it was checked."""
    parts = list(reversed(Path.cwd().joinpath(folder).parts[1:]))
    here, links = os.open("/", _FOLDER), 0
    try:
        while parts:
            part = parts.pop()
            try:
                below = os.open(part, _FOLDER, dir_fd=here)
            except FileNotFoundError:
                if missing == "raise":
                    raise
                if missing == "stop":
                    return here
                _make(part, here, folder, mode)
                parts.append(part)
                continue
            except NotADirectoryError:
                target = _target(part, here, folder)
                links += 1
                if target is None or links > _MOST_LINKS:
                    raise
                if target.is_absolute():
                    os.close(here)
                    here = os.open("/", _FOLDER)
                parts += reversed(target.parts[1:] if target.is_absolute() else target.parts)
                continue
            os.close(here)
            here = below
    except BaseException as error:
        os.close(here)
        if isinstance(error, OSError) and error.filename is not None:
            error.filename = str(folder)
        raise
    return here


def _make(part: str, here: int, folder: Path, mode: int) -> None:
    """Make a folder, if its parent is ours."""
    _check_owner(here, folder)
    with contextlib.suppress(FileExistsError):
        os.mkdir(part, mode, dir_fd=here)
        fd = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
        try:
            _give(fd, caller())
        finally:
            os.close(fd)


def _target(part: str, here: int, folder: Path) -> Path | None:
    """Where a link leads; None if it is no link."""
    fd = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    try:
        found = os.fstat(fd)
        if not stat.S_ISLNK(found.st_mode):
            return None
        if not _is_trusted(found.st_uid):
            raise _refused(folder, f"the symbolic link {part!r} on the way there belongs to user {found.st_uid}")
        return Path(os.readlink("", dir_fd=fd))
    finally:
        os.close(fd)


def _check_owner(fd: int, folder: Path) -> None:
    uid = os.fstat(fd).st_uid
    if not _is_trusted(uid):
        raise _refused(folder, f"this folder, or one above it, belongs to user {uid}")


def _is_trusted(uid: int) -> bool:
    """Whether we may use what this user owns. The kernel decides for others than the machine's root."""
    return os.geteuid() != 0 or mapped_users.only_one() or uid in (0, caller().uid)


def _refused(path: Path, what: str) -> RefusedPlaceError:
    return RefusedPlaceError(
        what, where=str(path), next_step="give a folder of your own; as root, Hoverboard writes into no other user's"
    )
