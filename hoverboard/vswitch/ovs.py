"""One node's Open vSwitch, through its own run directory: OVSDB by `ovs-vsctl`, questions by unixctl.

Every call names this node's sockets, never those of the machine's own Open vSwitch.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from hoverboard.contract.encapsulation import FABRIC_MTU, GENEVE_PORT, datapath_id, underlay_mac
from hoverboard.contract.errors import SwitchError
from hoverboard.contract.openflow.pipeline import BRIDGE, OPENFLOW_VERSIONS, TUNNEL_PORT, TUNNEL_PORT_NAME
from hoverboard.vswitch.run_files import DATABASE_PROGRAM, DATABASE_SOCKET, SWITCH_PROGRAM, running_control_socket
from hoverboard.vswitch.unixctl import UnixctlClient

PHYSICAL_BRIDGE = "br-phy"  # dataplane "ovs": holds the uplink; Open vSwitch looks for tunnel routes there


def openflow_ports(dpif_show: str, bridge: str) -> dict[str, int]:
    """OpenFlow numbers of the ports of `bridge`, by name, in the answer of `dpif/show`."""
    found: dict[str, int] = {}
    here = False
    for line in dpif_show.splitlines():
        if re.match(r"^  \S+:$", line):
            here = line.strip() == f"{bridge}:"
        elif here and (port := re.match(r"^\s+(\S+) (\d+)/", line)):
            found[port[1]] = int(port[2])
    return found


def openflow_port(dpif_show: str, name: str) -> int | None:
    """The OpenFlow number of port `name` in the answer of `dpif/show` ("  vp100 100/3: (tap)")."""
    found = re.search(rf"^\s+{re.escape(name)} (\d+)/", dpif_show, re.MULTILINE)
    return int(found[1]) if found else None


class Ovs:
    """Commands to one switch, over its sockets.

    Args:
        directory: run directory with the files of `hoverboard.vswitch.run_files` and, later, br-int.mgmt.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._unixctl: UnixctlClient | None = None

    @property
    def management(self) -> str:
        """The integration bridge as ovs-ofctl names it."""
        return f"unix:{self.directory}/{BRIDGE}.mgmt"

    def vsctl(self, *args: str, timeout: int = 10) -> str:
        """Run one ovs-vsctl transaction and wait until vswitchd has carried it out."""
        command = ["ovs-vsctl", f"--db=unix:{self.directory}/{DATABASE_SOCKET}", f"--timeout={timeout}", *args]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout + 5, check=False)
        except subprocess.TimeoutExpired as error:
            raise SwitchError("ovs-vsctl did not end", where=str(self.directory)) from error
        if done.returncode:
            raise SwitchError(
                f"ovs-vsctl {args[0]}: {done.stderr.strip() or f'exit code {done.returncode}'}",
                where=str(self.directory),
                next_step="see ovs-vswitchd.log in that directory",
            )
        return done.stdout.strip()

    def appctl(self, command: str, *args: str) -> str:
        """Send one unixctl command to vswitchd over a connection that stays open; SwitchError if it fails."""
        for attempt in (1, 2):
            if self._unixctl is None:
                self._unixctl = self._connect()
            error, failure, result = self._unixctl.transact(command, list(args))
            if not error:
                break
            # vswitchd has restarted since the last call: one new connection, then give up.
            self._unixctl.close()
            self._unixctl = None
            if attempt == 2:
                raise SwitchError(f"ovs-vswitchd broke the connection ({error})", where=str(self.directory))
        if failure is not None:
            raise SwitchError(f"{command}: {str(failure).strip()}", where=str(self.directory))
        return str(result)

    def _connect(self) -> UnixctlClient:
        """A connection to vswitchd's control socket, whose name is another one after each restart of vswitchd."""
        try:
            error, client = UnixctlClient.create(str(running_control_socket(self.directory)))
        except FileNotFoundError as missing:
            error, client = missing.errno, None
        if client is None:
            raise SwitchError(f"ovs-vswitchd does not answer ({error})", where=str(self.directory))
        return client

    def nudge(self) -> None:
        """Wake vswitchd's main loop, so that it connects at once to a controller that is back."""
        with contextlib.suppress(SwitchError):
            self.appctl("version")

    def check_reachable(self) -> None:
        """Raise SwitchError when database or switch are down: a transaction would wait for them until its timeout."""
        for program in (DATABASE_PROGRAM, SWITCH_PROGRAM):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                try:
                    database = program == DATABASE_PROGRAM
                    path = self.directory / DATABASE_SOCKET if database else running_control_socket(self.directory)
                    sock.connect(str(path))
                except OSError as error:
                    raise SwitchError(f"{program} is down ({error.strerror})", where=str(self.directory)) from error

    def vports(self) -> dict[str, int]:
        """OpenFlow numbers of the integration bridge's ports, by name, after vswitchd has carried out all changes."""
        self.vsctl("set", "open_vswitch", ".", f"external_ids:settled={time.monotonic_ns()}")
        return openflow_ports(self.appctl("dpif/show"), BRIDGE)

    def configure(
        self,
        *,
        datapath_type: str,
        underlay_ip: str,
        prefixlen: int,
        controllers: Sequence[str],
        uplink_device: str | None,
    ) -> None:
        """Make the integration bridge, its Geneve port, and (with an uplink device) the physical bridge.

        Fail mode "secure": without a controller the switch keeps its flows (fail static), and never becomes a learning
        switch.
        """
        commands = [
            # Two threads suffice for a host of this size; 20 hosts of a rack share two cores.
            "set open_vswitch . other_config:n-handler-threads=1 other_config:n-revalidator-threads=1"
            # Behind a fast path the switch's own flow cache is empty: no need to revalidate it twice a second.
            # (But not much less often: at these wake-ups vswitchd also retries its controller.)
            + ("" if uplink_device else " other_config:max-revalidator=2000"),
            f"--may-exist add-br {BRIDGE}",
            f"set bridge {BRIDGE} datapath_type={datapath_type} fail-mode=secure protocols={OPENFLOW_VERSIONS} "
            f"other-config:datapath-id={datapath_id(underlay_ip):016x} other-config:disable-in-band=true",
            f"--may-exist add-port {BRIDGE} {TUNNEL_PORT_NAME}",
            f"set interface {TUNNEL_PORT_NAME} type=geneve ofport_request={TUNNEL_PORT} options:remote_ip=flow "
            f"options:key=flow options:dst_port={GENEVE_PORT} options:local_ip={underlay_ip}",
        ]
        if uplink_device:
            mac = underlay_mac(underlay_ip)
            commands += [
                f"--may-exist add-br {PHYSICAL_BRIDGE}",
                f'set bridge {PHYSICAL_BRIDGE} datapath_type={datapath_type} other-config:hwaddr="{mac}"',
                f"--may-exist add-port {PHYSICAL_BRIDGE} {uplink_device}",
                f"set interface {PHYSICAL_BRIDGE} mtu_request={FABRIC_MTU}",
            ]
        rows = [f"@c{number}" for number in range(len(controllers))]
        for row, controller in zip(rows, controllers, strict=True):
            target = f'target="{controller}"'
            commands.append(f"--id={row} create controller {target} max_backoff=1000 inactivity_probe=0")
        commands.append(f"set bridge {BRIDGE} controller=[{','.join(rows)}]")
        self.vsctl(*" -- ".join(commands).split())
        if uplink_device:
            self.address_physical_bridge(f"{underlay_ip}/{prefixlen}")

    def address_physical_bridge(self, address: str) -> None:
        """Set the underlay address on br-phy, whose device is new after each restart of vswitchd.

        Raises:
            SwitchError: the device does not exist.
        """
        for command in (
            ["ip", "address", "replace", address, "dev", PHYSICAL_BRIDGE],
            ["ip", "link", "set", PHYSICAL_BRIDGE, "up"],
        ):
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=5)
            if done.returncode:
                raise SwitchError(f"{' '.join(command[:3])}: {done.stderr.strip()}", where=str(self.directory))

    def set_neighbours(self, addresses: Iterable[str]) -> None:
        """Tell the switch the MACs of other hosts: it drops packets to a host that it has to ask for its MAC.

        Args:
            addresses: underlay addresses of the other hosts and Hoverboards.
        """
        for address in addresses:
            self.appctl("tnl/neigh/set", PHYSICAL_BRIDGE, address, underlay_mac(address))

    def add_vport(self, name: str, ofport: int, *, vm: str, device: bool) -> int:
        """Add a VM's port to the integration bridge and return its OpenFlow number.

        Args:
            name: name of the port, such as "vp7".
            ofport: the number to request; the switch gives another one if this is taken.
            vm: name of the VM, stored with the port.
            device: True if `name` is a network device that carries the packets (dataplane "ovs"). False for a port that
                exists for OpenFlow only, while the fast path carries the packets.
        """
        kind = "" if device else "internal"
        self.vsctl(
            "--may-exist", "add-port", BRIDGE, name,
            "--", "set", "interface", name, f"ofport_request={ofport}", f"external_ids:vm={vm}",
            *([f"type={kind}"] if kind else []),
        )  # fmt: skip
        # Asked over the open connection: a second ovs-vsctl would take as long as all the rest.
        number = openflow_port(self.appctl("dpif/show"), name)
        if number is None:
            raise SwitchError(
                f"vport {name} got no OpenFlow port",
                where=str(self.directory),
                next_step="see ovs-vswitchd.log in that directory",
            )
        return number

    def remove_vport(self, name: str) -> None:
        """Remove a VM's port."""
        self.vsctl("--if-exists", "del-port", BRIDGE, name)
