"""An ordinary user without an account: a bare uid, with a folder that is its own."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

UID = 61377
BECOME = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--inh-caps=-all")
IN_NAMESPACES = ("unshare", "-Urnmpf", "--mount-proc")
# The network's ways out, which a machine may need to reach a package registry.
_NETWORK = (
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "PIP_CERT",
    "SSL_CERT_FILE",
)


def make_home(path: Path) -> Path:
    """Make a folder that belongs to the user, and that others cannot enter."""
    path.mkdir()
    os.chown(path, UID, UID)
    path.chmod(0o700)
    return path


def as_user(
    argv: Sequence[str | Path], *, home: Path | None = None, root_first: str = "", seconds: float = 60, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command as the user, with an environment of its own.

    Args:
        argv: the command.
        home: its HOME; None: not set.
        root_first: a shell command that root runs before, in a mount namespace that goes with the process.
        seconds: after which it is ended.
        variables: more of the environment.
    """
    kept = {name: os.environ[name] for name in _NETWORK if name in os.environ}
    environment = {"PATH": "/usr/bin:/bin", **kept, **({"HOME": str(home)} if home else {}), **variables}
    words = [*BECOME, "env", "-i", *(f"{name}={value}" for name, value in environment.items()), *map(str, argv)]
    if root_first:
        words = ["unshare", "-m", "sh", "-ec", f"{root_first}\nexec {shlex.join(words)}"]
    return subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False, cwd="/")
