"""Every test can fail: it asserts something, or calls what does, of its own file or an imported one. By source."""

from __future__ import annotations

import ast
import dataclasses
import functools
from collections.abc import Collection
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# Tests whose claim is that something does not raise, each with what they would miss otherwise.
WITHOUT: dict[str, str] = {
    "system/control_plane/test_external_controller.py"
    "::test_its_controller_lets_its_vms_reach_each_other_and_the_rest": (
        "waiting for an answer raises at its deadline"
    ),
    "system/dataplane/test_generations.py::test_who_sends_as_somebody_else_is_dropped": (
        "waiting for the counted drops raises at its deadline"
    ),
    "system/dataplane/test_ipv6.py::test_what_may_not_be_sent_is_dropped_by_its_reason": (
        "waiting for the counted drops raises at its deadline"
    ),
    "system/experiments/test_measuring_tools.py::test_a_spinner_ends_by_itself": (
        "waiting for the spinners' end raises at its deadline"
    ),
    "unit/console/show/test_json_documents.py::test_the_doctor_is_as_its_schema_says": (
        "the check against the schema raises"
    ),
    "unit/experiments/demo/test_demo_results.py::test_the_summary_is_as_its_schema_says": (
        "the check against the schema raises"
    ),
    "unit/experiments/workload/test_udp_exchange.py::test_waiting_for_a_time_that_has_passed_returns": (
        "a wait for a time that is over would raise, or never return"
    ),
    "unit/hoverboard/contract/test_documents.py::test_a_document_of_its_type_is_fine": (
        "the check against the schema raises; the test below it shows that it does"
    ),
    "unit/hoverboard/vswitch/test_ovs.py::test_a_switch_that_is_there_is_reachable": (
        "a switch that is not there raises; the test before it shows that it does"
    ),
    "unit/topologies/cluster/test_control_processes.py::test_a_plane_has_a_clock_of_its_own_where_none_is_given": (
        "a plane without a clock raises; one that never gets ready raises at its deadline"
    ),
    "unit/topologies/spec/test_schema.py::test_any_data_is_a_topology_or_a_list_of_faults": (
        "all other errors than a list of faults are raised"
    ),
}
# Names of functions whose call is an assertion, in pytest and in the tools the tests use.
ASSERTING = {"raises", "warns", "fail", "assert_array_equal"}


@dataclasses.dataclass(frozen=True)
class Function:
    """What a function of the tests does that matters here.

    Attributes:
        asserts: it has an `assert` of its own.
        calls: last part of the name of each function that it calls, or hands to one.
    """

    name: str
    asserts: bool
    calls: frozenset[str]


def functions(tree: ast.Module) -> list[Function]:
    """All functions of a file, methods included."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts = list(ast.walk(node))
            named = [name for part in parts if isinstance(part, ast.Call) for name in (part.func, *part.args)]
            calls = {name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "") for name in named}
            found.append(Function(node.name, any(isinstance(part, ast.Assert) for part in parts), frozenset(calls)))
    return found


def imported(tree: ast.Module, files: Collection[str]) -> set[str]:
    """Files of the tests that a file imports, or takes names from."""
    dotted = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            dotted.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            dotted.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return {path for name in dotted if (path := name.removeprefix("tests.").replace(".", "/") + ".py") in files}


def above(name: str, files: Collection[str]) -> set[str]:
    """The files whose fixtures a file may use without an import."""
    return {str(place / "conftest.py") for place in Path(name).parents} & set(files)


def asserting_names(sources: dict[str, str]) -> dict[str, set[str]]:
    """For each file, names whose call asserts something there: its own functions, and those of files that it imports.

    A method counts by its name, in files that know its class's file, also over other files.
    """
    trees = {name: ast.parse(text) for name, text in sources.items()}
    own = {
        name: [each for each in functions(tree) if not each.name.startswith("test_")] for name, tree in trees.items()
    }
    near = {name: imported(tree, trees.keys()) | above(name, trees.keys()) for name, tree in trees.items()}
    reached = {name: closure(name, near) for name in near}
    found: dict[str, set[str]] = {name: set() for name in sources}
    while True:
        grew = False
        for name, defined in own.items():
            known = ASSERTING.union(*(found[other] for other in reached[name]))
            more = {each.name for each in defined if each.asserts or each.calls & known} - found[name]
            found[name] |= more
            grew = grew or bool(more)
        if not grew:
            return {name: ASSERTING.union(*(found[other] for other in reached[name])) for name in sources}


def closure(name: str, near: dict[str, set[str]]) -> set[str]:
    """A file and all that it imports, by one file or several."""
    found, todo = {name}, [name]
    while todo:
        new = near[todo.pop()] - found
        found |= new
        todo += new
    return found


def silent_tests(sources: dict[str, str]) -> list[str]:
    """Tests that cannot fail but by an exception.

    Args:
        sources: name of a file, below tests/ -> its text; `test_*.py` hold tests.
    """
    asserting = asserting_names(sources)
    return [
        f"{name}::{each.name}"
        for name in filter(is_test, sources)
        for each in functions(ast.parse(sources[name]))
        if each.name.startswith("test_") and not (each.asserts or each.calls & asserting[name])
    ]


def is_test(name: str) -> bool:
    """Whether a file holds tests."""
    return Path(name).name.startswith("test_")


def sources() -> dict[str, str]:
    """All Python files of the tests."""
    return {str(path.relative_to(TESTS)): path.read_text(encoding="utf-8") for path in sorted(TESTS.rglob("*.py"))}


@functools.cache
def silent_here() -> frozenset[str]:
    """The silent tests of this project: all files are read once."""
    return frozenset(silent_tests(sources()))


def test_every_test_asserts_something() -> None:
    assert sorted(silent_here() - set(WITHOUT)) == []


def test_exceptions_are_tests_that_exist() -> None:
    assert set(WITHOUT) <= silent_here()


@pytest.mark.parametrize(
    ("text", "silent"),
    [
        ("def test_a():\n    run()", True),
        ("def test_a():\n    assert run()", False),
        ("def test_a():\n    with pytest.raises(ValueError):\n        run()", False),
        ("def run():\n    return 1\ndef test_a():\n    run()", True),
        ("def run():\n    assert True\ndef go():\n    run()\ndef test_a():\n    go()", False),
        ("class TestA:\n    def test_a(self):\n        self.run()\n    def run(self):\n        assert self", False),
        ("def test_a():\n    world.check()", True),
        ("from tests import world\ndef test_a():\n    world.check()", False),
        ("from tests.world import World\ndef test_a():\n    World().check()", False),
        ("from tests.sky import World\ndef test_a():\n    World().check()", False),
        ("from tests import ground\ndef test_a():\n    ground.check()", True),
        ("def test_a(given):\n    given.look()", False),
    ],
)
def test_the_check_catches(text: str, silent: bool) -> None:
    world = "class World:\n    def check(self):\n        assert self"
    others = {
        "world.py": world,
        "sky.py": "from tests.world import World",
        "ground.py": "def check():\n    return 1",
        "conftest.py": "def look():\n    assert True",
    }
    found = silent_tests({"test_x.py": text, **others})
    assert found == (["test_x.py::test_a"] if silent else [])
