"""The commands that documents name for tests exist, and take the options that stand there."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.mutation import arguments as mutation

ROOT = Path(__file__).parents[2]
_FENCED = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
_QUOTED = re.compile(r"`((?:sudo )?tests/[^`]+)`")
MARKED = re.compile(r"-m (long|(rootless\\ and\\ )?not\\ long|'not long')( |$)")


def commands(program: str) -> list[list[str]]:
    """What the documents show after `tests/PROGRAM`, as words."""
    found = []
    for name in ("README.md", "CONTRIBUTING.md", "docs/testing.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        lines = [line for block in _FENCED.findall(text) for line in block.splitlines()]
        for line in [*lines, *_QUOTED.findall(_FENCED.sub("", text))]:
            for command in line.split("&&"):
                words = [word for word in shlex.split(command, comments=True) if word != "sudo"]
                if words[:1] == [f"tests/{program}"]:
                    found.append(words[1:])
    return found


def dry(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "tests" / program), "--dry-run", *words], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("program", "words"),
    [(program, words) for program in ("run", "check") for words in commands(program)],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_rings_take_what_is_documented(program: str, words: list[str]) -> None:
    done = dry(program, *words)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        if "pytest" in line and "random" not in line:
            assert MARKED.search(line), f"{line}: quick or long?"


def test_what_ci_runs_and_what_is_long() -> None:
    ci, long, check = (dry(*words).stdout for words in (("run",), ("run", "long"), ("check",)))
    assert [line.split()[1] for line in ci.splitlines()] == ["ruff", "ruff", "mypy", "pytest", "pytest", "python"]
    assert ci.splitlines()[-1].count("tests.ordinary_user") == 1
    assert "tests/system" in ci
    assert "tests/system" not in check
    assert "-n 2" in check
    assert "tests/mutate --changed" in long
    assert long.count("tests.ordinary_user") == 2, "all system tests, quick and long"
    assert [] in commands("run")
    assert ["long"] in commands("run")


@pytest.mark.parametrize("program", ["run", "check"])
def test_what_is_not_documented_is_refused(program: str) -> None:
    done = dry(program, "everything")
    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: tests/{program}")


@pytest.mark.parametrize("words", [words for words in commands("mutate") if words], ids=" ".join)
def test_mutate_takes_what_is_documented(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for word in words:
        if "/" in word:  # files and folders that a later version may not have any more are examples all the same
            assert (ROOT / word).exists(), word
            (tmp_path / word).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / word).is_dir():
                (tmp_path / word).mkdir()
                (tmp_path / word / "module.py").touch()
            else:
                (tmp_path / word).touch()
    if "MODULE" not in words:
        assert mutation.options(mutation.parsed(words), tmp_path, {}).seconds > 0
