"""Looks at the real machine for the doctor. It installs, loads, starts and stops nothing.

Kernel features are not guessed from version numbers: a child in a temporary network namespace tries them
(`kernel_features`). The paper has no counterpart.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from typing_extensions import override

from console.doctor import kernel_features
from console.doctor.port import ModuleState, Probes
from hoverboard import programs
from hoverboard.contract.errors import HoverboardError

# The argument that prints a tool's version; mnexec has none.
_VERSION_ARGUMENTS = {"ip": "-V", "ping": "-V", "mnexec": None}
_SECONDS = 5.0
_PROC_MEMINFO = Path("/proc/meminfo")


class MachineProbes(Probes):
    """The facts of this machine."""

    @override
    def root(self) -> bool:
        return os.geteuid() == 0

    @override
    def kernel(self) -> str:
        return f"{platform.release()} {platform.machine()}"

    @override
    def kernel_features(self) -> dict[str, str] | str:
        if not self.root():
            return "need root to be tried"
        program = [sys.executable, "-I", kernel_features.__file__]
        try:
            done = subprocess.run(
                ["unshare", "--net", *program], capture_output=True, text=True, timeout=4 * _SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"could not be tried: {error}"
        if done.returncode != 0:
            # Without network namespaces no feature can be used.
            reason = (done.stderr.strip().splitlines() or [f"unshare ended with {done.returncode}"])[-1]
            return {name: reason for name in kernel_features.FEATURES}
        found: dict[str, str] = json.loads(done.stdout)
        return found

    @override
    def openvswitch_module(self) -> ModuleState:
        if Path("/sys/module/openvswitch").exists():
            return "loaded"
        # A dry run, as looking must not load it.
        return "loadable" if _output("modprobe", "--dry-run", "--quiet", "openvswitch") is not None else "absent"

    @override
    def cgroup(self) -> str:
        kinds = {line.split()[2] for line in Path("/proc/self/mounts").read_text().splitlines()}
        found = [name for kind, name in (("cgroup", "v1"), ("cgroup2", "v2")) if kind in kinds]
        return " and ".join(found) or "none"

    @override
    def tool(self, name: str) -> str | None:
        if programs.find(name) is None:
            return None
        argument = _VERSION_ARGUMENTS.get(name, "--version")
        output = _output(name, argument) if argument else None
        version = re.search(r"\d+(\.\d+)+|\b\d{8}\b", output or "")
        return version[0] if version else "found"

    @override
    def package(self, name: str) -> str | None:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return None

    @override
    def compiled_fast_path(self) -> bool:
        try:
            from hoverboard.fastpath.engine.compose import is_compiled
        except ImportError:
            return False
        return is_compiled()

    @override
    def python(self) -> str:
        return platform.python_version()

    @override
    def dead_runs(self) -> list[str] | str:
        if not self.root():
            return "need root to be listed"
        try:
            from topologies.client.run_client import dead_runs

            return [dead.run for dead in dead_runs()]
        except (ImportError, OSError, HoverboardError) as error:
            return f"could not be listed: {error}"

    @override
    def state_directory(self) -> str:
        from topologies.processes.run_directory import check_state, state_dir

        try:
            check_state(state_dir())
        except HoverboardError as error:
            return f"{error.where}: {error.what}"
        except OSError as error:
            return str(error)
        return ""

    @override
    def failed_starts(self) -> list[str]:
        from topologies.processes import failed_logs

        return failed_logs.names()

    @override
    def lost_runs(self) -> list[str] | str:
        if not self.root():
            return "need root to be listed"
        try:
            from topologies.client.orphans import lost_runs

            return [str(lost) for lost in lost_runs()]
        except (ImportError, OSError, HoverboardError) as error:
            return f"could not be listed: {error}"

    @override
    def memory_mib(self) -> tuple[int, int]:
        fields = dict(line.split(":", 1) for line in _PROC_MEMINFO.read_text().splitlines())
        available, total = (int(fields[name].split()[0]) // 1024 for name in ("MemAvailable", "MemTotal"))
        return available, total

    @override
    def cores(self) -> int:
        return len(os.sched_getaffinity(0))

    @override
    def disk_mib(self) -> tuple[str, int]:
        where = Path(os.environ.get("HOVERBOARD_STATE_DIR") or "/run/hoverboard")
        while not where.exists():
            where = where.parent
        return str(where), shutil.disk_usage(where).free // 2**20


def _output(*argv: str) -> str | None:
    """Output of a tool, both streams; None if it fails, is not there, or does not answer in time."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout + done.stderr if done.returncode == 0 else None
