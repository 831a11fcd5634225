"""Every command, file and program that README shows, typed as it stands there (tests/documented.py: the marks)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests import documented, ordinary_user
from tests.documented import FROM_CLONE, FROM_USERS_CLONE, IN_CI, IN_LONG_RING, ROOT
from tests.system.privileges import needs_other_users

BLOCKS = documented.blocks(ROOT / "README.md")


@pytest.mark.timeout(600)
def test_commands(state: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    environment = documented.checkout_environment(tmp_path / "bin")
    documented.type_blocks(BLOCKS, IN_CI, work, environment, seconds=180)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_all_commands_from_a_fresh_clone(state: Path, tmp_path: Path) -> None:
    clone, prefix, commands = tmp_path / "hoverboard", tmp_path / "prefix", tmp_path / "bin"
    # Root may read a checkout of another user, which git rejects unless its configuration names it as safe.
    (tmp_path / "gitconfig").write_text("[safe]\n\tdirectory = *\n")
    trusting = os.environ | {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")}
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], env=trusting, check=True, timeout=60)
    path = documented.commands_on_path(tmp_path / "shims", sudo='exec "$@"')
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NUMBA_CACHE_DIR")}
    environment |= {
        "PATH": f"{commands}:{path}", "HOVERBOARD_PREFIX": str(prefix), "HOVERBOARD_BIN": str(commands),
        "HOVERBOARD_LOG": str(tmp_path / "log"),
    }  # fmt: skip
    documented.type_blocks(BLOCKS, (*IN_LONG_RING, FROM_CLONE), clone, environment, seconds=1200)
    assert list(clone.glob("results/demo-*/report.html"))
    assert not prefix.exists()
    assert list(commands.iterdir()) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
@needs_other_users
def test_an_ordinary_user_types_its_lines_in_a_clone_of_its_own() -> None:
    """Set-up, the demo, and all quick commands of the page: without root, and by a user without an account."""
    with ordinary_user.user() as reader:
        reader.write(".gitconfig", "[safe]\n\tdirectory = *\n")  # the checkout is another user's
        assert reader.run("git", "clone", "--quiet", ROOT, "hoverboard").returncode == 0
        clone = reader.home / "hoverboard"
        path = f"{reader.home}/.local/bin:{os.environ['PATH']}"
        for block in BLOCKS:
            if block.file:
                reader.write(str(clone / block.file), block.text)
            elif block.mark in (FROM_USERS_CLONE, *IN_CI):
                for command in block.commands():
                    words, environment = ["bash", "-c", command.removesuffix("&")], {"PATH": path, "PYTHONPATH": ""}
                    if command.endswith("&"):
                        reader.start(*words, cwd=clone, environment=environment)
                        continue
                    done = reader.run(*words, cwd=clone, timeout=1200, **environment)
                    assert done.returncode == 0, f"{block.place}: {command}\n{done.stdout}{done.stderr}"
        assert list(clone.glob("results/demo-*/report.html"))
        assert reader.run("./bootstrap.sh", "uninstall", "--user", cwd=clone).returncode == 0
        assert not (reader.home / ".local/share/hoverboard").exists()
