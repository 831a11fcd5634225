"""Which unit test runs which line, and how long each test takes: measured once, kept in `.mutation/`, by test file.

The part of a file is measured again when the file changes, a source file that its tests ran, or a file that tests share.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path


@dataclasses.dataclass
class TestRun:
    """What one test did.

    Attributes:
        seconds: how long it took, under coverage.
        lines: source file, relative to the checkout -> lines that ran.
    """

    __test__ = False

    seconds: float
    lines: dict[str, list[int]]


@dataclasses.dataclass
class Covering:
    """The whole map.

    Attributes:
        runs: node id of a test -> what it did.
    """

    runs: dict[str, TestRun]

    def by_line(self, file: str) -> dict[int, set[str]]:
        """Line of a source file -> tests that run it."""
        found: dict[int, set[str]] = {}
        for test, run in self.runs.items():
            for line in run.lines.get(file, ()):
                found.setdefault(line, set()).add(test)
        return found

    def seconds(self, test: str) -> float:
        return self.runs[test].seconds if test in self.runs else 0.0


def file_of(test: str) -> str:
    """The file of a node id, relative to the checkout."""
    return test.partition("::")[0]


class Store:
    """Parts of the map on disk, one JSON file for each test file."""

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout
        self._directory = checkout / ".mutation" / "covering"
        self._digests: dict[str, str] = {}
        shared = sorted(path for path in (checkout / "tests").rglob("*.py") if not path.name.startswith("test_"))
        shared = [path for path in shared if "mutation" not in path.parts and "system" not in path.parts]
        self._shared = hashlib.sha256(b"".join(path.read_bytes() for path in shared)).hexdigest()

    def read(self, file: str) -> dict[str, TestRun] | None:
        """The part of a test file; None: it has to be measured."""
        try:
            data = json.loads(self._path(file).read_text())
        except (OSError, ValueError):
            return None
        if any(self._digest(name) != digest for name, digest in data["rests_on"].items()):
            return None
        return {test: TestRun(run["seconds"], run["lines"]) for test, run in data["runs"].items()}

    def write(self, file: str, runs: Mapping[str, TestRun]) -> None:
        """Keep a part that was just measured."""
        sources = {name for run in runs.values() for name in run.lines}
        rests_on = {name: self._digest(name) for name in (file, "", *sorted(sources))}
        path = self._path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        data = {"rests_on": rests_on, "runs": {test: dataclasses.asdict(run) for test, run in runs.items()}}
        path.with_suffix(".new").write_text(json.dumps(data))
        path.with_suffix(".new").replace(path)

    def _path(self, file: str) -> Path:
        return self._directory / (file.replace("/", "-") + ".json")

    def _digest(self, name: str) -> str:
        """Of a file's text; "" stands for what tests share."""
        if not name:
            return self._shared
        if name not in self._digests:
            path = self._checkout / name
            self._digests[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "gone"
        return self._digests[name]


def in_order(tests: Iterable[str], covering: Covering, own: Iterable[str]) -> list[str]:
    """Tests of the module's own files first, then the quick ones."""
    first = set(own)
    return sorted(tests, key=lambda test: (file_of(test) not in first, covering.seconds(test), test))
