"""Files for people are written by hoverboard/safe_files.py alone: elsewhere nothing is opened to be written.

Root writes these files into folders of others. What a run writes into its own directory, which only its user can enter,
needs no such care; nor does what stands in other places of its own. `IN_THEIR_OWN_PLACE` names those modules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.source_tree import LAYERS

ROOT = Path(__file__).parents[2]
RUN, TEMPORARY, KERNEL, SOURCE = "a run's directory", "a temporary directory", "files of the kernel", "the checkout"
MEMORY = "a directory in memory of one mount namespace"
CACHE = "a directory of compiled code, refused if others can write it"
ITSELF = "the module that writes with care"
IN_THEIR_OWN_PLACE = {
    "hoverboard/safe_files.py": ITSELF,
    "hoverboard/contract/document_schemas.py": SOURCE,
    "hoverboard/coprocessor/cpu_account.py": KERNEL,
    "hoverboard/fastpath/compiled/compiler.py": CACHE,
    "hoverboard/fastpath/compiled/disk_cache.py": CACHE,
    "hoverboard/host/checkpointing/journal.py": RUN,
    "hoverboard/host/nursery.py": RUN,
    "controllers/__main__.py": RUN,
    "controllers/crash.py": RUN,
    "controllers/store/store_server.py": RUN,
    "topologies/processes/ledger.py": RUN,
    "topologies/processes/launcher.py": RUN,
    "topologies/processes/run_directory.py": RUN,
    "topologies/run/run.py": RUN,
    "topologies/run/up.py": RUN,
    "topologies/run/host_processes.py": RUN,
    "topologies/run/holder.py": RUN,
    "topologies/cluster/control_processes.py": RUN,
    "topologies/emulation/ovs_daemons.py": RUN,
    "topologies/emulation/devices.py": KERNEL,
    "topologies/guests/guest_files.py": RUN,
    "topologies/processes/failed_logs.py": RUN,
    "topologies/namespaces/mount_namespace.py": MEMORY,
    "topologies/rootless/first_process.py": MEMORY,
    "topologies/rootless/state.py": RUN,
    "topologies/spec/schema.py": SOURCE,
    "experiments/sweeps/worker.py": TEMPORARY,
    "experiments/programming/scaled_cluster.py": TEMPORARY,
    "experiments/programming/ovs_bridges.py": TEMPORARY,
    "benchmarks/routes.py": TEMPORARY,
}
METHODS = {
    "write_text",
    "write_bytes",
    "mkdir",
    "touch",
    "makedirs",
    "symlink_to",
    "hardlink_to",
    "copyfile",
    "copytree",
}
MODES = set("wax+")
FLAGS = ("O_CREAT", "O_TRUNC")


def writers(source: str) -> Iterator[int]:
    """Lines of a module that make or open a file to write it."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        words = [*node.args, *(one.value for one in node.keywords)]
        texts = [one.value for one in words if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        if called == "open":
            modes = [text for text in texts if len(text) <= 3 and MODES & set(text)]
            if modes or any(flag in ast.unparse(node) for flag in FLAGS):
                yield node.lineno
        elif called in METHODS or (called == "savefig" and not isinstance(node.args[0], ast.Name)):
            yield node.lineno


def test_files_for_people_are_written_by_one_module() -> None:
    found = {
        str(path.relative_to(ROOT)): lines
        for layer in LAYERS
        for path in sorted((ROOT / layer).rglob("*.py"))
        if (lines := list(writers(path.read_text(encoding="utf-8"))))
    }
    assert found.keys() - IN_THEIR_OWN_PLACE.keys() == set()
    assert IN_THEIR_OWN_PLACE.keys() - found.keys() == set(), "these write nothing any more"


@pytest.mark.parametrize(
    "line",
    ["path.write_text('')", "open(path, 'w')", "path.open(mode='ab+')", "os.open(p, os.O_WRONLY | os.O_CREAT)",
     "shutil.copyfile(a, b)", "path.mkdir()", "figure.savefig(folder / 'x.png')", "open(path, 'x', encoding='utf-8')"],
)  # fmt: skip
def test_a_writer_is_found(line: str) -> None:
    assert list(writers(line)) == [1]


@pytest.mark.parametrize("line", ["open(path)", "path.open('rb')", "os.open(p, os.O_RDONLY)", "figure.savefig(buffer)",
                                  "open(path, encoding='utf-8')", "write_file(folder, 'x', '')"])  # fmt: skip
def test_a_reader_is_not(line: str) -> None:
    assert list(writers(line)) == []
