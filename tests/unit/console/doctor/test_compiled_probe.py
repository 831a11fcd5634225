"""The probe for the compiled fast path, on a cold and on a warm cache of its own: no fake in between."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ASK = "from console.doctor.probes import MachineProbes\nprint(MachineProbes().compiled_fast_path())"
# What a host process does when it has loaded its engines (hoverboard.fastpath.engine.threads.load).
LOADED = "from hoverboard.fastpath.engine import compose\ncompose.note_compiled({})\n"


def asked(cache: Path, before: str = "") -> str:
    """The probe's answer in a new process with this cache, after some other code."""
    done = subprocess.run(
        [sys.executable, "-c", before + ASK], capture_output=True, text=True, check=True,
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
    )  # fmt: skip
    return done.stdout.strip()


def test_cold_and_warm(tmp_path: Path) -> None:
    assert asked(tmp_path) == "False"
    assert asked(tmp_path, LOADED.format("('capture', 'latency')")) == "False", "other engines are no normal ones"
    assert asked(tmp_path, LOADED.format("()")) == "True"
    assert asked(tmp_path / "another") == "False"


def test_looking_makes_no_files(tmp_path: Path) -> None:
    assert asked(tmp_path) == "False"
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix == ".compiled"] == []


def test_the_cache_of_another_source_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(tmp_path, LOADED.format("()")) == "True"
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")  # as good as another source: it compiles to other code
    assert asked(tmp_path) == "False"
