"""Numba's cache over our files: what was compiled is loaded by the next process, and never for another key."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import pytest

from hoverboard.fastpath.compiled import code_cache
from hoverboard.fastpath.compiled.code_cache import COMPOSED, keep, place_of
from hoverboard.fastpath.compiled.disk_cache import CodeStore

# A function of the fast path, called with two types; prints what was compiled.
PROGRAM = """
from numba.core import event
from hoverboard.fastpath.compiled import compile_events
from hoverboard.fastpath.compiled.compiler import compiled
names = []
compile_events.on_compile(names.append)
source = "def f(a):\\n    return a + a\\n"
space = {"__name__": "__main__"}
exec(compile(source, "<hoverboard.fastpath>/composed/test.py", "exec"), space)
f = compiled(space["f"])
print(f(1), f(1.5), len(names))
"""


def run(cache: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM], capture_output=True, text=True, check=True,
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
    )  # fmt: skip
    return done.stdout.strip()


def test_the_next_process_compiles_nothing(tmp_path: Path) -> None:
    assert run(tmp_path) == "2 3.0 2"
    assert len(list(tmp_path.rglob("*.nbc"))) == 2
    assert run(tmp_path) == "2 3.0 0"


def test_code_that_is_damaged_is_compiled_again(tmp_path: Path) -> None:
    """Numba's own cache ends with UnpicklingError or EOFError here."""
    run(tmp_path)
    first, second = list(tmp_path.rglob("*.nbc"))
    os.truncate(first, 100)
    os.truncate(second, 0)
    assert run(tmp_path) == "2 3.0 2"
    assert run(tmp_path) == "2 3.0 0"


def test_the_code_of_another_signature_is_not_loaded(tmp_path: Path) -> None:
    """As when two processes gave two signatures one file, which Numba's own cache allows."""
    run(tmp_path)
    first, second = list(tmp_path.rglob("*.nbc"))
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)
    assert run(tmp_path) == "2 3.0 2"


def kept(tmp_path: Path) -> tuple[Any, CodeStore]:
    store = CodeStore("0123", tmp_path / "shared", [tmp_path / "own"])

    def twice(a: int) -> int:
        return a + a

    made = numba.njit(twice)
    keep(made, store)
    return made, store


@pytest.mark.parametrize("library", ["numba", "llvmlite"])
def test_the_code_of_another_version_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    first, _ = kept(tmp_path)
    first(1)
    same, _ = kept(tmp_path)
    same(1)
    assert same.stats.cache_hits
    monkeypatch.setattr(getattr(code_cache, library), "__version__", "0.0")
    other, _ = kept(tmp_path)
    other(1)
    assert not other.stats.cache_hits
    assert len(list((tmp_path / "shared").rglob("*.nbc"))) == 2


def test_a_disk_that_takes_nothing_ends_no_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, store = kept(tmp_path)
    store.notify = lambda text: None
    (tmp_path / "shared").write_text("no folder")
    (tmp_path / "own").write_text("no folder")
    assert made(4) == 8


def test_a_plain_function_stays_one(tmp_path: Path) -> None:
    keep(run, CodeStore("0123", tmp_path, []))  # as with NUMBA_DISABLE_JIT
    assert not hasattr(run, "_cache")


def test_names_do_not_depend_on_where_the_checkout_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in ("one", "two"):
        monkeypatch.setattr(code_cache, "_PACKAGE", tmp_path / number / "fastpath")
        assert place_of(str(tmp_path / number / "fastpath" / "packets" / "parse.py")) == "fastpath_packets"
        assert place_of(str(tmp_path / number / "fastpath" / "datapath.py")) == "fastpath"
    assert place_of(f"{COMPOSED}/engines_1.py") == "composed"
    assert place_of("/somewhere/else.py") is None
