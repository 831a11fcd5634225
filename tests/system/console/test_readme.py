"""Every command, file and program that README shows, run as it stands there; bootstrap and the tests' own runner apart.

A fenced block is run when the line before it is `<!-- tested -->` (commands, each must succeed) or
`<!-- tested: NAME -->` (a file; a Python file is also run).
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
_BLOCK = re.compile(r"^(?:<!-- tested(?:: (?P<name>\S+))? -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
_UNTESTED = ("sudo ./bootstrap.sh demo && sudo hoverboard demo\n", "sudo ./bootstrap.sh test && sudo tests/run\n")


def blocks() -> list[re.Match[str]]:
    return list(_BLOCK.finditer((ROOT / "README.md").read_text(encoding="utf-8")))


def test_every_block_is_tested_or_known() -> None:
    for block in blocks():
        tested = block[0].startswith("<!-- tested")
        assert tested or block["language"] == "text" or block["text"] in _UNTESTED, block["text"]


def test_pictures_and_links_are_there() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / target).is_file(), target


@pytest.mark.timeout(400)
def test_commands(state: Path, tmp_path: Path) -> None:
    shims = tmp_path / "bin"
    shims.mkdir()
    # We are root already, and the checkout's command is meant, whichever is installed.
    for name, text in (
        ("sudo", 'exec "$@"'),
        ("hoverboard", f'exec {shlex.quote(sys.executable)} -m console.cli "$@"'),
    ):
        (shims / name).write_text(f"#!/bin/sh\n{text}\n")
        (shims / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{shims}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    work = tmp_path / "work"
    work.mkdir()
    for block in blocks():
        if not block[0].startswith("<!-- tested"):
            continue
        commands = block["text"].splitlines()
        if block["name"]:
            (work / block["name"]).write_text(block["text"])
            commands = [f"{shlex.quote(sys.executable)} {block['name']}"] if block["language"] == "python" else []
        for command in commands:
            done = subprocess.run(
                ["bash", "-c", command], cwd=work, env=environment, capture_output=True, text=True, timeout=180,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
