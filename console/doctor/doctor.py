"""Judges what this machine has and lacks for Hoverboard, and what follows from that (`hoverboard doctor`).

All facts about the machine come through the port `port.Probes`; the real adapter is `probes.MachineProbes`. Nothing is
changed. The paper has no counterpart.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict

from console.doctor import ordinary_user
from console.doctor.findings import Line
from console.doctor.port import Probes
from console.plain_text import plain, unfiltered
from hoverboard.contract.errors import MachineError

NO_SWITCH = "no switch can run: apt-get install openvswitch-switch, or sudo ./bootstrap.sh demo"
BOOTSTRAP = "sudo ./bootstrap.sh demo installs it"
MEMORY_FOR_RACK_MIB = 4096
MEMORY_FOR_DEMO_MIB = 1536
DISK_MIB = 512
OS_KEN_AT_LEAST = (4, 2, 1)


# Feature -> (required, what follows when it does not work, its name for people).
_FEATURES: dict[str, tuple[bool, str, str]] = {
    "tun": (
        True,
        "no VM NIC for the dataplanes 'fastpath', 'fastpath-vmm' and 'pre'; only --dataplane ovs works",
        "tun/tap with segment header",
    ),
    "tun-uso": (
        False,
        "UDP is sent packet by packet instead of in segments; TCP is not affected",
        "tap: UDP segmentation",
    ),
    "veth": (True, "no links between VMs, hosts and fabric: nothing can be brought up", "veth"),
    "bridge": (True, "no fabric between the hosts: nothing can be brought up", "bridge"),
    "netem": (False, "a process of each run makes delay and loss of links instead (docs/links.md)", "netem"),
    "htb": (False, "a process of each run limits the rates of links instead (docs/links.md)", "htb"),
    "af-xdp": (False, "nothing: the fast path uses taps", "AF_XDP"),
    "vxlan": (False, "the kernel's own overlay cannot be measured for comparison", "vxlan"),
}

_TOOLS: dict[str, tuple[bool, str]] = {
    "ovs-vswitchd": (True, NO_SWITCH),
    "ovsdb-server": (True, NO_SWITCH),
    "ovs-ofctl": (True, NO_SWITCH),
    "mnexec": (True, f"no namespaces can be made or entered; {BOOTSTRAP} (package mininet)"),
    "ip": (True, f"no links can be made; {BOOTSTRAP} (package iproute2)"),
    "ethtool": (True, f"TCP hangs on the dataplane 'ovs' with offloads on; {BOOTSTRAP}"),
    "iperf3": (True, f"the demo and the experiments cannot measure; {BOOTSTRAP}"),
    "ping": (True, f"the demo cannot test reachability; {BOOTSTRAP} (package iputils-ping)"),
    "tcpdump": (False, f"packets cannot be captured; {BOOTSTRAP}"),
}

_PACKAGES = ("mininet", "numba", "numpy", "os-ken", "ovs", "grpcio", "protobuf", "pydantic")


def run_doctor(probes: Probes) -> list[Line]:
    """All findings, in the order in which they are shown."""
    return [
        *_machine(probes),
        *_kernel(probes),
        *_tools(probes),
        *_python(probes),
        *_state_directory(probes),
        _dead_runs(probes),
        _lost_runs(probes),
        _failed_starts(probes),
    ]


def healthy(lines: list[Line]) -> bool:
    """Whether the testbed can run: nothing that is required is missing."""
    return not any(line.required and line.state == "missing" for line in lines)


def _machine(probes: Probes) -> Iterator[Line]:
    if probes.root():
        yield Line("root", "ok", "yes")
        yield ordinary_user.line_for_root(probes)
    else:
        yield from ordinary_user.user_lines(probes)
    cores = probes.cores()
    if cores >= 2:
        yield Line("cores", "ok", str(cores))
    else:
        yield Line(
            "cores", "degraded", str(cores), "all processes share one core: measured rates and delays mean little"
        )
    available, total = probes.memory_mib()
    detail = f"{available} MiB of {total} MiB available"
    if available >= MEMORY_FOR_RACK_MIB:
        yield Line("memory", "ok", detail)
    elif available >= MEMORY_FOR_DEMO_MIB:
        yield Line(
            "memory", "degraded", detail, f"enough for the demo; the rack of 20 hosts needs {MEMORY_FOR_RACK_MIB} MiB"
        )
    else:
        yield Line(
            "memory", "degraded", detail, f"the demo needs {MEMORY_FOR_DEMO_MIB} MiB: the kernel may kill processes"
        )
    where, free = probes.disk_mib()
    if free >= DISK_MIB:
        yield Line("disk", "ok", f"{free} MiB free at {where}")
    else:
        yield Line(
            "disk", "degraded", f"{free} MiB free at {where}", "logs and databases of a run may not fit; make room"
        )


def _kernel(probes: Probes) -> Iterator[Line]:
    yield Line("kernel", "ok", probes.kernel())
    found = probes.kernel_features()
    if isinstance(found, str):
        yield Line(
            "kernel features", "degraded", found, f"not tried: {', '.join(what for _, _, what in _FEATURES.values())}"
        )
    else:
        for name, (required, consequence, what) in _FEATURES.items():
            reason = found.get(name, "was not tried")
            if reason:
                if name == "tun" and not probes.root() and probes.tun_fault() is not None:
                    consequence = "see /dev/net/tun"
                yield Line(what, "missing", reason, consequence, required)
            else:
                yield Line(what, "ok", "works", "", required)
    match probes.openvswitch_module():
        case "loaded":
            yield Line(
                "openvswitch module",
                "ok",
                "loaded",
                "datapath_type system (kernel) is used; dataplane ovs-offload works",
            )
        case "loadable":
            yield Line(
                "openvswitch module", "degraded", "there, but not loaded",
                "sudo modprobe openvswitch gives the kernel datapath, which dataplane ovs-offload needs",
            )  # fmt: skip
        case "absent":
            yield Line(
                "openvswitch module",
                "missing",
                "the kernel has none",
                "datapath_type netdev (user space) is used; dataplane ovs-offload does not work",
            )
    version = probes.cgroup()
    if version == "v2":
        yield Line("cgroup", "ok", version)
    elif version == "none":
        yield Line("cgroup", "missing", "not mounted", "shares of CPU and memory cannot be given to hosts and VMs")
    else:
        yield Line("cgroup", "degraded", version, "the v2 controls for CPU and memory of hosts and VMs are not used")


def _tools(probes: Probes) -> Iterator[Line]:
    for name, (required, consequence) in _TOOLS.items():
        version = probes.tool(name)
        if version is None:
            yield Line(name, "missing", "not on PATH", consequence, required)
        else:
            yield Line(name, "ok", version, "", required)


def _python(probes: Probes) -> Iterator[Line]:
    version = probes.python()
    if _numbers(version) >= (3, 11):
        yield Line("python", "ok", version, "", True)
    else:
        yield Line("python", "missing", version, "Python 3.11 or later is needed", True)
    for name in _PACKAGES:
        found = probes.package(name)
        if found is None:
            yield Line(name, "missing", "not installed", BOOTSTRAP, True)
        elif name == "os-ken" and _numbers(found) < OS_KEN_AT_LEAST:
            yield Line(
                name, "degraded", found, "before 4.2.1 a switch that reconnects can block the control plane", True
            )
        else:
            yield Line(name, "ok", found, "", True)
    if probes.compiled_fast_path():
        yield Line("compiled fast path", "ok", "in Numba's cache")
    else:
        yield Line(
            "compiled fast path", "degraded", "not in Numba's cache",
            "the first start compiles it, which takes up to a minute; sudo ./bootstrap.sh demo compiles it now",
        )  # fmt: skip


def _state_directory(probes: Probes) -> Iterator[Line]:
    refused = probes.state_directory()
    if refused:
        step = "no run can be made or taken down: remove what is there, or set another HOVERBOARD_STATE_DIR"
        yield Line("own state directory", "missing", refused, step, True)
    else:
        yield Line("own state directory", "ok", "no other user can change it", "", True)


def _dead_runs(probes: Probes) -> Line:
    dead = probes.dead_runs()
    if isinstance(dead, str):
        return Line("dead runs", "degraded", dead, "it is not known what dead runs have left")
    if dead:
        return Line(
            "dead runs",
            "degraded",
            ", ".join(dead),
            "they hold memory and processes; hoverboard down --run NAME removes one, down --orphans all",
        )
    return Line("dead runs", "ok", "none")


def _lost_runs(probes: Probes) -> Line:
    lost = probes.lost_runs()
    if isinstance(lost, str):
        return Line("lost runs", "degraded", lost, "runs whose directory was deleted are not known")
    if lost:
        return Line(
            "lost runs",
            "degraded",
            ", ".join(lost),
            "hoverboard down --orphans ends their processes and devices",
        )
    return Line("lost runs", "ok", "none")


def _failed_starts(probes: Probes) -> Line:
    failed = probes.failed_starts()
    if not failed:
        return Line("failed starts", "ok", "none")
    return Line(
        "failed starts", "ok", ", ".join(failed), "their logs are kept; hoverboard down --run NAME removes them"
    )


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (4, 2, 1) for 4.2.1rc1."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def print_doctor(as_json: bool) -> int:
    """Check this machine, and print the findings as a table or as JSON (`experiment_documents.Doctor`).

    Returns:
        Exit code: 0, or that of MachineError when something required is missing.
    """
    from console.doctor.probes import MachineProbes

    lines = run_doctor(MachineProbes())
    good = healthy(lines)
    if as_json:
        print(json.dumps({"healthy": good, "lines": [asdict(line) for line in lines]}, indent=2))
    else:
        _print_table(lines, good)
    return 0 if good else MachineError.exit_code


def _print_table(lines: list[Line], good: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colors = {"ok": "green", "degraded": "yellow", "missing": "red"}
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(4):
        table.add_column(overflow="fold")  # a command is never cut
    for line in lines:
        # Red is only for what keeps the testbed from running.
        color = "yellow" if line.state == "missing" and not line.required else colors[line.state]
        table.add_row(
            Text(line.name),
            Text(line.state, style=color),
            Text(plain(line.detail)),
            Text(line.consequence, style="dim"),
        )
    console = Console(file=unfiltered(sys.stdout), highlight=False)
    console.print(table)
    stopping = [line.name for line in lines if line.required and line.state == "missing"]
    console.print(
        "ready to run" if good else f"cannot run: {', '.join(stopping)} missing", style="green" if good else "red"
    )
