"""The places of compiled code on disk: read from all that can be trusted, written to the first that takes it.

What `bootstrap.sh` compiled for a machine is read where it is, also by users who cannot write it. Only what is missing
there is compiled, and kept in a directory of the user's own. A file that is not whole does not count: each has a
checksum, and is written under another name first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hoverboard.fastpath.compiled.trust import read_trusted, trusted
from hoverboard.mapped_users import outside_uid, some_are_missing

_MAGIC = b"hoverboard code 1\n"
_SUM = hashlib.sha256().digest_size
_RUN = Path("/run")


@dataclass(frozen=True, slots=True)
class Place:
    """A directory of compiled code, which need not exist.

    Attributes:
        path: of the directory.
        ours: it is made for our user alone. Else all users may read it, whatever the umask.
    """

    path: Path
    ours: bool = True


def writable(path: Path) -> bool:
    """Whether we may make or change files in a directory, which need not exist yet."""
    while not path.exists():
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def own_places() -> list[Path]:
    """Directories for compiled code of our own user, the best first.

    A home folder counts if it is our own: with `sudo` it may be another user's. /run of a user namespace ends with a
    run. The directory in /tmp has the number that our user has outside, so that it is the same for all runs.
    """
    places = []
    with contextlib.suppress(RuntimeError, OSError):  # there is no home folder, or it does not answer
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "")
        if not cache.is_absolute():
            cache = Path.home() / ".cache"
        if _nearest(cache).stat().st_uid == os.geteuid():
            places.append(cache / "hoverboard" / "numba")
    if os.geteuid() == 0 and not some_are_missing():
        places.append(_RUN / "hoverboard-numba")
    return [*places, Path(tempfile.gettempdir()) / f"hoverboard-cache-{outside_uid()}" / "numba"]


def _nearest(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _say(text: str) -> None:
    print(f"hoverboard: {text}", file=sys.stderr, flush=True)


class CodeStore:
    """Files of compiled code by name, in several places.

    Attributes:
        notify: gets a sentence, once, when code is kept in the last place, or nowhere.

    Args:
        state: name of the directory in each place; it says of which state of the sources the code is.
        shared: the place of all users of this environment.
        own: directories of our own user, the best first, the last one for want of a home. They are made when there is
            something to keep.
    """

    def __init__(self, state: str, shared: Path, own: Sequence[Path]) -> None:
        self._state = state
        self._shared = shared
        self._own = list(own)
        self._told = False
        self._bases: dict[Path, bool] = {}
        self.notify: Callable[[str], None] = _say

    @property
    def directory(self) -> Path:
        """Where the next file goes, as far as can be seen without making it."""
        for place in self._places_to_write():
            if writable(place.path):
                return place.path / self._state
        return self._shared / self._state

    def read(self, name: str) -> bytes | None:
        """The content of a file, or None if no place has it whole."""
        for base in (self._shared, *self._own):
            if not self._is_trusted(base):
                continue
            data = read_trusted(base / self._state / name, base)
            if data is not None and data.startswith(_MAGIC):
                content = data[len(_MAGIC) + _SUM :]
                if hashlib.sha256(content).digest() == data[len(_MAGIC) : len(_MAGIC) + _SUM]:
                    return content
        return None

    def write(self, name: str, content: bytes) -> bool:
        """Keep a file for later processes; says whether a place took it. A full disk is no error."""
        data = _MAGIC + hashlib.sha256(content).digest() + content
        fault: OSError | None = None
        for place in self._places_to_write():
            try:
                _write(place, Path(self._state) / name, data)
            except OSError as error:
                fault = fault or error
                continue
            self._bases.pop(place.path, None)  # it may have been missing until now
            if place.path in self._own[-1:]:
                self._tell(f"compiled code is kept in {place.path}: you have no home folder that can be written")
            return True
        reason = f" ({fault.strerror})" if fault else ""
        self._tell(
            f"compiled code cannot be kept{reason}: each start compiles for a minute or two; make room, or set "
            "NUMBA_CACHE_DIR to a directory that can be written"
        )
        return False

    def _is_trusted(self, base: Path) -> bool:
        known = self._bases.get(base)  # once: another thread may forget it after its write
        if known is None:
            known = self._bases[base] = trusted(base)
            if base == self._shared and base.is_dir() and not known:
                self._tell(f"compiled code in {base} is not used, because others can write it; chmod -R go-w {base}")
        return known

    def _places_to_write(self) -> Iterable[Place]:
        if writable(self._shared) and (self._is_trusted(self._shared) or not self._shared.exists()):
            yield Place(self._shared, ours=False)
        yield from map(Place, self._own)

    def _tell(self, text: str) -> None:
        if not self._told:
            self._told = True
            self.notify(text)


def _write(place: Place, name: Path, data: bytes) -> None:
    """Write a file in a place, whole or not at all.

    Raises:
        OSError: it cannot be written, or others can write the place.
    """
    _make(place.path, place.ours)
    for above in reversed(list(name.parents)[:-1]):
        folder = place.path / above
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            folder.chmod(0o700 if place.ours else 0o755)
        if folder.stat().st_mode & 0o022:  # Numba made it, for a function of others, by a umask that lets others write
            folder.chmod(0o755)
    file = place.path / name
    draft = file.with_name(f".{secrets.token_hex(8)}.draft")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as out:
            out.write(data)
            os.fchmod(out.fileno(), 0o600 if place.ours else 0o644)
        draft.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def _make(path: Path, ours: bool) -> None:
    """Make the directory of a place; one that is there has to be trusted, and no link.

    Raises:
        OSError: it cannot be made, or others can write it.
    """
    for above in reversed([path, *path.parents]):
        # Folders of others, such as ~/.cache, are made as their owner would have them: no other user reads them.
        with contextlib.suppress(FileExistsError):
            above.mkdir(mode=0o700)
            if not ours:
                above.chmod(0o755)
    # A link counts as its owner's: in /tmp others can make one in our place.
    for place in (path, path.parent) if ours else (path,):
        if not trusted(place) or (ours and place.lstat().st_uid != os.geteuid()):
            raise PermissionError(1, f"{place} is another user's, or can be written by others", str(place))
