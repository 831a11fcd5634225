"""The house's rooms: what each may import, which are pure, and who may know which library.

`ROOMS` has them from the top down; `room_rules` has the rules, `source_tree` what counts as an import.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.room_rules import (
    OLD_PATHS,
    UNMIRRORED,
    Room,
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
from tests.unit.source_tree import LAYERS, TESTS, Tree, source_tree

ALL = " ".join(LAYERS)
CONTRACT = "hoverboard.contract"
FAST = "hoverboard.fastpath hoverboard.contract"
HOST = "hoverboard"
PURE_FILES = Path(__file__).with_name("pure_files.txt")
# Files that version 0.1 held pure (commit 83dd69d, test_controllers_layers.py), and where their code is now.
FORMER_PURE_FILES = Path(__file__).with_name("pure_files_0.1.txt")

ROOMS = (
    # --- benchmarks: measurements with bars
    Room("benchmarks", ALL, knows="cryptography numpy rich", many=True),
    Room("benchmarks.datapath", ALL, knows="pyroute2 rich"),
    Room("benchmarks.ports", ALL, knows="numba numpy pyroute2 rich"),
    Room("benchmarks.link_element", ALL, pure="link_bars"),
    Room("benchmarks.harness", ALL, pure="bars statistics", knows="rich"),
    # --- console: what a person types and looks at
    Room("console", "console experiments topologies hoverboard", knows="typer"),
    Room("console.verbs", "console experiments topologies hoverboard", knows="typer", many=True),
    Room("console.prompt", "console topologies hoverboard"),
    Room("console.doctor", "console topologies hoverboard", knows="numba@probes rich"),
    Room("console.show", "console experiments topologies hoverboard", knows="rich"),
    Room("console.plain_text", ""),
    Room("console.unprivileged", "console hoverboard", knows="typer"),
    Room("console.guard", CONTRACT, knows="typer"),
    Room("console.runs", "console.rootless topologies hoverboard.contract"),
    Room("console.rootless", "console.own_terminal topologies hoverboard"),
    Room("console.own_terminal", ""),
    Room("console.python_runner", ""),
    # --- experiments: measurements that repeat the paper's
    Room("experiments.demo", "experiments topologies hoverboard", knows="jinja2 matplotlib"),
    Room(
        "experiments.sweeps",
        "experiments topologies hoverboard",
        knows="cryptography@cluster_keys dask distributed jinja2 matplotlib pydantic@folder_files yaml",
    ),
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
    Room("topologies.mininet_verbs", "topologies hoverboard", pure="listing node_command"),
    Room("topologies.run", "topologies controllers hoverboard", pure="host_pairs"),
    Room("topologies.client", "topologies hoverboard"),
    Room("topologies.cluster", "topologies controllers hoverboard"),
    Room(
        "topologies.emulation",
        "topologies hoverboard",
        knows="mininet@mininet_classes pyroute2@devices pyroute2@link_devices",
    ),
    Room("topologies.guests", "topologies hoverboard"),
    Room("topologies.processes", "topologies hoverboard", knows="pyroute2@marks"),
    Room("topologies.rootless", "topologies hoverboard"),
    Room("topologies.namespaces", "topologies hoverboard", pure="rtnetlink"),
    Room("topologies.changes", "topologies controllers hoverboard", pure="all", knows="pydantic"),
    Room("topologies.spec", "topologies controllers hoverboard", pure="all", knows="pydantic yaml"),
    Room("topologies.references", f"topologies {CONTRACT}", pure="all"),
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
    Room("hoverboard", f"hoverboard.mapped_users {CONTRACT}"),
    Room("hoverboard.testing", HOST, knows="numpy"),
    Room("hoverboard.host", HOST),
    Room("hoverboard.host.link", HOST),
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
    Room("hoverboard.fastpath.link", FAST, pure="dice due_queue impair", knows="numpy"),
    Room("hoverboard.fastpath.packets", FAST, pure="all", knows="numpy"),
    Room("hoverboard.fastpath.memory", FAST, knows="numpy"),
    Room(
        "hoverboard.fastpath.compiled",
        f"{FAST} hoverboard.mapped_users",
        knows="llvmlite@atomics llvmlite@code_cache numba numpy",
    ),
    Room(
        "hoverboard.coprocessor.stages", f"hoverboard.coprocessor {CONTRACT}", knows="cryptography pydantic", many=True
    ),
    Room("hoverboard.coprocessor", CONTRACT, knows="cryptography@esp numpy@doorbell pydantic"),
    Room("hoverboard.mapped_users", ""),
    Room("hoverboard.vswitch", CONTRACT, knows="ovs@unixctl"),
    Room("hoverboard.rpc", CONTRACT, knows="pydantic@parameters"),
    Room("hoverboard.contract.openflow", CONTRACT, pure="all"),
    Room("hoverboard.contract.checks", CONTRACT, pure="all"),
    Room(
        "hoverboard.contract", "hoverboard.contract.links", pure="all but models plugins public_names", knows="pydantic"
    ),
    Room("hoverboard.contract.links", "", pure="all"),
    Room("hoverboard.contract.wire", "", knows="grpc", many=True),
)


# --- the tree as it is -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree() -> Tree:
    return source_tree()


def test_every_layer_is_there(tree: Tree) -> None:
    assert {module.split(".")[0] for module in tree} == set(LAYERS)


def test_every_room_has_a_row(tree: Tree) -> None:
    assert without_a_row(ROOMS, tree) == []


def test_every_row_has_a_room(tree: Tree) -> None:
    assert without_a_room(ROOMS, tree) == []


def test_a_room_imports_only_what_it_may(tree: Tree) -> None:
    assert forbidden(ROOMS, tree) == []


def test_libraries_stay_in_their_rooms(tree: Tree) -> None:
    assert strangers(ROOMS, tree) == []


def test_pure_rooms_are_pure(tree: Tree) -> None:
    assert impurities(ROOMS, tree) == []


def test_no_pure_file_drops_out_in_silence(tree: Tree) -> None:
    assert pure_files(ROOMS, tree) == PURE_FILES.read_text(encoding="utf-8").split()


def test_each_file_that_was_pure_in_version_0_1_is_pure_where_it_is_now(tree: Tree) -> None:
    former = FORMER_PURE_FILES.read_text(encoding="utf-8").splitlines()
    assert len(former) == 35
    assert moved_and_not_pure(former, pure_files(ROOMS, tree)) == []


def test_no_two_modules_import_each_other(tree: Tree) -> None:
    assert circles(tree) == []


def test_rooms_are_neither_crowded_nor_of_one_module(tree: Tree) -> None:
    assert ill_sized(ROOMS, tree) == []


def test_faces_import_nothing_and_have_one_table(tree: Tree) -> None:
    assert two_faced(tree) == []


def test_files_at_old_paths_lead_on_and_nobody_uses_them(tree: Tree) -> None:
    assert [name for name in OLD_PATHS if name not in tree] == []
    assert grown_old_paths(tree) == []


def test_no_module_is_longer_than_can_be_read_at_once(tree: Tree) -> None:
    assert too_long(tree) == {}


def test_the_folders_of_unit_tests_mirror_the_rooms(tree: Tree) -> None:
    assert unmirrored(tree, source_tree(layers=TESTS)) == []
    assert UNMIRRORED.keys() <= tree.keys()


def test_no_file_of_tests_is_longer_either() -> None:
    tests = source_tree(layers=TESTS)
    assert f"{__name__}" in tests
    assert too_long(tests) == {}
