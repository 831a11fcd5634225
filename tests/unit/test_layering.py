"""The house's rooms: what each may import, which are pure, and who may know which library. Read by syntax tree.

`ROOMS` has them from the top down. A room imports itself and, of what it may import, only what stands below it in the
table: so nothing is imported upwards. Imports count wherever they stand: within functions, under `TYPE_CHECKING`,
relative ones, and those of a package's `__init__`. Nothing is imported here.

`FACES` are the packages with public names (docs/api.md). Their `__init__` names modules as strings, and a name is
looked up when it is used: that is not an import, nor is what tells type checkers the same. So nobody within a layer may
import from its face. `OLD_PATHS` are files at paths of version 0.1 that lead to the new ones: they import nothing of
ours.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("benchmarks", "console", "experiments", "topologies", "controllers", "hoverboard")
# What a pure room does without: time, chance, the file system's and the network's ways out, processes and threads.
IMPURE = frozenset(
    {"asyncio", "ctypes", "fcntl", "grpc", "mmap", "multiprocessing", "os", "random", "select", "shutil", "signal"}
    | {"socket", "subprocess", "tempfile", "threading", "time"}
)
# Libraries that only rooms with a word for it may know.
LIBRARIES = frozenset(
    {"cryptography", "dask", "distributed", "grpc", "jinja2", "llvmlite", "matplotlib", "mininet", "numba", "numpy"}
    | {"os_ken", "ovs", "pydantic", "pyroute2", "rich", "typer", "yaml"}
)
ALL = " ".join(LAYERS)
CONTRACT = "hoverboard.contract"
FAST = "hoverboard.fastpath hoverboard.contract"
HOST = "hoverboard"
FACES = (
    "topologies",
    "experiments",
    "controllers",
    "controllers.testing",
    "hoverboard.coprocessor",
    "hoverboard.testing",
)
FACE_IMPORTS = {"__future__.annotations", "typing.TYPE_CHECKING", "hoverboard.contract.public_names.public_names"}
OLD_PATHS = ("hoverboard.fastpath.compose", "hoverboard.fastpath.warm")
PURE_FILES = Path(__file__).with_name("pure_files.txt")
LONGEST = 400
# Longer than that, and by how much at most; it goes when the module is cut.
LONGER: dict[str, int] = {}


@dataclass(frozen=True)
class Room:
    """One row.

    Attributes:
        name: of a package, or of a module that has a place of its own in the order.
        may: what it may import beside itself: names, each with all below it; of that only what has a later row.
        pure: "all", names of the modules that are pure, or "all but" those that are not.
        knows: libraries of `LIBRARIES` that it may import; `library@module`: that module only.
        closed: others of its layer import the package itself, and no module of it.
        many: all its modules are the same kind of thing, and there may be any number of them.
    """

    name: str
    may: str
    pure: str = ""
    knows: str = ""
    closed: bool = False
    many: bool = False

    def is_pure(self, module: str) -> bool:
        """Whether a module of this room has to be pure."""
        words = self.pure.split()
        own = module.removeprefix(self.name).lstrip(".")
        if words[:2] == ["all", "but"]:
            return own not in words[2:]
        return words == ["all"] or own in words

    def may_know(self, library: str, module: str) -> bool:
        """Whether a module of this room may import a library."""
        own = module.removeprefix(self.name).lstrip(".")
        return any(word in (library, f"{library}@{own}") for word in self.knows.split())


ROOMS = (
    # --- benchmarks: measurements with bars
    Room("benchmarks", ALL, knows="cryptography numpy rich", many=True),
    Room("benchmarks.datapath", ALL, knows="pyroute2 rich"),
    Room("benchmarks.ports", ALL, knows="numba numpy pyroute2 rich"),
    Room("benchmarks.harness", ALL, pure="bars statistics", knows="rich"),
    # --- console: what a person types and looks at
    Room("console", "console experiments topologies hoverboard", knows="typer"),
    Room("console.verbs", "console experiments topologies hoverboard", knows="typer", many=True),
    Room("console.prompt", "console topologies hoverboard"),
    Room("console.doctor", "console topologies hoverboard", knows="numba@probes rich"),
    Room("console.show", "console experiments topologies hoverboard", knows="rich"),
    Room("console.guard", CONTRACT, knows="typer"),
    Room("console.runs", "topologies hoverboard.contract"),
    Room("console.python_runner", ""),
    # --- experiments: measurements that repeat the paper's
    Room("experiments.demo", "experiments topologies hoverboard", knows="jinja2 matplotlib"),
    Room("experiments.sweeps", "experiments topologies hoverboard", knows="dask distributed jinja2 matplotlib yaml"),
    Room("experiments.catalog", "experiments topologies controllers hoverboard", knows="numpy", many=True),
    Room("experiments.frame", "experiments topologies hoverboard", pure="parameters", knows="numpy"),
    Room("experiments.programming", "experiments topologies controllers hoverboard"),
    Room("experiments", "experiments hoverboard", knows="matplotlib@figures numpy"),
    Room("experiments.observe", "experiments topologies hoverboard"),
    Room("experiments.workload", "experiments topologies controllers hoverboard"),
    Room("experiments.tools", "experiments topologies hoverboard", pure="iperf_output ping_output", knows="numpy"),
    Room("experiments.paper", CONTRACT),
    # --- topologies: runs on Mininet
    Room("topologies", "topologies hoverboard"),
    Room("topologies.run", "topologies controllers hoverboard"),
    Room("topologies.client", "topologies hoverboard"),
    Room("topologies.cluster", "topologies controllers hoverboard"),
    Room("topologies.emulation", "topologies hoverboard", knows="mininet@mininet_classes pyroute2@devices"),
    Room("topologies.processes", "topologies hoverboard", knows="pyroute2@marks"),
    Room("topologies.spec", "topologies controllers hoverboard", pure="all", knows="pydantic yaml"),
    # --- controllers: the control plane; of hoverboard/ it takes the contract alone
    Room("controllers", f"controllers {CONTRACT}"),
    Room("controllers.testing", f"controllers {CONTRACT}", pure="all"),
    Room("controllers.roles", f"controllers {CONTRACT}", pure="flow_codec merged_status model_order", knows="grpc"),
    Room("controllers.single_process", f"controllers {CONTRACT}", knows="grpc"),
    Room("controllers.dry_run", f"controllers {CONTRACT}", pure="all"),
    Room("controllers.vmc", f"controllers {CONTRACT}", pure="all but agents controller"),
    Room("controllers.vmc.model_change", f"controllers {CONTRACT}", pure="all"),
    Room("controllers.vmc.offload", f"controllers {CONTRACT}", pure="all"),
    Room("controllers.vmc.lookups", f"controllers {CONTRACT}", pure="all"),
    Room("controllers.vmc.flows", f"controllers {CONTRACT}", pure="all"),
    Room("controllers.vmc.models", f"controllers {CONTRACT}", pure="all", closed=True, many=True),
    Room("controllers.vmc.flow_groups", f"controllers {CONTRACT}", pure="all"),
    Room("controllers.vmc.model", f"controllers {CONTRACT}", pure="all"),
    Room("controllers.vmc.view", f"controllers {CONTRACT}", pure="all"),
    Room("controllers.election", f"controllers {CONTRACT}", pure="candidacy"),
    Room("controllers.store", f"controllers {CONTRACT}", pure="memory port", knows="grpc"),
    Room(
        "controllers.fm",
        f"controllers {CONTRACT}",
        pure="codec index intent_checks intent_store queues rejections slices",
        knows="grpc pydantic@codec",
    ),
    Room(
        "controllers.ofe",
        f"controllers {CONTRACT}",
        pure="messages switch_interface templates",
        knows="os_ken@openflow",
    ),
    Room("controllers.partitions", CONTRACT, pure="all"),
    Room("controllers.program", CONTRACT, pure="all"),
    Room("controllers.gc_pause", ""),
    Room("controllers.crash", CONTRACT),
    # --- hoverboard: hosts; only host/ knows the other parts
    Room("hoverboard", CONTRACT),
    Room("hoverboard.testing", HOST, knows="numpy"),
    Room("hoverboard.host", HOST),
    Room("hoverboard.host.generations", HOST, knows="numpy"),
    Room("hoverboard.host.telemetry", HOST, knows="numpy"),
    Room("hoverboard.host.checkpointing", HOST),
    Room("hoverboard.host.underlay", HOST),
    Room("hoverboard.host.slowpath", HOST, knows="numpy"),
    Room("hoverboard.host.coprocessing", HOST, knows="numpy"),
    Room("hoverboard.host.control", HOST, knows="grpc"),
    Room("hoverboard.host.listeners", HOST, pure="all"),
    Room("hoverboard.fastpath", FAST),
    Room("hoverboard.fastpath.engine", FAST, knows="numba numpy"),
    Room("hoverboard.fastpath.elements", FAST, knows="numpy", many=True),
    Room("hoverboard.fastpath.packets", FAST, pure="all", knows="numpy"),
    Room("hoverboard.fastpath.memory", FAST, knows="numpy"),
    Room("hoverboard.fastpath.compiled", FAST, knows="llvmlite@atomics numba numpy"),
    Room(
        "hoverboard.coprocessor.stages", f"hoverboard.coprocessor {CONTRACT}", knows="cryptography pydantic", many=True
    ),
    Room("hoverboard.coprocessor", CONTRACT, knows="cryptography@esp numpy@doorbell pydantic"),
    Room("hoverboard.vswitch", CONTRACT, knows="ovs@unixctl"),
    Room("hoverboard.rpc", CONTRACT),
    Room("hoverboard.contract.openflow", CONTRACT, pure="all"),
    Room("hoverboard.contract", "", pure="all but models plugins public_names", knows="pydantic"),
    Room("hoverboard.contract.wire", "", knows="grpc", many=True),
)


# --- reading the source ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """One module: its text, and whether it is a package's `__init__`."""

    text: str
    package: bool = False


