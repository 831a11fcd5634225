"""Who may import whom (design section 1), read from the source by its syntax tree: nothing is imported here.

    console -> experiments -> topologies -> controllers -> hoverboard

A layer imports only what stands below it; controllers/ takes only hoverboard.contract; inside hoverboard/ only
hoverboard/host imports the other parts; everything may import hoverboard.contract, which imports nothing of ours.
hoverboard.rpc is for those two who speak it: hoverboard/host and topologies/.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# From the top down.
LAYERS = ("console", "experiments", "topologies", "controllers", "hoverboard")


def imported(source: str, module: str, *, package: bool) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports, wherever in it the import stands.

    Args:
        source: text of the module.
        module: its dotted name.
        package: whether it is the `__init__` of `module`.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                above = parts[: len(parts) - node.level + package]
                base = ".".join([*above, base] if base else above)
            # `from a import b`: b may be a module of its own.
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            name = node.args[0]
            if called in {"import_module", "__import__"} and isinstance(name, ast.Constant):
                yield node.lineno, str(name.value)


def part(module: str) -> str:
    """The piece of hoverboard/ that a module belongs to: `hoverboard.host.control.host_client` -> `host`; "" for the
    package."""
    return (module.split(".") + [""])[1]


def fault(module: str, target: str, parts: frozenset[str]) -> str | None:
    """Why `module` may not import `target`; None when it may.

    Args:
        parts: names of the pieces of hoverboard/.
    """
    layer, target_layer = module.split(".")[0], target.split(".")[0]
    if target_layer not in LAYERS:
        return None
    if LAYERS.index(target_layer) < LAYERS.index(layer):
        return f"{layer}/ stands below {target_layer}/"
    if layer == "controllers" and target_layer == "hoverboard" and part(target) != "contract":
        return "controllers/ takes only hoverboard.contract"
    if target_layer == "hoverboard" and part(target) == "rpc" and layer not in {"topologies", "hoverboard"}:
        return "hoverboard.rpc is for hoverboard/host and topologies/"
    if layer == "hoverboard":
        mine, its = part(module), part(target)
        if its not in parts or its in {mine, "contract"} or mine == "host":
            # `from hoverboard import x`, where x is no part, or what is always allowed.
            return "hoverboard.contract imports nothing of ours" if mine == "contract" and its != "contract" else None
        return "in hoverboard/ only host/ knows the other parts"
    return None


def violations(sources: dict[str, tuple[str, bool]]) -> list[str]:
    """All forbidden imports of a source tree.

    Args:
        sources: dotted name -> (text, whether it is a package's `__init__`).
    """
    parts = frozenset(part(module) for module in sources if module.startswith("hoverboard.")) | {"contract"}
    found = []
    for module, (source, package) in sources.items():
        for line, target in imported(source, module, package=package):
            reason = fault(module, target, parts)
            if reason:
                found.append(f"{module}:{line} imports {target}: {reason}")
    return found


def source_tree() -> dict[str, tuple[str, bool]]:
    """All modules of the five layers."""
    found = {}
    for layer in LAYERS:
        for path in sorted((ROOT / layer).rglob("*.py")):
            names = path.relative_to(ROOT).with_suffix("").parts
            package = names[-1] == "__init__"
            found[".".join(names[:-1] if package else names)] = (path.read_text(encoding="utf-8"), package)
    return found


def test_every_layer_is_there() -> None:
    assert {module.split(".")[0] for module in source_tree()} == set(LAYERS)


def test_imports_go_downward_only() -> None:
    assert violations(source_tree()) == []


# What hoverboard/ consists of in the examples below.
PARTS = {f"hoverboard.{name}": ("", True) for name in ("contract", "fastpath", "vswitch", "host", "rpc")}


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("hoverboard.host.x", "import topologies.run.testbed", "stands below"),
        ("hoverboard.contract.x", "from controllers import program", "stands below"),
        ("topologies.x", "from experiments.tools.iperf import run", "stands below"),
        ("experiments.x", "import console", "stands below"),
        ("controllers.x", "from hoverboard.host.control import host_client as client", "only hoverboard.contract"),
        ("controllers.x", "from hoverboard import host", "only hoverboard.contract"),
        ("controllers.x", "import hoverboard", "only hoverboard.contract"),
        ("hoverboard.fastpath.x", "from hoverboard.vswitch.ovs import Switch", "only host/"),
        ("hoverboard.fastpath.x", "from hoverboard import vswitch", "only host/"),
        ("hoverboard.fastpath.x", "from ..vswitch import ovs", "only host/"),
        ("hoverboard.vswitch.x", "import hoverboard.host.control.host_client as c", "only host/"),
        ("hoverboard.contract.x", "from hoverboard.host.control import host_client as client", "only host/"),
        ("hoverboard.rpc.x", "from hoverboard.host import process", "only host/"),
        ("hoverboard.rpc.x", "from hoverboard.vswitch.ovs import Ovs", "only host/"),
        ("hoverboard.rpc.x", "import topologies.client.run_client", "stands below"),
        ("hoverboard.fastpath.x", "from hoverboard.rpc.client import Client", "only host/"),
        ("hoverboard.contract.x", "from hoverboard.rpc import errors", "only host/"),
        ("controllers.x", "from hoverboard.rpc.client import Client", "only hoverboard.contract"),
        ("experiments.x", "from hoverboard.rpc.client import Client", "hoverboard.rpc is for"),
        ("console.x", "from hoverboard import rpc", "hoverboard.rpc is for"),
        ("hoverboard.contract.x", "from hoverboard import __version__", "imports nothing of ours"),
        ("topologies.x", "def late():\n    from console import cli", "stands below"),
        ("topologies.x", "if TYPE_CHECKING:\n    import experiments", "stands below"),
        ("topologies.x", "importlib.import_module('console.cli')", "stands below"),
    ],
)
def test_the_check_catches(module: str, source: str, reason: str) -> None:
    (found,) = violations(PARTS | {module: (source, False)})
    assert found.startswith(f"{module}:")
    assert reason in found


@pytest.mark.parametrize(
    ("module", "source", "package"),
    [
        (
            "console.x",
            "import topologies.client.run_client\nfrom experiments import demo\nimport hoverboard.host.control.host_client",
            False,
        ),
        (
            "topologies.x",
            "from hoverboard.host.control.host_client import NurseryClient\nfrom controllers.fm import client",
            False,
        ),
        (
            "controllers.x",
            "from hoverboard.contract import entities\nimport hoverboard.contract.openflow.pipeline",
            False,
        ),
        ("hoverboard.host.x", "from hoverboard.fastpath import engine\nfrom hoverboard.vswitch import ovs", False),
        (
            "hoverboard.fastpath.x",
            "from hoverboard.contract.openflow import flow\nfrom . import ring\nimport numpy",
            False,
        ),
        ("hoverboard.fastpath", "from .engine import run", True),
        ("hoverboard.contract", "from . import entities", True),
        ("hoverboard.rpc.x", "from hoverboard.contract.errors import RunError\nfrom . import messages", False),
        ("hoverboard.host.x", "from hoverboard.rpc.server import Server", False),
        ("topologies.x", "from hoverboard.rpc.errors import error_to_json", False),
    ],
)
def test_the_check_allows(module: str, source: str, package: bool) -> None:
    assert violations(PARTS | {module: (source, package)}) == []
