"""Clients of the nursery and of host processes, for the layers above: hoverboard.rpc over Unix sockets.

File descriptors (a virtual NIC's ring, the uplink) go with a request by SCM_RIGHTS. In the paper (section 4), a VMM
passes the queues of VMs to the dataplane by RPC in the same way.
"""

from __future__ import annotations

import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from hoverboard.rpc.client import Client

if TYPE_CHECKING:  # entities imports pydantic, whose import would slow every command down
    from hoverboard.contract.entities import Dataplane, Scheduling
    from hoverboard.contract.node_documents import EngineLatencies, Entry, HostStatus
    from hoverboard.contract.openflow.flow_names import NamesDocument

COMPILED_CODE = "hoverboard: compiled code"  # first words of a line about where compiled code is kept, or is not
COMPILING = "compiling"  # first word of the line that the nursery logs for each function that its cache lacks


@dataclass(frozen=True)
class HostConfig:
    """The settings of a host process; it learns the rest from its switch and the control plane.

    Attributes:
        node_dir: the switch's private run directory; the host process makes `host.sock` there.
        scheduling: when the engines run (fastpath.threads); "compacting": in the process that listens on `engines`.
        coprocessors: for hosts whose VMs' flows may have stages: {rules: [rule of
            coprocessor.stage_policy], regions: {underlay address: region}, relays: [underlay address of a Hoverboard],
            secret: file, ledger: file}.
        batch: most packets at a time, of the egress and the ingress engine; 1 is no batching.
        vm_priority: serve the VM first that used the ingress engine least; else packets in order of arrival.
        capacity: of a Hoverboard: most packets and bits a second that it accepts from the fabric (None: no limit).
        resume: go on from the checkpoint of an earlier host process of this node.
        more_endpoints: `control_address` and `openflow_address` of further control planes of this node.
        external: `openflow_address` belongs to an OpenFlow controller outside Hoverboard, the only one.
        neighbours: underlay addresses of all other hosts and Hoverboards of the run.
        uplink_device: the device in the node's namespace that leads to the fabric; None on the fast path.
    """

    run: str
    node: str
    role: Literal["host", "hoverboard"]
    dataplane: Dataplane
    datapath_type: Literal["netdev", "system"]
    underlay_ip: str
    underlay_prefixlen: int
    node_dir: str
    control_address: str
    openflow_address: str
    uplink_device: str | None = None
    scheduling: Scheduling = "adaptive"
    engines: str | None = None
    coprocessors: dict[str, Any] | None = None
    batch: tuple[int, int] = (32, 128)
    vm_priority: bool = True
    capacity: tuple[int | None, int | None] = (None, None)
    resume: bool = False
    more_endpoints: tuple[tuple[str, str], ...] = ()
    external: bool = False
    neighbours: tuple[str, ...] = ()


class NurseryClient(Client):
    """The client of the nursery, the parent of all host processes.

    A spawned child waits until it is released, so that its pid is in the ledger before the child makes anything.
    Children that were never released exit when this connection closes.
    """

    def spawn(self, config: HostConfig, netns_pid: int) -> int:
        """Fork a host process into the network namespace of `netns_pid`; return its pid."""
        return int(self.call("spawn", config=asdict(config), netns_pid=netns_pid))

    def spawn_engines(self, path: Path, log: Path) -> int:
        """Fork the process that runs several hosts' engines and serves them on `path`; return its pid."""
        return int(self.call("spawn_engines", path=str(path), log=str(log)))

    def spawn_links(self, path: Path, log: Path) -> int:
        """Fork the link element, the process that serves emulated links, on `path`; return its pid."""
        return int(self.call("spawn_links", path=str(path), log=str(log)))

    def spawn_vmm(self, node_dir: Path, vm: str, netns_pid: int) -> int:
        """Fork a VM's own process (generation "pre"), which joins the host process in `node_dir`; return its pid."""
        return int(self.call("spawn_vmm", node_dir=str(node_dir), vm=vm, netns_pid=netns_pid))

    def release(self, pid: int) -> None:
        """Let a spawned child start its work."""
        self.call("release", pid=pid)


