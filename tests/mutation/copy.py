"""The checkout that mutants run in, kept as it is: a mutant may delete or write files of it."""

from __future__ import annotations

import os
from pathlib import Path


class Copy:
    """Remembers all files of a checkout that may be harmed, but for `.mutation/`."""

    def __init__(self, checkout: Path) -> None:
        self._kept: dict[Path, tuple[bytes, os.stat_result]] = {}
        for folder, names, files in os.walk(checkout):
            names[:] = [name for name in names if name not in (".git", ".mutation", "__pycache__")]
            for file in files:
                path = Path(folder, file)
                self._kept[path] = (path.read_bytes(), path.stat())

    def restore(self) -> list[Path]:
        """Bring back what has gone or is another; those files."""
        harmed = [path for path, (_, known) in self._kept.items() if not _same(path, known)]
        for path in harmed:
            data, known = self._kept[path]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(known.st_mode)
            os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))  # Numba's cache goes by it
        return harmed


def _same(path: Path, known: os.stat_result) -> bool:
    try:
        now = path.stat()
    except OSError:
        return False
    return (now.st_size, now.st_mtime_ns, now.st_mode) == (known.st_size, known.st_mtime_ns, known.st_mode)
