"""Every command, file and program that docs/ and CONTRIBUTING.md show, typed as it stands there.

`tests/documented.py` has the marks of the blocks. README has a test of its own (test_readme.py).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests import documented
from tests.documented import AS_ROOT, IN_CI, IN_LONG_RING, LONG, ROOT
from tests.system.privileges import ORDINARY
from topologies.processes.run_directory import run_names

PAGES = {page: documented.blocks(path) for page, path in documented.pages().items() if page != "README.md"}
# Their commands are about the checkout itself. All others are typed in a directory of the reader's own.
IN_THE_CHECKOUT = {"docs/testing.md", "docs/tour.md"}


def with_mark(*marks: str) -> list[str]:
    """The pages that have a block with one of these marks."""
    return [page for page, blocks in PAGES.items() if any(block.mark in marks for block in blocks)]


def type_page(page: str, marks: tuple[str, ...], state: Path, tmp_path: Path, seconds: float) -> None:
    """Type a page; nothing that it has brought up may be left."""
    if not ORDINARY:
        marks = (*marks, AS_ROOT)
    work = ROOT
    if page not in IN_THE_CHECKOUT:
        work = tmp_path / "work"
        work.mkdir()
        (work / "docs").symlink_to(ROOT / "docs")
    # The runs of a test are in a directory of its own, and not where the page says.
    found = [replace(block, text=block.text.replace("/run/hoverboard/", f"{state}/")) for block in PAGES[page]]
    documented.type_blocks(found, marks, work, documented.checkout_environment(tmp_path / "bin"), seconds=seconds)
    assert run_names(state) == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", with_mark(*IN_CI))
def test_what_takes_seconds(page: str, state: Path, tmp_path: Path) -> None:
    # After a change of the fast path, the first command compiles it.
    type_page(page, IN_CI, state, tmp_path, 300)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", with_mark(LONG))
def test_the_whole_page(page: str, state: Path, tmp_path: Path) -> None:
    type_page(page, IN_LONG_RING, state, tmp_path, 1800)
