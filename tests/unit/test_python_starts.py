"""Each Python that the project starts keeps the current directory off its path: -P or -I stands first.

Root stands in folders that others can write, and would run their `json.py`. tests/system/console/test_planted_files.py
tries it.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.source_tree import LAYERS, TESTS

ROOT = Path(__file__).parents[2]
SCRIPTS = (
    "bootstrap.sh",
    "tests/run",
    "tests/check",
    "tests/parts.sh",
    "tests/mutate",
    ".ci/run",
    "vagrant/Vagrantfile",
)
SAFE = ("-P", "-I")
OF_THE_PROJECT = re.compile(r"""sys\.executable\W+-m\W+(console|controllers)\b""")
# os.execve(sys.executable, command, ..) has the name twice; `command` begins with it and -P.
FIRST_OF_EXEC = "os.execve"
# A results file shows this command to people, who type it behind `hoverboard`.
SHOWN = ["benchmarks/harness/report.py"]
# A shell's word for a Python, and what follows it. run-in puts -P in itself (see below); `hoverboard python` does, too.
IN_SHELL = re.compile(
    r"""(?P<run_in>\$RUN_IN"? )?(?:bin/python|\$PYTHON|(?<![\w./-])(?<!console\.cli )python3?)"?\s+(?P<next>-\w*)"""
)


def unsafe_starts(source: str) -> Iterator[int]:
    """Lines of a module where a Python is named and neither -P nor -I follows."""
    if not re.search(r"""sys\.executable|["']python""", source):
        return
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        name = ast.unparse(node) if isinstance(node, ast.Attribute) else getattr(node, "value", None)
        parent = parents.get(node)
        words = parent.elts if isinstance(parent, ast.List | ast.Tuple) else None
        if name == "sys.executable":
            if isinstance(parent, ast.Call) and ast.unparse(parent.func) == FIRST_OF_EXEC:
                continue
        elif not (name in ("python", "python3") and words and words[0] is node):
            continue
        after = words[words.index(node) + 1 :] if words else []
        if not after or getattr(after[0], "value", None) not in SAFE:
            yield node.lineno


def unsafe_lines(script: str) -> list[str]:
    """The starts of a shell script without -P or -I."""
    code = "\n".join(line.split(" #")[0] for line in script.splitlines() if not line.lstrip().startswith("#"))
    found = IN_SHELL.finditer(code)
    return [one[0] for one in found if one["next"] not in SAFE and not (one["run_in"] and one["next"] == "-m")]


def test_every_python_that_the_code_starts_is_safe() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for layer in LAYERS
        for path in sorted((ROOT / layer).rglob("*.py"))
        if str(path.relative_to(ROOT)) not in SHOWN
        for line in unsafe_starts(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_every_command_of_the_project_that_a_test_starts_is_safe() -> None:
    # Many run as root. Others that tests start are programs of a line or two, in folders of their own.
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for layer in TESTS
        for path in sorted((ROOT / layer).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if OF_THE_PROJECT.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_python_that_a_script_starts_is_safe(script: str) -> None:
    assert unsafe_lines((ROOT / script).read_text(encoding="utf-8")) == []


def test_the_commands_that_bootstrap_makes_are_safe() -> None:
    text = (ROOT / "bootstrap.sh").read_text(encoding="utf-8")
    assert '\nexec "$VENV/bin/python" -I "$VENV/bin/hoverboard" "\\$@"\n' in text
    assert "\n    python*) set -- -P -s " in text


@pytest.mark.parametrize(
    ("given", "got"),
    [("", "/it"), ("/a", "/a:/it"), ("/a:", "/a:/it"), (":/a::/b:", "/a:/b:/it"), (":", "/it"), ("/a b:", "/a b:/it")],
)
def test_run_in_drops_the_empty_entries_of_the_path(tmp_path: Path, given: str, got: str) -> None:
    functions = "/^write_if_new() {/,/^}/p; /^make_commands() {/,/^}/p"
    places = {
        "PREFIX": tmp_path,
        "BIN": tmp_path / "bin",
        "VENV": tmp_path / "venv",
        "CHECKOUT": "/it",
        "COMMAND_MODE": 755,
    }
    python = tmp_path / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf \'%s|\' "$PYTHONPATH" "$@"\n')
    python.chmod(0o755)
    settings = "; ".join(f"{name}={shlex.quote(str(value))}" for name, value in places.items())
    made = f'{settings}; eval "$(sed -n {shlex.quote(functions)} {ROOT}/bootstrap.sh)"; make_commands'
    subprocess.run(["bash", "-euc", made], check=True, timeout=10)
    command = [tmp_path / "bin/run-in", "python", "-c", "1"]
    shown = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": given}, capture_output=True, text=True, timeout=10, check=True
    )
    assert shown.stdout == f"{got}|-P|-s|-c|1|"


@pytest.mark.parametrize(
    "source",
    ["[sys.executable, '-m', 'a']", "run([sys.executable])", "['python3', 'a.py']", "('python', '-c', '1')",
     "[*nice, sys.executable, file]", "f(sys.executable)", "[sys.executable, flag]"],
)  # fmt: skip
def test_an_unsafe_start_is_found(source: str) -> None:
    assert list(unsafe_starts(source)) == [1]


@pytest.mark.parametrize(
    "source", ["[sys.executable, '-P', '-m', 'a']", "(*nice, sys.executable, '-I', f)", "x = {'python': version}",
               "os.execve(sys.executable, command, {})", "['env', 'python']"],
)  # fmt: skip
def test_a_safe_start_is_not(source: str) -> None:
    assert list(unsafe_starts(source)) == []


@pytest.mark.parametrize(
    "line",
    ['"$VENV/bin/python" -m pip', '"$PYTHON" - <<X', "$PYTHON -m venv", "python3 -c 1", '"$RUN_IN" python -c 1'],
)
def test_an_unsafe_line_is_found(line: str) -> None:
    assert len(unsafe_lines(f"# python -m a comment\n{line}")) == 1


def test_a_safe_line_is_not() -> None:
    assert unsafe_lines('"$VENV/bin/python" -I -m pip; "$PYTHON" -I -V; "$RUN_IN" python -m tests.minutes') == []
