"""The place of compiled code on disk: a directory that can be written, and names that depend on no absolute path.

The environment may be read-only (an image, a mounted disk). Numba also writes where it only has to read, so its cache
is then copied to a directory of our own user. The copy serves because a name in it comes from the place of a source in
its package. It does not depend on the path of the checkout or of the cache.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from numba import config
from numba.core import caching

from hoverboard.contract.errors import MachineError

_PACKAGE = Path(__file__).parents[1]
_RUN = Path("/run")


def writable(path: Path) -> bool:
    """Whether we may make or change files in a directory, which need not exist yet."""
    while not path.exists():
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def own_places() -> list[Path]:
    """Directories for a cache of our own user, the best first."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    temporary = Path(tempfile.gettempdir()) / f"hoverboard-{os.geteuid()}"
    return [home / "hoverboard" / "numba", _RUN / "hoverboard-numba", temporary]


def choose(shared: Path, own: Sequence[Path]) -> Path:
    """The directory for compiled code: `shared`, or a copy of it in the first usable directory of `own`.

    Args:
        shared: the directory in the environment; its name says of which state of the source the code is.
        own: directories to use when `shared` is read-only.

    Raises:
        MachineError: none of them can be written.
    """
    if writable(shared):
        return shared
    for place in own:
        if not writable(place):
            continue
        try:
            _make_private(place)
            return _copied(shared, place / shared.name)
        except OSError:
            continue  # it belongs to another user, or its disk is full
    raise MachineError(
        f"there is no place for compiled code: neither {shared} nor {', '.join(map(str, own))} can be written",
        next_step="set NUMBA_CACHE_DIR to a directory that can be written",
    )


def _make_private(path: Path) -> None:
    """Make a directory that no other user can write; compiled code in it runs as our user.

    Raises:
        OSError: it cannot be made, or is not ours alone.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(f"{path} can be written by others")


def _copied(shared: Path, to: Path) -> Path:
    """`to`, made as a copy of `shared` if it does not exist; as a whole, because others may do the same."""
    if to.is_dir() or not shared.is_dir():
        to.mkdir(mode=0o700, exist_ok=True)
        return to
    draft = Path(tempfile.mkdtemp(prefix="draft-", dir=to.parent))
    try:
        shutil.copytree(shared, draft, dirs_exist_ok=True, copy_function=shutil.copyfile)
        os.chmod(draft, 0o700)
        draft.rename(to)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not to.is_dir():  # else another process was faster
            raise
    return to


class PlacedLocator(caching.UserProvidedCacheLocator):
    """Gives Numba the place of a function's compiled code, for sources of the fast path and composed engines.

    `numba.config.CACHE_LOCATOR_CLASSES` names this class. Sources of others get Numba's own places.
    """

    @classmethod
    def get_suitable_cache_subpath(cls, py_file: str) -> str:
        """The name of the directory in the cache: the place of the source in its package."""
        return "_".join(_place_of(py_file) or ("", ""))

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> PlacedLocator | None:
        """The locator of a function; None for a source of others."""
        if _place_of(py_file) is None:
            return None
        return cast("PlacedLocator | None", super().from_function(py_func, py_file))


def _place_of(py_file: str) -> tuple[str, str] | None:
    directory = Path(py_file).absolute().parent
    for base, name in ((_PACKAGE, "fastpath"), (Path(config.CACHE_DIR), "cache")):
        if directory.is_relative_to(base):
            return name, "_".join(directory.relative_to(base).parts) or "top"
    return None


LOCATORS = (
    f"{__name__}.{PlacedLocator.__name__}",
    *(kind.__name__ for kind in caching.CacheImpl._locator_classes),
)
