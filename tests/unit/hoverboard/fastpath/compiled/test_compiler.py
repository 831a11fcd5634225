"""The compiled code's cache: a change of any source it may have been made from gives it a new directory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
    before = compiler._cache_directory()
    assert compiler._cache_directory() == before
    (tmp_path / changed).write_text("SLOTS = 512\n")
    assert compiler._cache_directory() != before


def test_no_constant_comes_from_a_module_that_the_cache_does_not_watch():
    sources = Path(compiler.__file__).parents[1].rglob("*.py")
    imported = {
        name for path in sources for name in re.findall(r"hoverboard\.contract\.(openflow\.\w+|\w+)", path.read_text())
    }
    without = {"entities", "errors", "packets"}  # types, exceptions, and what only Python calls
    assert {name.replace(".", "/") for name in imported - without} <= set(compiler.CONSTANTS_FROM)
