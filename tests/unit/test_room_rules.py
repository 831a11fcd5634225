"""Each rule of the house's rooms is shown to fail, on made-up sources."""

from __future__ import annotations

import pytest

from tests.unit.room_rules import (
    LONGEST,
    MOST,
    OLD_PATHS,
    circles,
    forbidden,
    grown_old_paths,
    ill_sized,
    impurities,
    moved_and_not_pure,
    pure_files,
    strangers,
    too_long,
    two_faced,
    unmirrored,
    without_a_room,
    without_a_row,
)
from tests.unit.source_tree import Source, Tree, source_tree
from tests.unit.test_layering import PURE_FILES, ROOMS


@pytest.fixture(scope="module")
def tree() -> Tree:
    return source_tree()


@pytest.fixture(scope="module")
def bare(tree: Tree) -> Tree:
    """The modules that there are, with nothing in them."""
    return {module: Source("", source.package) for module, source in tree.items()}


def test_a_room_without_a_row_and_a_row_without_a_room_are_found(bare: Tree) -> None:
    room = {"hoverboard.cellar": Source("", package=True), "hoverboard.cellar.x": Source("")}
    assert without_a_row(ROOMS, bare | room) == ["hoverboard.cellar"]
    assert without_a_row(ROOMS, bare | {"hoverboard.attic.x": Source("")}) == ["hoverboard.attic"]  # has no `__init__`
    gone = {module: source for module, source in bare.items() if module != "controllers.vmc.view"}
    assert without_a_room(ROOMS, gone) == ["controllers.vmc.view"]


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("hoverboard.host.x", "import topologies.net", "stands above"),
        ("hoverboard.contract.x", "from controllers import program", "stands above"),
        ("topologies.spec.x", "from experiments.tools.iperf import run", "stands above"),
        ("experiments.tools.x", "import console.cli", "stands above"),
        ("topologies.spec.x", "from topologies.run import testbed", "stands above"),
        ("topologies.processes.x", "from topologies.emulation.links import Link", "stands above"),
        ("experiments.frame.x", "from experiments.catalog import cpu", "stands above"),
        ("hoverboard.fastpath.memory.x", "from hoverboard.fastpath.packets import ring", "stands above"),
        ("controllers.vmc.view.x", "from controllers.vmc.core import ControllerCore", "stands above"),
        ("controllers.x", "from hoverboard.host.control import agent_session", "may import only"),
        ("controllers.vmc.x", "from hoverboard.vswitch import ovs", "may import only"),
        ("hoverboard.fastpath.engine.x", "from hoverboard.vswitch.ovs import Switch", "may import only"),
        ("hoverboard.fastpath.engine.x", "from ...vswitch import ovs", "may import only"),
        ("hoverboard.coprocessor.x", "import hoverboard.vswitch.ovs as o", "may import only"),
        ("hoverboard.contract.x", "from hoverboard.host.control import agent_session", "stands above"),
        ("hoverboard.contract.links.x", "from hoverboard.contract.wire import fabric_pb2", "nothing of ours"),
        ("topologies.spec.x", "def late():\n    from console import cli", "stands above"),
        ("topologies.spec.x", "if TYPE_CHECKING:\n    import experiments.figures", "stands above"),
        ("topologies.spec.x", "importlib.import_module('console.cli')", "stands above"),
        ("controllers.vmc.x", "from controllers.vmc.models.gateway import GatewayModel", "itself"),
    ],
)
def test_a_forbidden_import_is_found(bare: Tree, module: str, source: str, reason: str) -> None:
    (found,) = forbidden(ROOMS, bare | {module: Source(source)})
    assert found.startswith(f"{module}:")
    assert reason in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("topologies.spec.x", "from topologies import Testbed"),
        ("experiments.tools.x", "if TYPE_CHECKING:\n    from experiments import Sample"),
        ("controllers.vmc.x", "from controllers import OffloadPolicy"),
        ("hoverboard.contract.x", "import hoverboard.coprocessor"),
    ],
)
def test_a_face_is_not_imported_from_below(tree: Tree, module: str, source: str) -> None:
    (found,) = forbidden(ROOMS, tree | {module: Source(source)})
    assert "stands above" in found


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("from topologies.net import HoverboardNet\nPUBLIC = {}", "imports topologies.net"),
        ("def late():\n    import numpy\nPUBLIC = {}", "imports numpy"),
        ('PUBLIC = {"load": "topologies.spec.schema"}', "tells type checkers {}"),
        ("PUBLIC = {}\nif TYPE_CHECKING:\n    from topologies.net import HoverboardNet", "its table has {}"),
    ],
)
def test_a_face_that_imports_or_differs_from_its_table_is_found(tree: Tree, source: str, reason: str) -> None:
    found = two_faced(tree | {"topologies": Source(source, package=True)})
    assert any(reason in one for one in found)


