"""`hoverboard python FILE`: as `python FILE`, whatever lies in the current directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console.cli import app
from hoverboard.contract.errors import InputError

ROOT = Path(__file__).parents[4]
runner = CliRunner()


def run(*words: str, cwd: Path, path: str = str(ROOT), stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a directory; `path` is its PYTHONPATH."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "console.cli", "python", *words], cwd=cwd, env=os.environ | {"PYTHONPATH": path},
        input=stdin, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `beside.py`, below a current directory with another file of that name."""
    made = tmp_path / "of file"
    made.mkdir()
    (made / "beside.py").write_text("PLACE = 'of the file'\n")
    (tmp_path / "beside.py").write_text("PLACE = 'current'\n")
    (tmp_path / "only_here.py").write_text("")
    return made


def test_a_file_sees_its_folder_its_arguments_and_hoverboard(folder: Path) -> None:
    (folder / "a.py").write_text(
        "import json, sys, beside, experiments\n"
        "print(json.dumps([sys.argv, sys.path[0], __name__, __file__, beside.PLACE, sys.flags.safe_path]))\n"
        "sys.exit(7)\n"
    )
    done = run("of file/a.py", "--help", "--", "-x", cwd=folder.parent)
    assert (done.returncode, done.stderr) == (7, "")
    file = str(folder / "a.py")
    expected = [["of file/a.py", "--help", "--", "-x"], str(folder), "__main__", file, "of the file", True]
    assert json.loads(done.stdout) == expected


@pytest.mark.parametrize("path", [f"{ROOT}:", f":{ROOT}", f".:{ROOT}", f"{ROOT}"])
def test_nothing_is_imported_from_the_current_directory(folder: Path, path: str) -> None:
    (folder / "a.py").write_text("try: import only_here\nexcept ImportError: print('not found')\n")
    assert run("of file/a.py", cwd=folder.parent, path=path).stdout == "not found\n"


def test_a_module_of_the_checkout_runs_in_any_directory(folder: Path) -> None:
    done = run("-m", "benchmarks.engine", "--help", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage:")
    missing = run("-m", "only_here", cwd=folder.parent)
    assert missing.stderr == "ImportError: No module named only_here\n"


@pytest.mark.parametrize("package", ["benchmarks", "hoverboard"])
def test_a_package_without_a_program_is_one_message(folder: Path, package: str) -> None:
    done = run("-m", package, cwd=folder)
    assert done.returncode == 1
    message = f"No module named {package}.__main__; {package!r} is a package and cannot be directly executed"
    assert done.stderr == f"ImportError: {message}\n"


def test_a_module_that_fails_shows_its_own_frames_and_all_its_errors(folder: Path) -> None:
    (folder / "failing.py").write_text(
        "try: 1 / 0\nexcept ZeroDivisionError as error: raise KeyError('a') from error\n"
    )
    done = run("-m", "failing", cwd=folder, path=f"{ROOT}:{folder}")
    assert done.returncode == 1
    assert "ZeroDivisionError: division by zero" in done.stderr
    assert done.stderr.splitlines()[-1] == "KeyError: 'a'"
    assert "runpy" not in done.stderr
    assert "python_runner" not in done.stderr


def test_a_named_pipe_is_read_once(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    writer = subprocess.Popen(["sh", "-c", "echo 'print(__name__)' >pipe"], cwd=folder)
    try:
        done = run("pipe", cwd=folder)
    finally:
        writer.kill()
        writer.wait()
    assert (done.returncode, done.stdout, done.stderr) == (0, "__main__\n", "")


def test_standard_input_is_a_file_too(folder: Path) -> None:
    done = run("/dev/stdin", "x", cwd=folder, stdin="import sys\nprint(sys.argv)\n")
    assert (done.returncode, done.stdout) == (0, "['/dev/stdin', 'x']\n")


def test_a_link_to_a_file_sees_the_folder_of_the_file(folder: Path) -> None:
    (folder / "a.py").write_text("import beside\nprint(beside.PLACE)\n")
    (folder.parent / "link.py").symlink_to(folder / "a.py")
    assert run("link.py", cwd=folder.parent).stdout == "of the file\n"


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("def f():\n    1 / 0\nf()\n", "ZeroDivisionError: division by zero"),
        ("x = (\n", "SyntaxError: '(' was never closed"),
        ("x = 1\ny = '\0'\n", "SyntaxError: source code string cannot contain null bytes"),
        ("# coding: nosuch\n", "SyntaxError: unknown encoding: nosuch"),
    ],
)
def test_a_traceback_is_of_the_file_alone(folder: Path, text: str, last: str) -> None:
    (folder / "a.py").write_text(text)
    done = run("a.py", cwd=folder)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == last
    assert f'{folder}/a.py", line ' in done.stderr
    assert "python_runner" not in done.stderr


def test_future_imports_of_the_runner_are_not_the_files(folder: Path) -> None:
    (folder / "a.py").write_text("def f(x: int): ...\nprint(f.__annotations__)\n")
    assert run("a.py", cwd=folder).stdout == "{'x': <class 'int'>}\n"


def test_classes_of_a_file_are_found_as_those_of_main(folder: Path) -> None:
    (folder / "a.py").write_text("import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)\n")
    assert run("a.py", cwd=folder).stdout == "True\n"


def test_a_signal_that_ends_a_file_ends_the_command(folder: Path) -> None:
    (folder / "a.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n")
    assert run("a.py", cwd=folder).returncode == -signal.SIGTERM


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "python: there is no file to run\n  -> give one: hoverboard python FILE"),
        (["-m"], "python: -m needs a module\n  -> name one: hoverboard python -m MODULE"),
        (["-m", ""], "python: -m needs a module\n  -> name one: hoverboard python -m MODULE"),
        ([""], "python: there is no file to run\n  -> give one: hoverboard python FILE"),
        (["-"], "python: '-' is not a file\n  -> give the path of a Python file; standard input is /dev/stdin"),
        (["nosuch.py"], "nosuch.py: there is no such file\n  -> give the path of a Python file"),
        (["."], ".: it cannot be read: is a directory\n  -> give the path of a Python file"),
    ],
)
def test_without_a_file_it_says_what_is_missing(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = runner.invoke(app, ["python", *words])
    assert shown.exit_code == InputError.exit_code
    assert message in shown.stderr
