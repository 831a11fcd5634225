"""The record that goes with every result: machine, kernel, tools, commit, parameters, time.

Results of different versions of the code must not be mixed. So the record has the commit, and says
whether the checkout has local changes.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.tools import tcp_congestion_control
from hoverboard import mapped_users

if TYPE_CHECKING:
    from hoverboard.contract.experiment_documents import Code, Record


_TOOLS = {
    "ovs": (["ovs-vswitchd", "--version"], r"(\d+\.\d+\.\d+)"),
    "iperf3": (["iperf3", "--version"], r"iperf (\S+)"),
    "ping": (["ping", "-V"], r"iputils \S*?(\d{8}|\d\S*)"),
}
_PACKAGES = ("mininet", "os-ken", "numba", "numpy", "grpcio", "matplotlib")
_SECONDS = 5.0


def _output(argv: list[str], cwd: Path | None = None) -> str:
    """The output of a command; "" if it is not installed, fails or takes too long."""
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _package(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _field(path: str, pattern: str) -> str:
    try:
        match = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    except OSError:
        return ""
    return match[1].strip().strip('"') if match else ""


def machine() -> dict[str, str | int | float | None]:
    """The machine: cores, CPU, memory, kernel, system, and TCP congestion control."""
    memory = _field("/proc/meminfo", r"MemTotal:\s+(\d+) kB")
    return {
        "cores": os.cpu_count(),
        "cpu": _field("/proc/cpuinfo", r"^model name\s*: (.+)$") or platform.machine(),
        "memory_gib": round(int(memory) / 2**20, 1) if memory else None,
        "kernel": platform.release(),
        "system": _field("/etc/os-release", r"^PRETTY_NAME=(.+)$"),
        "tcp_measured_with": tcp_congestion_control.control(),
        "tcp_congestion_control": _field("/proc/sys/net/ipv4/tcp_congestion_control", r"(\S+)"),
    }


def versions() -> dict[str, str]:
    """The versions of tools and libraries, without those that are not installed."""
    found = {"python": platform.python_version()}
    for name, (argv, pattern) in _TOOLS.items():
        match = re.search(pattern, _output(argv))
        if match:
            found[name] = match[1]
    found |= {name: version for name in _PACKAGES if (version := _package(name))}
    return found


def commit() -> Code:
    """The checkout of this code: its commit, whether files differ from it, and a digest of the difference."""
    root = Path(__file__).resolve().parents[2]
    # Root often reads a checkout of another user. git rejects that unless the directory is named as safe.
    git = ["git", "-c", f"safe.directory={root}"]
    name = _output([*git, "rev-parse", "HEAD"], root)
    changed = bool(_output([*git, "status", "--porcelain", "--untracked-files=no"], root)) if name else None
    found: Code = {"commit": name or None, "changed": changed, "version": _package("hoverboard") or None}
    if changed:  # two changed checkouts are the same version only if their changes are the same
        found["changes"] = digest(_output([*git, "diff", "HEAD"], root))
    return found


def digest(text: str) -> str:
    """A short digest of a text: 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def record(parameters: dict[str, Any]) -> Record:
    """The record that one needs to judge and to repeat a measurement."""
    return {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["hoverboard", *sys.argv[1:]]),
        "parameters": parameters,
        "privileges": mapped_users.privileges(),
        "code": commit(),
        "machine": machine(),
        "versions": versions(),
    }
