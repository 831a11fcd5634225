"""The compiled code's cache: a change of any source it may have been made from gives it a new directory."""

from __future__ import annotations

import re
from pathlib import Path

import numba
import pytest

from hoverboard.contract.errors import MachineError
from hoverboard.fastpath.compiled import compiler


@pytest.mark.parametrize(
    "changed", ["fastpath/memory/packets.py", "fastpath/elements/parser.py", "contract/openflow/pipeline.py"]
)
def test_a_change_of_any_source_gives_a_new_cache(tmp_path, monkeypatch, changed):
    constants = [f"contract/{name}.py" for name in compiler.CONSTANTS_FROM]
    for name in ("fastpath/memory/packets.py", "fastpath/elements/parser.py", *constants):
        source = tmp_path / name
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text("SLOTS = 256\n")
    monkeypatch.setattr(compiler, "__file__", str(tmp_path / "fastpath" / "compiled" / "compiler.py"))
    before = compiler._state()
    assert compiler._state() == before
    (tmp_path / changed).write_text("SLOTS = 512\n")
    assert compiler._state() != before


def test_a_cache_that_others_can_write_is_refused(tmp_path, monkeypatch):
    cache = tmp_path / "new" / "cache"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    assert compiler._base_of_caches() == cache
    assert cache.stat().st_mode & 0o777 == 0o700
    for mode in (0o770, 0o707):
        cache.chmod(mode)
        with pytest.raises(MachineError, match="choose the code"):
            compiler._base_of_caches()


def test_a_cache_that_cannot_be_made_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(MachineError, match="no place for compiled code"):
        compiler._base_of_caches()


def test_numba_reads_no_configuration_from_the_current_directory(tmp_path, monkeypatch):
    (tmp_path / ".numba_config.yaml").write_text("cache_dir: /somewhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "ours")
    numba.core.config.reload_config()
    assert numba.config.CACHE_DIR == "ours"


def test_no_constant_comes_from_a_module_that_the_cache_does_not_watch():
    sources = Path(compiler.__file__).parents[1].rglob("*.py")
    imported = {
        name for path in sources for name in re.findall(r"hoverboard\.contract\.(openflow\.\w+|\w+)", path.read_text())
    }
    without = {"entities", "errors", "links", "packets"}  # types, exceptions, and what only Python calls
    assert {name.replace(".", "/") for name in imported - without} <= set(compiler.CONSTANTS_FROM)
