"""The version of Hoverboard, with the commit that it is of."""

from __future__ import annotations

import json
import subprocess
from importlib import metadata
from pathlib import Path

from hoverboard import __version__

_ROOT = Path(__file__).resolve().parents[1]
_DIGITS = 7
_GIT_SECONDS = 5.0


def version_line(root: Path = _ROOT) -> str:
    """Name, version and commit, as `hoverboard --version` prints them."""
    commit = _commit_of_checkout(root) if (root / ".git").exists() else _commit_of_installation()
    return f"hoverboard {__version__} ({commit or 'commit unknown'})"


def _commit_of_checkout(root: Path) -> str | None:
    # Root often reads a checkout of another user; git rejects that unless it is named as safe.
    git = ["git", "-C", str(root), "-c", f"safe.directory={root}"]
    try:
        done = subprocess.run(
            [*git, "rev-parse", f"--short={_DIGITS}", "HEAD"], capture_output=True, text=True, timeout=_GIT_SECONDS,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _commit_of_installation() -> str | None:
    """The commit that pip recorded when it installed from a repository (PEP 610); None when it recorded none."""
    try:
        recorded = metadata.distribution("hoverboard").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    commit = json.loads(recorded or "{}").get("vcs_info", {}).get("commit_id")
    return commit[:_DIGITS] if commit else None
