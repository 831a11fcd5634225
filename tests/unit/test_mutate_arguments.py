"""What `tests/mutate` refuses before anything is begun, and which lines count as changed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.mutation import arguments


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "name modules, or --changed"),
        ("--lines x-y a.py", "--lines x-y"),
        ("--lines 9-3 a.py", "--lines 9-3"),
        ("--lines 0 a.py", "--lines 0"),
        ("--sample -1 a.py", "--sample -1"),
        ("--seconds 0 a.py", "--seconds 0"),
        ("--root", "--root: expected one argument"),
        ("--changed --base", "--base: expected one argument"),
        ("--base HEAD a.py", "--base goes with --changed"),
        ("--changed a.py", "--changed takes all modules"),
        ("--chang", "--chang"),
    ],
)
def test_arguments_that_cannot_be_meant(given: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        arguments.parsed(given.split())
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("tests/mutate: ")
    assert said in error
    assert error.count("\n") == 1


def test_a_value_may_stand_behind_an_equals_sign() -> None:
    found = arguments.parsed(["--root=/x", "--changed", "--base=HEAD~1"])
    assert (found.root, found.base, found.changed) == ("/x", "HEAD~1", True)
    assert arguments.parsed(["--lines=3-5", "a.py"]).lines == {3, 4, 5}


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("README.md", "README.md is no Python file"),
        ("nowhere.py", "no such file or folder"),
        ("../x.py", "no such file or folder"),
        ("tests/x.py", "a file or a folder of hoverboard"),
        ("console/broken.py", "cannot be read as Python"),
        ("console/empty", "a file or a folder of hoverboard"),
    ],
)
def test_modules_that_cannot_be_meant(
    module: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("README.md", "x"), ("tests/x.py", ""), ("console/broken.py", "def"), ("console/empty/x", "")):
        (tmp_path / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "top" / name).write_text(text)
    (tmp_path / "x.py").write_text("")
    with pytest.raises(SystemExit) as caught:
        arguments.options(arguments.parsed([module]), tmp_path / "top", {})
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def git(checkout: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    return subprocess.run(["git", "-C", str(checkout), *who, *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """One commit with a module of two lines, made with settings that change what `git diff` prints."""
    git(tmp_path, "init", "--quiet")
    for name, value in (("diff.noprefix", "true"), ("diff.external", "false"), ("diff.mnemonicPrefix", "true")):
        git(tmp_path, "config", name, value)
    (tmp_path / "console").mkdir()
    (tmp_path / "console" / "a.py").write_text("x = 1\ny = 2\n")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    return tmp_path


def test_changed_is_what_is_committed_what_is_not_and_new_files(checkout: Path) -> None:
    (checkout / "console" / "a.py").write_text("x = 1\ny = 3\n")
    git(checkout, "commit", "--quiet", "--all", "-m", "two")
    (checkout / "console" / "a.py").write_text("x = 1\ny = 3\nz = 4\n")
    (checkout / "console" / "new.py").write_text("x = 1\n")
    (checkout / "README.py").write_text("x = 1\n")
    before = git(checkout, "status", "--porcelain"), git(checkout, "count-objects")
    assert arguments.changes_since(checkout, "HEAD~1") == {"console/a.py": {2, 3}, "console/new.py": {1}}
    assert arguments.changes_since(checkout, None) == {"console/a.py": {3}, "console/new.py": {1}}
    assert (git(checkout, "status", "--porcelain"), git(checkout, "count-objects")) == before


@pytest.mark.parametrize(("base", "said"), [(None, "with --base"), ("nowhere", "--base nowhere: no such commit")])
def test_a_base_that_cannot_be_meant(
    base: str | None, said: str, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        arguments.changes_since(checkout, base)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_a_root_is_the_top_of_a_checkout(checkout: Path) -> None:
    assert arguments.checkout_of(checkout) == checkout.resolve()
    for other in (checkout / "console", checkout / "nowhere"):
        with pytest.raises(SystemExit):
            arguments.checkout_of(other)
