"""The version of Hoverboard, with the commit that it is of."""

from __future__ import annotations

import json
import os
import subprocess
from importlib import metadata
from pathlib import Path

from hoverboard import __version__

_ROOT = Path(__file__).resolve().parents[1]
_DIGITS = 7
_COMMIT = "# branch.oid "
_GIT_SECONDS = 5.0


def version_line(root: Path = _ROOT) -> str:
    """Name, version and commit, as `hoverboard --version` prints them."""
    commit = _commit_of_checkout(root) if (root / ".git").exists() else _commit_of_installation()
    return f"hoverboard {__version__} ({commit or 'commit unknown'})"


def _commit_of_checkout(root: Path) -> str | None:
    """The commit, with a mark where files of it are changed; None when git cannot say."""
    # Git may find no other repository: not one around it, nor one of the environment. With --git-dir, root may read a
    # checkout of another user; without locks, git leaves the index to that user.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    git = ["git", f"--git-dir={root / '.git'}", f"--work-tree={root}", "--no-optional-locks", "-c", "core.fsmonitor="]
    try:
        done = subprocess.run(
            [*git, "status", "--porcelain=v2", "--branch", "--untracked-files=no"], env=environment, cwd=root,
            capture_output=True, text=True, timeout=_GIT_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    commit = next((line.removeprefix(_COMMIT) for line in lines if line.startswith(_COMMIT)), "(initial)")
    if done.returncode != 0 or commit == "(initial)":
        return None
    changed = any(not line.startswith("#") for line in lines)
    return f"{commit[:_DIGITS]}{', changed' if changed else ''}"


def _commit_of_installation() -> str | None:
    """The commit that pip recorded when it installed from a repository (PEP 610); None when it recorded none."""
    try:
        recorded = metadata.distribution("hoverboard").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    commit = json.loads(recorded or "{}").get("vcs_info", {}).get("commit_id")
    return commit[:_DIGITS] if commit else None