def test_an_old_path_that_imports_or_is_imported_is_found(tree: Tree) -> None:
    old = OLD_PATHS[0]
    imports = {old: Source("from hoverboard.fastpath.engine import compose")}
    assert grown_old_paths(tree | imports) == [f"{old}:1 imports hoverboard.fastpath.engine.compose"]
    imported_by = {"hoverboard.host.x": Source("from hoverboard.fastpath import compose")}
    assert grown_old_paths(tree | imported_by) == [f"hoverboard.host.x:1 imports {old}"]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("console.verbs.x", "import topologies.client.run_client\nfrom experiments.demo import demo"),
        ("topologies.run.x", "from hoverboard.host.control.host_client import NurseryClient"),
        ("controllers.vmc.x", "from hoverboard.contract import entities\nimport hoverboard.contract.openflow.pipeline"),
        ("controllers.vmc.x", "from controllers.vmc.models import MODELS"),
        ("hoverboard.host.x", "from hoverboard.fastpath.engine import threads\nfrom hoverboard.vswitch import ovs"),
        ("hoverboard.fastpath.packets.x", "from hoverboard.contract.openflow import flow\nfrom . import ring"),
        ("experiments.catalog.x", "from experiments.frame.experiment import Experiment"),
    ],
)
def test_an_import_downwards_is_allowed(bare: Tree, module: str, source: str) -> None:
    assert forbidden(ROOMS, bare | {module: Source(source)}) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("controllers.ofe.x", "from os_ken.ofproto import ofproto_v1_4"),
        ("controllers.vmc.x", "import grpc"),
        ("topologies.run.x", "from mininet.net import Mininet"),
        ("topologies.emulation.x", "from mininet.net import Mininet"),
        ("hoverboard.host.x", "import numba"),
        ("hoverboard.fastpath.engine.x", "from llvmlite import ir"),
        ("console.show.x", "import typer"),
        ("hoverboard.contract.x", "def late():\n    import numpy"),
    ],
)
def test_a_library_in_a_strange_room_is_found(bare: Tree, module: str, source: str) -> None:
    (found,) = strangers(ROOMS, bare | {module: Source(source)})
    assert "may not know it" in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("controllers.vmc.x", "import time"),
        ("controllers.vmc.flows.x", "from threading import Lock"),
        ("topologies.spec.x", "def late():\n    import subprocess"),
        ("hoverboard.contract.openflow.x", "import os.path"),
        ("controllers.fm.queues", "from random import choice"),
    ],
)
def test_an_impure_import_of_a_pure_module_is_found(bare: Tree, module: str, source: str) -> None:
    (found,) = impurities(ROOMS, bare | {module: Source(source)})
    assert found.startswith(f"{module}:")


def test_a_new_pure_module_and_one_that_is_gone_are_found(tree: Tree) -> None:
    listed = PURE_FILES.read_text(encoding="utf-8").split()
    assert set(pure_files(ROOMS, tree | {"topologies.spec.x": Source("")})) - set(listed) == {"topologies/spec/x.py"}
    assert len(
        pure_files(ROOMS, {name: source for name, source in tree.items() if name != "controllers.program"})
    ) < len(listed)


