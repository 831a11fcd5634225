"""No two modules of this layer import each other, in a circle of any length; imports for types only count, too."""

from __future__ import annotations

import pytest

from tests.unit.test_layering import imported, source_tree


def circle(sources: dict[str, tuple[str, bool]]) -> list[str]:
    """Modules that lead back to the first of them by what they import; empty: there are none.

    Args:
        sources: dotted name -> (text, whether it is a package's `__init__`).
    """
    imports = {
        module: {
            name
            for _, target in imported(source, module, package=package)
            for name in (target, target.rpartition(".")[0])
            if name in sources and name != module
        }
        for module, (source, package) in sources.items()
    }
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return path[path.index(module) :]
        if module not in done:
            for target in sorted(imports[module]):
                if found := visit(target, [*path, module]):
                    return found
            done.add(module)
        return []

    return next((found for module in sorted(imports) if (found := visit(module, []))), [])


SPEC = {"topologies.spec.keys", "topologies.spec.policy_keys"}  # one schema in two files; not of the run


def test_no_module_of_topologies_leads_back_to_itself() -> None:
    sources = {name: text for name, text in source_tree().items() if name.startswith("topologies.")}
    assert circle({name: text for name, text in sources.items() if name not in SPEC}) == []


@pytest.mark.parametrize(
    "back",
    [
        "from topologies import a",
        "if TYPE_CHECKING:\n    from topologies.a import A",
        "def f():\n    import topologies.a",
    ],
)
def test_a_circle_is_found_however_it_is_closed(back: str) -> None:
    sources = {"a": "from topologies.b import B", "b": "import topologies.c", "c": back, "d": "import topologies.a"}
    assert circle({f"topologies.{name}": (text, False) for name, text in sources.items()}) == [
        "topologies.a", "topologies.b", "topologies.c",
    ]  # fmt: skip