class HostClient(Client):
    """The client of one host process, over `host.sock` in its node directory; several threads may use it.

    Each call raises the error that the host process reports, in its own class, and RunError when there is no answer.
    """

    def wait_ready(self, timeout: float) -> None:
        """Wait until the host process has configured its switch and serves requests."""
        self.connect(timeout)
        self.call("ready", timeout=timeout)

    def set_uplink(self, fd: int) -> None:
        """Send the fabric's tap (fast path only); the caller keeps its own copy, and may close it."""
        self.call("set_uplink", fds=(fd,))

    def attach(
        self,
        vm: str,
        mac: str,
        ip: str,
        *,
        fd: int | None = None,
        device: str | None = None,
        network: str = "",
        rate: int | None = None,
        vni: int | None = None,
        ip6: str | None = None,
        vport: str | None = None,
    ) -> str:
        """Plug a VM's NIC in, a tap's descriptor or a device of the node; return the vport.

        Args:
            vm: name of the VM; if it is plugged in already, nothing changes.
            mac: MAC of the NIC, such as "02:00:00:00:00:01".
            ip: IPv4 address of the VM; as text, like `ip6`.
            fd: descriptor of the tap, of which the host process gets a copy; None if a device is given.
            device: name of the device, for generations whose switch carries the packets; None if a tap is given.
            network: name of the VM's network, for stage rules.
            rate: bit/s that the VM may send; None: no limit.
            vni: VNI of the network; for learned routes, and for generation "pre", which sorts datagrams by it.
            ip6: IPv6 address of the VM, if it has one.
            vport: its vport in an earlier host process of this node.
        """
        fds = () if fd is None else (fd,)
        more = {"device": device, "network": network, "rate": rate, "vni": vni, "ip6": ip6, "vport": vport}
        return str(self.call("attach", fds=fds, vm=vm, mac=mac, ip=ip, timeout=30.0, **more))

    def resume(self) -> None:
        """Start to forward: all NICs of the earlier host process are plugged into this one."""
        self.call("resume", timeout=60.0)

    def switch_back(self) -> None:
        """Reconfigure after Open vSwitch has restarted and serves requests."""
        self.call("switch_back", timeout=60.0)

    def set_rate(self, vm: str, rate: int | None) -> None:
        """Limit what the VM sends to `rate` bit/s; None: no limit. RunError where nothing would enforce it."""
        self.call("set_rate", vm=vm, rate=rate)

    def detach(self, vm: str) -> None:
        """Unplug a VM's NIC and forget the VM."""
        self.call("detach", vm=vm)

    def status(self) -> HostStatus:
        """Counters and state, the shape of `hoverboard status NODE --json`."""
        return cast("HostStatus", self.call("status"))

    def flows(self) -> list[Entry]:
        """The flow table: [{vni, src, dst, proto, kind, via, packets, bytes}]."""
        return list(self.call("flows"))

    def inspection_ready(self) -> bool:
        """Whether capture() and sample_latency() start at once.

        Else `hoverboard.fastpath.engine.warm --debug` has to run first.
        """
        return bool(self.call("inspection_ready"))

    def capture(
        self, ports: tuple[str, ...], output: int, stop_socket: socket.socket, *, names: NamesDocument,
        snap: int = 256, count: int = 0,
    ) -> list[str]:  # fmt: skip
        """Write packets to descriptor `output` as pcapng; return the names of the ports once the capture runs.

        Args:
            ports: VMs of the host, or "uplink"; empty: all.
            output: of a file or pipe; the host process gets a copy.
            stop_socket: one end of a socket pair. The capture ends when the other end is shut down, or by `count`.
                Then the line {"packets", "lost", "error"} comes on the other end.
            names: of networks and firewall rules, for the words about drops.
            snap: bytes kept of a packet.
            count: packets after which the capture ends; 0: no limit.
        """
        fds = (output, stop_socket.fileno())
        more = {"ports": list(ports), "snap": snap, "count": count, "names": names}
        return list(self.call("capture", fds=fds, timeout=300.0, **more))

    def captured(self) -> int:
        """The number of packets that the present capture has written so far."""
        return int(self.call("captured"))

    def sample_latency(self, every: int, stop_socket: socket.socket) -> None:
        """Follow one packet in `every` through the engines until the other end of `stop_socket` is closed."""
        self.call("sample_latency", fds=(stop_socket.fileno(),), timeout=300.0, every=every)

    def latency(self) -> EngineLatencies:
        """{"egress", "ingress"}: {"samples", "p50_us", .., "histogram"} since sampling began."""
        return cast("EngineLatencies", self.call("latency"))