@pytest.mark.parametrize(
    ("sources", "circle"),
    [
        ({"a": "import topologies.b", "b": "def late():\n    from topologies import a"}, ["a", "b"]),
        ({"a": "from topologies.b import x", "b": "if TYPE_CHECKING:\n    from topologies.a import A"}, ["a", "b"]),
        ({"a": "from . import b", "b": "from . import c", "c": "from .a import A"}, ["a", "b", "c"]),
    ],
)
def test_a_circle_is_found(sources: dict[str, str], circle: list[str]) -> None:
    made = {f"topologies.{name}": Source(text) for name, text in sources.items()}
    assert circles({"topologies": Source("", package=True)} | made) == [[f"topologies.{name}" for name in circle]]


def test_a_circle_by_way_of_a_package_is_found() -> None:
    sources = {
        "topologies": Source("from topologies import a", package=True),
        "topologies.a": Source("import topologies"),
    }
    assert circles(sources) == [["topologies", "topologies.a"]]


def test_a_file_that_was_pure_and_is_not_any_more_is_found() -> None:
    former = ["a/x.py -> b/x.py", "a/y.py -> b/models/y.py b/z.py", "a/w.py ->"]
    assert moved_and_not_pure(former[:2], ["b/models/*.py", "b/x.py", "b/z.py"]) == []
    assert moved_and_not_pure(former, ["b/models/*.py", "b/x.py"]) == former[1:]


def test_a_new_module_of_a_pure_room_that_may_grow_is_no_new_entry(tree: Tree) -> None:
    more = tree | {"controllers.vmc.models.x": Source("")}
    assert pure_files(ROOMS, more) == pure_files(ROOMS, tree)
    assert "controllers/vmc/models/*.py" in pure_files(ROOMS, tree)


def test_a_room_of_one_module_or_none_and_a_crowded_one_are_found() -> None:
    room = {"topologies.x": Source("", package=True)}
    assert ill_sized(ROOMS, room) == ["topologies.x is a room of no module"]
    assert ill_sized(ROOMS, room | {f"topologies.x.a{n}": Source("") for n in range(MOST)}) == []
    assert ill_sized(ROOMS, room | {"topologies.x.a": Source("")}) == ["topologies.x is a room of one module"]
    assert ill_sized(ROOMS, room | {f"topologies.x.a{n}": Source("") for n in range(MOST + 1)}) == [
        f"topologies.x has {MOST + 1} modules"
    ]
    catalogue = {"experiments.catalog": Source("", package=True)}
    assert ill_sized(ROOMS, catalogue | {f"experiments.catalog.a{n}": Source("") for n in range(30)}) == []


def test_a_folder_of_tests_without_a_room_and_a_room_without_tests_are_found() -> None:
    tree = {"console": Source("", package=True), "console.show": Source("", package=True)}
    tests = {f"tests.unit.{name}": Source("") for name in ("test_x", "console.test_x", "console.show.test_x")}
    tests["tests.unit.data"] = Source("", package=True)  # without a module
    assert unmirrored(tree, tests) == []
    assert unmirrored(tree, tests | {"tests.unit.show.test_x": Source("")}) == ["tests of show, which is no room"]
    del tests["tests.unit.console.show.test_x"]
    assert unmirrored(tree, tests) == ["no tests of console.show"]


def test_a_module_that_is_too_long_is_found_in_the_tests_as_well() -> None:
    long = {"hoverboard.x": LONGEST + 1, "tests.unit.test_x": LONGEST + 1, "tests.unit.y": LONGEST}
    made = {module: Source("x = 1\n" * lines) for module, lines in long.items()}
    assert too_long(made) == {"hoverboard.x": LONGEST + 1, "tests.unit.test_x": LONGEST + 1}
    assert too_long({"hoverboard.contract.wire.x_pb2": Source("x = 1\n" * 500)}) == {}
