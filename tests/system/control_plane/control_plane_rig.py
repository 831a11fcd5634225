"""Real switches and a real control plane for the control plane's system tests.

A switch is an ovsdb-server and an ovs-vswitchd of its own, in a network namespace of its own, with a
private run directory; the control plane is a process; a host agent is a real gRPC stream.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import grpc

from controllers.fm.fabric_client import FabricClient
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.openflow.pipeline import BRIDGE, TUNNEL_PORT, TUNNEL_PORT_NAME
from hoverboard.contract.wire import fabric_pb2 as pb
from hoverboard.contract.wire import fabric_pb2_grpc
from hoverboard.vswitch.unixctl import UnixctlClient
from tests.waiting import until
from topologies.processes.deadlines import accepts

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


def wait_for(condition: Callable[[], object], what: str, timeout: float = 15.0) -> None:
    """Return once `condition` holds; fail with `what` when it does not in time."""
    until(condition, timeout, what)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that this test started."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


class Switch:
    """One Open vSwitch on a node with this underlay address, connected to the OpenFlow socket `controller`."""

    def __init__(self, name: str, underlay: str, controller: Path, directory: Path) -> None:
        self.name = name
        self.dir = directory / name
        self.dir.mkdir()
        self._environment = os.environ | {"OVS_RUNDIR": str(self.dir), "OVS_LOGDIR": str(self.dir)}
        self._run("ovsdb-tool", "create", str(self.dir / "conf.db"), SCHEMA)
        self._ovsdb = self._spawn(
            "ovsdb-server", str(self.dir / "conf.db"), f"--remote=punix:{self.dir}/db.sock", "--log-file=ovsdb.log",
            f"--unixctl={self.dir}/ovsdb.ctl",
        )  # fmt: skip
        wait_for(lambda: accepts(self.dir / "db.sock"), f"{name}: ovsdb-server listens")
        self.vsctl("--no-wait", "init")
        self._vswitchd = self._spawn(
            "unshare", "-n", "ovs-vswitchd", f"unix:{self.dir}/db.sock", f"--unixctl={self.dir}/vswitchd.ctl",
            "--log-file=vswitchd.log",
        )  # fmt: skip
        wait_for(lambda: accepts(self.dir / "vswitchd.ctl"), f"{name}: ovs-vswitchd listens")
        error, self._unixctl = UnixctlClient.create(str(self.dir / "vswitchd.ctl"))
        assert not error, f"{name}: {os.strerror(error)}"
        # Open vSwitch refuses Unix sockets outside its own run directory; a symbolic link inside is fine.
        (self.dir / "of.sock").symlink_to(controller)
        self.vsctl(
            "add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "protocols=OpenFlow14", "datapath_type=netdev",
            "fail-mode=secure", f"other-config:datapath-id={datapath_id(underlay):016x}",
            "--", "add-port", BRIDGE, TUNNEL_PORT_NAME, "--", "set", "interface", TUNNEL_PORT_NAME, "type=geneve",
            "options:remote_ip=flow", "options:key=flow", f"ofport_request={TUNNEL_PORT}",
            "--", "set-controller", BRIDGE, f"unix:{self.dir}/of.sock",
            "--", "set", "controller", BRIDGE, "max_backoff=1000", "inactivity_probe=5000",
        )  # fmt: skip

    def add_vport(self, name: str, port: int) -> None:
        self.vsctl("add-port", BRIDGE, name, "--", "set", "interface", name, "type=internal", f"ofport_request={port}")

    def remove_vport(self, name: str) -> None:
        self.vsctl("del-port", BRIDGE, name)

    def vsctl(self, *arguments: str) -> str:
        return self._run("ovs-vsctl", "-t", "10", f"--db=unix:{self.dir}/db.sock", *arguments)

    def ofctl(self, verb: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
        return self._run("ovs-ofctl", "-O", "OpenFlow14", *options, verb, f"{self.dir}/{BRIDGE}.mgmt", *arguments)

    def flows(self) -> list[str]:
        """Flows without counters and times, sorted."""
        lines = self.ofctl("dump-flows", options=("--no-stats", "--no-names")).splitlines()
        return sorted(line.strip() for line in lines if "actions=" in line)

    def dump(self) -> list[str]:
        return [line for line in self.ofctl("dump-flows").splitlines() if "actions=" in line]

    def appctl(self, command: str, *arguments: str) -> str:
        """One unixctl command, over a connection that stays: a process for each would take 20 times as long."""
        error, failure, answer = self._unixctl.transact(command, list(arguments))
        assert (error, failure) == (0, None), f"{command} {arguments}: {failure or error}"
        return str(answer)

    def monitor(self, output: Path) -> subprocess.Popen[bytes]:
        """Write all flows, then every change of the flow table, to `output` until ended."""
        with output.open("wb") as sink:
            return subprocess.Popen(
                ["ovs-ofctl", "-O", "OpenFlow14", "monitor", f"{self.dir}/{BRIDGE}.mgmt", "watch:"],
                stdout=sink, stderr=sink, env=self._environment,
            )  # fmt: skip

    def pause(self) -> None:
        self._vswitchd.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._vswitchd.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self._unixctl.close()
        self.resume()
        end(self._vswitchd)
        end(self._ovsdb)

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=self._environment, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.dir / "stderr").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=self._environment, cwd=self.dir)


class Agent:
    """A host agent: one Hosts.Session stream."""

    def __init__(self, address: str, node: str, bindings: dict[str, str]) -> None:
        self._outbox: queue.SimpleQueue[pb.HostEvent | None] = queue.SimpleQueue()
        hello = pb.Hello(node=node, bindings=[pb.Binding(vm=vm, vport=vport) for vm, vport in bindings.items()])
        self._outbox.put(pb.HostEvent(hello=hello))
        self._channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        stream = fabric_pb2_grpc.HostsStub(self._channel).Session(iter(self._outbox.get, None), wait_for_ready=True)
        self.report_interval = next(stream).report_interval
        self._stream = stream

    def bind(self, vm: str, vport: str, *, gone: bool = False) -> None:
        self._outbox.put(pb.HostEvent(bound=pb.Bound(binding=pb.Binding(vm=vm, vport=vport), gone=gone)))

    def usage(self, vni: int, src: str, dst: str, sent: int, seconds: float = 1.0) -> None:
        flow = pb.FlowUsage(vni=vni, src=ip_address(src).packed, dst=ip_address(dst).packed, bytes=sent, packets=1)
        self._outbox.put(pb.HostEvent(usage=pb.Usage(seconds=seconds, flows=[flow])))

    def close(self) -> None:
        self._outbox.put(None)
        self._stream.cancel()
        self._channel.close()


class Rig:
    """A directory with a control plane in it and as many switches as a test wants."""

    def __init__(self) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="hb", dir="/tmp"))
        self.control = self.dir / "control"
        self.control.mkdir(mode=0o700)
        self.address = f"unix:{self.control}/control.sock"
        self.client = FabricClient(self.address)
        self.switches: dict[str, Switch] = {}
        self.agents: dict[str, Agent] = {}
        self.plane: subprocess.Popen[bytes] | None = None

    def start_plane(self, *arguments: str) -> None:
        with (self.dir / "control.log").open("ab") as log:
            self.plane = subprocess.Popen(
                [sys.executable, "-P", "-m", "controllers", "--dir", str(self.control), *arguments],
                stdout=log, stderr=log, cwd=ROOT,
            )  # fmt: skip
        self.client.wait_ready(15)

    def stop_plane(self, number: int = signal.SIGTERM) -> int:
        assert self.plane is not None
        self.plane.send_signal(number)
        return self.plane.wait(10)

    def add_switch(self, name: str, underlay: str) -> Switch:
        self.switches[name] = Switch(name, underlay, self.control / "of.sock", self.dir)
        return self.switches[name]

    def hello(self, node: str, bindings: dict[str, str] | None = None) -> Agent:
        self.agents[node] = Agent(self.address, node, bindings or {})
        return self.agents[node]

    def wait_programmed(self, *names: str, timeout: float = 15.0) -> None:
        def programmed() -> bool:
            known = self.client.status()["switches"]
            return all(known.get(name, {}).get("programmed") for name in names or self.switches)

        wait_for(programmed, "all switches programmed", timeout)

    def log(self) -> str:
        return (self.dir / "control.log").read_text()

    def close(self) -> None:
        for agent in self.agents.values():
            agent.close()
        self.client.close()
        if self.plane is not None:
            end(self.plane)
        for switch in self.switches.values():
            switch.stop()
        shutil.rmtree(self.dir)


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    """A rig that leaves nothing behind."""
    made = Rig()
    try:
        yield made
    finally:
        made.close()