Tree = dict[str, Source]  # by dotted name


def source_tree(root: Path = ROOT) -> Tree:
    """All modules of the layers."""
    found = {}
    for layer in LAYERS:
        for path in sorted((root / layer).rglob("*.py")):
            names = path.relative_to(root).with_suffix("").parts
            package = names[-1] == "__init__"
            found[".".join(names[:-1] if package else names)] = Source(path.read_text(encoding="utf-8"), package)
    return found


def imported(module: str, source: Source) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports, wherever in it the import stands."""
    for node in ast.walk(_without_faces_types(module, ast.parse(source.text))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                above = parts[: len(parts) - node.level + source.package]
                base = ".".join([*above, base] if base else above)
            # `from a import b`: b may be a module of its own.
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            name = node.args[0]
            if called in {"import_module", "__import__"} and isinstance(name, ast.Constant):
                yield node.lineno, str(name.value)


def _without_faces_types(module: str, parsed: ast.Module) -> ast.Module:
    """Leave out what the `__init__` of a face tells type checkers."""
    if module in FACES:
        parsed.body = [node for node in parsed.body if not _is_for_types(node)]
    return parsed


def _is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def meant(name: str, tree: Tree) -> str:
    """The module that an imported name is of: itself, or the nearest above it that is there."""
    while name not in tree and "." in name:
        name = name.rpartition(".")[0]
    return name


def arrows(tree: Tree) -> Iterator[tuple[str, int, str]]:
    """Module, line, and module of ours that it imports."""
    for module, source in tree.items():
        for line, name in imported(module, source):
            target = meant(name, tree)
            if target.split(".")[0] in LAYERS and target != module:
                yield module, line, target


def within(name: str, above: str) -> bool:
    """Whether a dotted name is `above`, or stands below it."""
    return name == above or name.startswith(f"{above}.")


def row(module: str) -> int:
    """The row of a module: the longest name that it is, or stands below; -1 without one."""
    found = [(len(room.name), index) for index, room in enumerate(ROOMS) if within(module, room.name)]
    return max(found)[1] if found else -1


# --- the rules -----------------------------------------------------------------------------------------------------


def forbidden(tree: Tree) -> list[str]:
    """Imports that a room may not have: upwards, or of what it has no word for."""
    found = []
    for module, line, target in arrows(tree):
        mine, its = row(module), row(target)
        if mine == its:
            continue
        room, other = ROOMS[mine], ROOMS[its]
        if its < mine and not (target == other.name and _empty(tree, target)):
            found.append(f"{module}:{line} imports {target}: {other.name} stands above {room.name}")
        elif not any(
            within(target, name) or within(name, target) and _empty(tree, target) for name in room.may.split()
        ):
            found.append(
                f"{module}:{line} imports {target}: {room.name} may import only {room.may or 'nothing of ours'}"
            )
        elif other.closed and target != other.name and module.split(".")[0] == target.split(".")[0]:
            found.append(f"{module}:{line} imports {target}: others import {other.name} itself")
    return found


def _empty(tree: Tree, module: str) -> bool:
    """Whether a module is a package that holds nothing but what is said about it."""
    source = tree.get(module)
    return source is not None and source.package and len(ast.parse(source.text).body) <= 1


def strangers(tree: Tree) -> list[str]:
    """Libraries in rooms that may not know them."""
    found = []
    for module, source in tree.items():
        room = ROOMS[row(module)]
        for line, name in imported(module, source):
            library = name.split(".")[0]
            if library in LIBRARIES and not room.may_know(library, module):
                found.append(f"{module}:{line} imports {library}: {room.name} may not know it")
    return found


def impurities(tree: Tree) -> list[str]:
    """What pure modules import and may not."""
    return [
        f"{module}:{line} imports {name.split('.')[0]}: it is pure"
        for module, source in tree.items()
        if ROOMS[row(module)].is_pure(module)
        for line, name in imported(module, source)
        if name.split(".")[0] in IMPURE
    ]


def circles(tree: Tree) -> list[list[str]]:
    """Groups of modules of which each imports, by way of others, every one of the group (Tarjan's algorithm)."""
    graph: dict[str, set[str]] = {module: set() for module in tree}
    for module, _, target in arrows(tree):
        if target in tree:
            graph[module].add(target)
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        path.append(module)
        for target in sorted(graph[module]):
            if target not in number:
                visit(target)
                lowest[module] = min(lowest[module], lowest[target])
            elif target in path:
                lowest[module] = min(lowest[module], number[target])
        if lowest[module] == number[module]:
            at = path.index(module)
            if len(path) - at > 1:
                found.append(sorted(path[at:]))
            del path[at:]

    for module in sorted(graph):
        if module not in number:
            visit(module)
    return found


def pure_files(tree: Tree) -> list[str]:
    """Files that the purity rule holds for."""
    return sorted(
        module.replace(".", "/") + ("/__init__.py" if source.package else ".py")
        for module, source in tree.items()
        if ROOMS[row(module)].is_pure(module)
    )


def ill_sized(tree: Tree) -> list[str]:
    """Rooms of one module, or of more than can be told apart."""
    found = []
    for package, source in tree.items():
        if not source.package or "." not in package:
            continue
        room = next((room for room in ROOMS if room.name == package), None)
        own = [name for name, one in tree.items() if name.rpartition(".")[0] == package and not one.package]
        rooms = [name for name, one in tree.items() if name.rpartition(".")[0] == package and one.package]
        if len(own) == 1 and not rooms:
            found.append(f"{package} is a room of one module")
        if len(own) > 16 and not (room and room.many):
            found.append(f"{package} has {len(own)} modules")
    return found


def two_faced(tree: Tree) -> list[str]:
    """Faces that import something when they are imported, or tell type checkers other names than their table has."""
    found = []
    for face in FACES:
        source = tree[face]
        found += [f"{face}:{line} imports {name}" for line, name in imported(face, source) if name not in FACE_IMPORTS]
        body = ast.parse(source.text).body
        told = {
            alias.name: one.module
            for node in body
            if isinstance(node, ast.If) and _is_for_types(node)
            for one in node.body
            if isinstance(one, ast.ImportFrom)
            for alias in one.names
        }
        tables = [ast.literal_eval(node.value) for node in body if isinstance(node, ast.Assign) and _is_public(node)]
        table = tables[0] if tables else None
        if told != table:
            found.append(f"{face} tells type checkers {told}, and its table has {table}")
    return found


def _is_public(node: ast.Assign) -> bool:
    return [target.id for target in node.targets if isinstance(target, ast.Name)] == ["PUBLIC"]


def grown_old_paths(tree: Tree) -> list[str]:
    """Files at old paths that import something of ours, or that somebody imports."""
    return [
        f"{module}:{line} imports {target}"
        for module, line, target in arrows(tree)
        if module in OLD_PATHS or target in OLD_PATHS
    ]


# --- the tree as it is -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree() -> Tree:
    return source_tree()


def test_every_layer_is_there(tree: Tree) -> None:
    assert {module.split(".")[0] for module in tree} == set(LAYERS)


def test_every_room_has_a_row(tree: Tree) -> None:
    packages = {module if source.package else module.rpartition(".")[0] for module, source in tree.items()}
    assert packages - {room.name for room in ROOMS} == set()


def test_every_row_has_a_room(tree: Tree) -> None:
    assert [room.name for room in ROOMS if room.name not in tree] == []


def test_a_room_imports_only_what_it_may(tree: Tree) -> None:
    assert forbidden(tree) == []


def test_libraries_stay_in_their_rooms(tree: Tree) -> None:
    assert strangers(tree) == []


def test_pure_rooms_are_pure(tree: Tree) -> None:
    assert impurities(tree) == []


def test_no_pure_file_drops_out_in_silence(tree: Tree) -> None:
    assert pure_files(tree) == PURE_FILES.read_text(encoding="utf-8").split()


def test_no_two_modules_import_each_other(tree: Tree) -> None:
    assert circles(tree) == []


def test_rooms_are_neither_crowded_nor_of_one_module(tree: Tree) -> None:
    assert ill_sized(tree) == []


def test_faces_import_nothing_and_have_one_table(tree: Tree) -> None:
    assert two_faced(tree) == []


def test_files_at_old_paths_lead_on_and_nobody_uses_them(tree: Tree) -> None:
    assert [name for name in OLD_PATHS if name not in tree] == []
    assert grown_old_paths(tree) == []


def test_no_module_is_longer_than_can_be_read_at_once(tree: Tree) -> None:
    long = {module: len(source.text.splitlines()) for module, source in tree.items() if "_pb2" not in module}
    assert {module: lines for module, lines in long.items() if lines > LONGEST} == LONGER


# --- each rule is shown to fail, on made-up sources ------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare(tree: Tree) -> Tree:
    """The modules that there are, with nothing in them."""
    return {module: Source("", source.package) for module, source in tree.items()}


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
        ("hoverboard.contract.x", "from hoverboard.contract.wire import fabric_pb2", "nothing of ours"),
        ("topologies.spec.x", "def late():\n    from console import cli", "stands above"),
        ("topologies.spec.x", "if TYPE_CHECKING:\n    import experiments.figures", "stands above"),
        ("topologies.spec.x", "importlib.import_module('console.cli')", "stands above"),
        ("controllers.vmc.x", "from controllers.vmc.models.gateway import GatewayModel", "itself"),
    ],
)
def test_a_forbidden_import_is_found(bare: Tree, module: str, source: str, reason: str) -> None:
    (found,) = forbidden(bare | {module: Source(source)})
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
    (found,) = forbidden(tree | {module: Source(source)})
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
    assert forbidden(bare | {module: Source(source)}) == []


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
    (found,) = strangers(bare | {module: Source(source)})
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
    (found,) = impurities(bare | {module: Source(source)})
    assert found.startswith(f"{module}:")


def test_a_new_pure_module_and_one_that_is_gone_are_found(tree: Tree) -> None:
    listed = PURE_FILES.read_text(encoding="utf-8").split()
    assert set(pure_files(tree | {"topologies.spec.x": Source("")})) - set(listed) == {"topologies/spec/x.py"}
    assert len(pure_files({name: source for name, source in tree.items() if name != "controllers.program"})) < len(
        listed
    )


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


def test_a_room_of_one_module_and_a_crowded_one_are_found() -> None:
    room = {"topologies.x": Source("", package=True)}
    assert ill_sized(room | {"topologies.x.a": Source("")}) == ["topologies.x is a room of one module"]
    assert ill_sized(room | {f"topologies.x.a{n}": Source("") for n in range(17)}) == ["topologies.x has 17 modules"]
    catalogue = {"experiments.catalog": Source("", package=True)}
    assert ill_sized(catalogue | {f"experiments.catalog.a{n}": Source("") for n in range(30)}) == []
