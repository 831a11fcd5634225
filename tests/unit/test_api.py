"""docs/api.md lists the public names: each import works, and the list is what the packages' tables say, both ways."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hoverboard import errors
from hoverboard.contract import errors as tree

ROOT = Path(__file__).parents[2]
ROWS = re.findall(
    r"^\| `(\w+)` \| `(.+?)` \| (.+) \|$", (ROOT / "docs/api.md").read_text(encoding="utf-8"), re.MULTILINE
)
TABLES = (
    "topologies",
    "experiments",
    "controllers",
    "hoverboard.coprocessor",
    "controllers.testing",
    "hoverboard.testing",
)
SLOW = "numpy numba grpc os_ken mininet matplotlib pydantic"


def listed(package: str) -> list[str]:
    """Names of a package in the document, in order."""
    return [name for name, line, _ in ROWS if line.split()[1] == package]


@pytest.mark.parametrize(("name", "line"), [row[:2] for row in ROWS])
def test_an_import_that_is_listed_works(name: str, line: str) -> None:
    found: dict[str, object] = {}
    exec(line, found)
    assert re.fullmatch(rf"from [\w.]+ import {name}", line)
    assert inspect.ismodule(found[name]) or getattr(found[name], "__name__", "") == name


@pytest.mark.parametrize("package", TABLES)
def test_the_list_is_the_table(package: str) -> None:
    module = importlib.import_module(package)
    assert listed(package) == list(module.PUBLIC)
    assert set(module.PUBLIC) <= set(dir(module))


def test_the_list_has_all_errors() -> None:
    defined = {name for name, value in vars(tree).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert set(listed("hoverboard.errors")) == set(errors.__all__) == defined


def test_every_row_is_of_a_package_that_was_looked_at() -> None:
    assert {line.split()[1] for _, line, _ in ROWS} == {*TABLES, "hoverboard.errors"}


def test_a_package_costs_nothing_until_a_name_is_used() -> None:
    code = (
        f"import sys, {', '.join(TABLES)}, hoverboard.errors\n"
        "dir(topologies)\n"
        f"print(*set('{SLOW}'.split()) & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
