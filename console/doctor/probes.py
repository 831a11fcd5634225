"""Looks at the real machine for the doctor. It installs, loads, starts and stops nothing.

Kernel features are not guessed from version numbers: a child in a temporary network namespace tries them
(`kernel_features`). The paper has no counterpart.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import pwd
import re
import shutil
import stat
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from typing_extensions import override

from console.doctor import kernel_features
from console.doctor.port import ModuleState, Probes
from console.rootless import free_uid
from hoverboard import mapped_users, programs
from hoverboard.contract.errors import HoverboardError
from topologies.processes.run_directory import check_state, state_dir, state_dirs
from topologies.rootless import lacking, namespaces
from topologies.rootless import state as users_state
from topologies.rootless.lacking import Lack

# The argument that prints a tool's version; mnexec has none.
_VERSION_ARGUMENTS = {"ip": "-V", "ping": "-V", "mnexec": None}
_SECONDS = 5.0
_OURS = "hoverboard: "  # how an error of the first process begins
_NAMESPACE_SETTINGS = (
    "user.max_user_namespaces",
    "kernel.unprivileged_userns_clone",
    "kernel.apparmor_restrict_unprivileged_userns",
)
_SUBUID = Path("/etc/subuid")
_PROC_MEMINFO = Path("/proc/meminfo")


class MachineProbes(Probes):
    """The facts of this machine."""

    @override
    def root(self) -> bool:
        return mapped_users.privileges() == "root"

    @override
    def user_namespaces(self) -> str:
        if not self.root() and os.geteuid() == 0:
            return ""  # we are in some
        command, rights = namespaces.new(["true"], Path("/"), stay=False), dict[str, Any]()
        if self.root():
            uid = free_uid()
            rights = {"user": uid, "group": uid, "extra_groups": []}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd="/", **rights
            )
        except (OSError, subprocess.SubprocessError) as error:
            return f"could not be tried: {error}"
        if done.returncode == 0:
            return ""
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        return next((line for line in lines if line.startswith(_OURS)), lines[-1]).removeprefix(_OURS)

    @override
    def namespace_settings(self) -> dict[str, str]:
        found = {}
        for name in _NAMESPACE_SETTINGS:
            with contextlib.suppress(OSError):
                found[name] = Path("/proc/sys", *name.split(".")).read_text().strip()
        return found

    @override
    def tun_device(self) -> str:
        try:
            return f"{stat.S_IMODE(namespaces.TUN.stat().st_mode):04o}"
        except OSError:
            return ""

    @override
    def tun_fault(self) -> tuple[str, str] | None:
        return _words(namespaces.tun_fault())

    @override
    def limits_fault(self) -> tuple[str, str] | None:
        return _words(namespaces.limits_fault())

    @override
    def lacks(self) -> list[Lack]:
        return lacking.of_this_process()

    @override
    def subordinate_ids(self) -> str:
        there = "newuidmap is there" if programs.find("newuidmap") else "newuidmap is not installed"
        return f"{there}, {_subordinate(_SUBUID, os.getuid())} subordinate ids"

    @override
    def kernel(self) -> str:
        return f"{platform.release()} {platform.machine()}"

    @override
    def kernel_features(self) -> dict[str, str] | str:
        program = [sys.executable, "-I", kernel_features.__file__]
        # An ordinary user's features are those in the namespaces of its runs. Nothing is written into "/".
        outside = os.geteuid() != 0
        command = namespaces.new(program, Path("/"), stay=False) if outside else ["unshare", "--net", *program]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=4 * _SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"could not be tried: {error}"
        if done.returncode != 0 and outside:
            return "need the namespaces of a run to be tried"
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
        try:
            from topologies.client.run_client import dead_runs

            return [dead.run for state in state_dirs() for dead in dead_runs(state)]
        except (ImportError, OSError, HoverboardError) as error:
            return f"could not be listed: {error}"

    @override
    def state_directory(self) -> str:
        folder = state_dir()
        try:
            if not self.root() and folder.exists():
                users_state.check(folder)
            elif not self.root() and not os.access(folder.parent, os.W_OK):
                return f"{folder}: it cannot be made there"
            check_state(folder)
        except HoverboardError as error:
            return f"{error.where}: {error.what}"
        except OSError as error:
            return str(error)
        return ""

    @override
    def failed_starts(self) -> list[str]:
        from topologies.processes import failed_logs

        return [name for state in state_dirs() for name in failed_logs.names(state)]

    @override
    def lost_runs(self) -> list[str] | str:
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
        where = state_dir()
        while not where.exists():
            where = where.parent
        return str(where), shutil.disk_usage(where).free // 2**20


def _words(fault: HoverboardError | None) -> tuple[str, str] | None:
    return None if fault is None else (fault.what, fault.next_step)


def _subordinate(table: Path, uid: int) -> int:
    """How many ids a table of subuid(5) gives to a user: lines of a name or uid, the first id, how many."""
    try:
        names = {str(uid), pwd.getpwuid(uid).pw_name}
    except KeyError:
        names = {str(uid)}
    try:
        lines = [line.split(":") for line in table.read_text().splitlines()]
    except OSError:
        return 0
    return sum(int(line[2]) for line in lines if len(line) == 3 and line[0] in names and line[2].isdigit())


def _output(*argv: str) -> str | None:
    """Output of a tool, both streams; None if it fails, is not there, or does not answer in time."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout + done.stderr if done.returncode == 0 else None
