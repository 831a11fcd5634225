"""The import of the testbed leaves all loggers as they are."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SEES = """
import logging

class Own(logging.Logger):
    pass

logging.setLoggerClass(Own)
import {module}
made = logging.getLogger("made.afterwards")
assert logging.getLoggerClass() is Own, logging.getLoggerClass()
assert (type(made), made.level, made.handlers) == (Own, logging.NOTSET, []), (type(made), made.level, made.handlers)
assert type(logging.getLogger("mininet")).__name__ == "MininetLogger"
"""


@pytest.mark.parametrize(
    "module",
    ["topologies.emulation.nodes", "topologies.emulation.links", "topologies.emulation.topo", "topologies.net"],
)
def test_loggers_made_after_mininet_are_of_the_class_that_they_were(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SEES.format(module=module)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_one_module_alone_loads_mininet() -> None:
    root = Path(__file__).parents[4]
    loading = {
        str(path.relative_to(root))
        for layer in ("hoverboard", "controllers", "topologies", "experiments", "console")
        for path in (root / layer).rglob("*.py")
        if any(
            name.split(".")[0] == "mininet"
            for node in ast.walk(ast.parse(path.read_text()))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        )
    }
    assert loading == {"topologies/emulation/mininet_classes.py"}
