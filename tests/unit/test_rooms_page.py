"""docs/architecture.md lists each room with the sentence that its `__init__` begins with."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAYERS = ("console", "experiments", "topologies", "controllers", "hoverboard", "benchmarks")
ROW = re.compile(r"^\| `([a-z_/]+)/` \| (.+) \|$", re.MULTILINE)


def rooms() -> dict[str, str]:
    """Folder -> first line of its docstring, of all packages with Python modules in them."""
    return {
        str(init.parent.relative_to(ROOT)): (ast.get_docstring(ast.parse(init.read_text())) or "").partition("\n")[0]
        for layer in LAYERS
        for init in (ROOT / layer).rglob("__init__.py")
    }


def test_the_page_lists_every_room_with_its_sentence() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    section = page[page.index("\n## Rooms\n") :].partition("\n## ")[2].partition("\n## ")[0]
    assert dict(ROW.findall(section)) == rooms()


def test_a_room_is_told_in_one_sentence() -> None:
    assert {room for room, sentence in rooms().items() if not sentence.endswith(".")} == set()
