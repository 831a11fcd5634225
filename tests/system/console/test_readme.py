"""Every command, file and program that README shows, typed as it stands there.

The comment before a fenced block says how it is tested:

- `<!-- tested -->`: its commands run in CI, one after the other, and each must succeed.
- `<!-- tested: NAME -->`: a file, which is written for the commands that follow.
- `<!-- tested from a clone -->`: commands that install and remove Hoverboard. They run in the long ring, in a fresh
  clone, together with all the others.
- `<!-- test command -->`: CI is this command (.ci/run).

Output has the language `text`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_BLOCK = re.compile(r"^(?:<!-- (?P<mark>[^\n]*) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
_IN_CI = re.compile(r"tested(?:: (?P<name>\S+))?")
_FROM_CLONE = "tested from a clone"
_TEST_COMMAND = "test command"


def blocks() -> list[re.Match[str]]:
    return list(_BLOCK.finditer((ROOT / "README.md").read_text(encoding="utf-8")))


def shims(folder: Path, **programs: str) -> str:
    """PATH with these programs first, each with the text of its script."""
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def type_blocks(work: Path, environment: dict[str, str], marks: tuple[str, ...], seconds: float) -> None:
    """Write the files and type the commands of all blocks with such a mark, in the directory `work`."""
    for block in blocks():
        file = _IN_CI.fullmatch(block["mark"] or "")
        if file and file["name"]:
            (work / file["name"]).write_text(block["text"])
        elif file or block["mark"] in marks:
            for command in block["text"].splitlines():
                done = subprocess.run(
                    ["bash", "-c", command], cwd=work, env=environment, capture_output=True, text=True,
                    timeout=seconds, check=False,
                )  # fmt: skip
                assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def test_every_block_is_tested_or_is_output() -> None:
    for block in blocks():
        mark = block["mark"] or ""
        assert _IN_CI.fullmatch(mark) or mark in (_FROM_CLONE, _TEST_COMMAND) or block["language"] == "text", block[0]


@pytest.mark.timeout(600)
def test_commands(state: Path, tmp_path: Path) -> None:
    # The tests are root already, and the checkout's command is meant, whichever is installed.
    command = f'exec {shlex.quote(sys.executable)} -m console.cli "$@"'
    path = shims(tmp_path / "bin", sudo='exec "$@"', hoverboard=command)
    work = tmp_path / "work"
    work.mkdir()
    type_blocks(work, os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}, (), 180)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_all_commands_from_a_fresh_clone(state: Path, tmp_path: Path) -> None:
    clone, prefix, commands = tmp_path / "hoverboard", tmp_path / "prefix", tmp_path / "bin"
    # Root may read a checkout of another user, which git rejects unless its configuration names it as safe.
    (tmp_path / "gitconfig").write_text("[safe]\n\tdirectory = *\n")
    trusting = os.environ | {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")}
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], env=trusting, check=True, timeout=60)
    path = shims(tmp_path / "shims", sudo='exec "$@"')
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NUMBA_CACHE_DIR")}
    environment |= {
        "PATH": f"{commands}:{path}", "HOVERBOARD_PREFIX": str(prefix), "HOVERBOARD_BIN": str(commands),
        "HOVERBOARD_LOG": str(tmp_path / "log"),
    }  # fmt: skip
    type_blocks(clone, environment, (_FROM_CLONE,), 1200)
    assert list(clone.glob("results/demo-*/report.html"))
    assert not prefix.exists()
    assert list(commands.iterdir()) == []
