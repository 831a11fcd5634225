"""The compiled code's cache: a change of any source it may have been made from gives it a new directory."""

from __future__ import annotations

import pytest

from hoverboard.fastpath import compiler


@pytest.mark.parametrize("changed", ["fastpath/layout.py", "fastpath/elements/parser.py", "contract/pipeline.py"])
def test_a_change_of_any_source_gives_a_new_cache(tmp_path, monkeypatch, changed):
    for name in ("fastpath/layout.py", "fastpath/elements/parser.py", "contract/pipeline.py"):
        source = tmp_path / name
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text("SLOTS = 256\n")
    monkeypatch.setattr(compiler, "__file__", str(tmp_path / "fastpath" / "compiler.py"))
    before = compiler._cache_directory()
    assert compiler._cache_directory() == before
    (tmp_path / changed).write_text("SLOTS = 512\n")
    assert compiler._cache_directory() != before
