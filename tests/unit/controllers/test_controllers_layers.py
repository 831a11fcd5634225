"""Who may import what inside the control plane."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from controllers.vmc.models import MODELS

ROOT = Path(__file__).resolve().parents[3] / "controllers"
SOURCES = sorted(ROOT.rglob("*.py"))
# The pure part: neither sockets nor clocks nor threads.
PURE = [path for path in SOURCES if path.parent.name in ("vmc", "models") and path.name != "hosts.py"]
PURE += [ROOT / "fm" / name for name in ("fabric.py", "index.py", "codec.py", "queues.py", "slices.py")] + [
    ROOT / "ofe" / "fake.py",
    ROOT / "planning.py",
]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports(path: Path) -> None:
    found = set(imports(path))
    assert {name for name in found if name.split(".")[0] == "os_ken"} == set() or path == ROOT / "ofe" / "openflow.py"
    ours = {name for name in found if name.split(".")[0] in ("hoverboard", "topologies", "experiments", "console")}
    assert {name for name in ours if not name.startswith("hoverboard.contract")} == set()


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_is_pure(path: Path) -> None:
    impure = {"asyncio", "socket", "time", "threading", "os", "grpc", "subprocess", "random"}
    assert {name.split(".")[0] for name in imports(path)} & impure == set()


def models_known_to(path: Path) -> set[str]:
    """The modules with a programming model in them that a module imports."""
    models = {type(model).__module__ for model in MODELS.values()}
    return {name for name in imports(path) if name in models or name.rpartition(".")[0] in models}


def test_only_the_models_package_knows_a_model() -> None:
    inside = [path for path in SOURCES if path.parent.name == "models"]
    assert set().union(*(models_known_to(path) for path in inside)) >= {"controllers.vmc.models.gateway"}
    assert {str(path): found for path in SOURCES if path not in inside and (found := models_known_to(path))} == {}
