"""Real switches to program: one separate ovs-vswitchd with a bridge for each node.

It runs in a new network namespace and a new directory. No packets flow, as only the OpenFlow side is
measured. So vports are interfaces of type dummy, and there is no tunnel port: flows name it by number.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from hoverboard.contract.errors import MeasurementError
from hoverboard.contract.openflow.pipeline import OPENFLOW_VERSIONS
from topologies.processes.deadlines import accepts, wait_for

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
_TIMEOUT = 60.0
_BATCH = 200  # bridges made by one ovs-vsctl


class Bridges:
    """An ovsdb-server and an ovs-vswitchd in `directory`. Bridges connect to the OpenFlow socket `controller`.

    Raises:
        MeasurementError: a program does not start, or rejects a command.
    """

    def __init__(self, directory: Path, controller: Path) -> None:
        self.dir = directory
        self._environment = os.environ | {"OVS_RUNDIR": str(directory), "OVS_LOGDIR": str(directory)}
        self._processes: list[subprocess.Popen[bytes]] = []
        (directory / "of.sock").symlink_to(controller)  # Open vSwitch accepts sockets in its own directory only
        self._run("ovsdb-tool", "create", str(directory / "conf.db"), str(SCHEMA))
        self._spawn(
            ("ovsdb-server", "conf.db", f"--remote=punix:{directory}/db.sock", f"--unixctl={directory}/db.ctl"),
            directory / "db.sock",
        )
        self._vsctl("--no-wait", "init")
        # --enable-dummy without "override", so that the bridges stay of type netdev.
        self._spawn(
            ("unshare", "-n", "ovs-vswitchd", f"unix:{directory}/db.sock", f"--unixctl={directory}/vswitchd.ctl",
             "--enable-dummy", "--log-file=vswitchd.log"),
            directory / "vswitchd.ctl",
        )  # fmt: skip

    def make(self, nodes: Mapping[str, tuple[int, Mapping[str, int]]], controller: bool = True) -> None:
        """Make a bridge for each node. `nodes`: name -> (datapath id, ports by name)."""
        waiting = list(nodes.items())
        for first in range(0, len(waiting), _BATCH):
            arguments: list[str] = []
            for name, (dpid, ports) in waiting[first : first + _BATCH]:
                arguments += [
                    "--", "add-br", name, "--", "set", "bridge", name, "datapath_type=netdev",
                    f"protocols={OPENFLOW_VERSIONS}", "fail-mode=secure", f"other-config:datapath-id={dpid:016x}",
                ]  # fmt: skip
                if controller:
                    arguments += [
                        "--", "set-controller", name, f"unix:{self.dir}/of.sock",
                        "--", "set", "controller", name, "max_backoff=1000",
                    ]  # fmt: skip
                for port, number in ports.items():
                    arguments += [
                        "--", "add-port", name, port,
                        "--", "set", "interface", port, "type=dummy", f"ofport_request={number}",
                    ]  # fmt: skip
            self._vsctl(*arguments)

    def flow_count(self, name: str) -> int:
        """The number of flows of a bridge, as the bridge reports it."""
        answer = self.ofctl("dump-aggregate", name)
        return int(answer.split("flow_count=")[1].split()[0])

    def ofctl(self, verb: str, name: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
        """Run `ovs-ofctl` on a bridge. Returns its output."""
        return self._run("ovs-ofctl", "-O", "OpenFlow14", *options, verb, f"{self.dir}/{name}.mgmt", *arguments)

    def close(self) -> None:
        """End both programs."""
        for process in reversed(self._processes):
            process.terminate()
        for process in reversed(self._processes):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def cpu_seconds(self) -> float:
        """The processor seconds that ovs-vswitchd has used."""
        fields = Path(f"/proc/{self._processes[-1].pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _vsctl(self, *arguments: str) -> str:
        return self._run("ovs-vsctl", "-t", "60", f"--db=unix:{self.dir}/db.sock", *arguments)

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, env=self._environment, check=False)
        if done.returncode != 0:
            raise MeasurementError(
                done.stderr.strip() or f"exit code {done.returncode}",
                where=" ".join(command)[:200],
                next_step=f"read the logs in {self.dir}",
            )
        return done.stdout

    def _spawn(self, command: tuple[str, ...], listens: Path) -> None:
        with (self.dir / "stderr").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment, cwd=self.dir)
        self._processes.append(process)
        wait_for(
            lambda: accepts(listens) or process.poll() is not None,
            _TIMEOUT,
            lambda: f"{command[0]} does not listen on {listens}",
        )


def timed(do: Callable[[], object]) -> float:
    """Call `do`. Returns the seconds that it takes."""
    begun = time.monotonic()
    do()
    return time.monotonic() - begun
