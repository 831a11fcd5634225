"""The golden packets through Open vSwitch: the row of the table is the only OpenFlow flow of a switch.

Packets without a row are dropped before any table. Only the engines count them, so only the unit ring runs them.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import pytest

from hoverboard.contract.encapsulation import underlay_mac
from hoverboard.contract.openflow.pipeline import TUNNEL_PORT, Kind, cookie, drop_reason
from hoverboard.contract.packets import mac_text
from hoverboard.vswitch.counters import drops_by_reason, parse_drops
from hoverboard.vswitch.ovs import PHYSICAL_BRIDGE, Ovs
from tests.golden_packets import Golden, read_all, unwrapped
from tests.system.dataplane.dataplane_rig import Wire, node_status, ofctl, wires
from tests.waiting import until
from topologies.run.testbed import Testbed
from topologies.spec import schema

pytestmark = pytest.mark.timeout(120)

PACKETS = [golden for golden in read_all() if golden.row is not None and golden.ovs is None]
KINDS = {drop_reason(kind): kind for kind in Kind}
H1, H2 = IPv4Address("172.16.0.1"), IPv4Address("172.16.0.2")
TOPOLOGY = {
    "name": "golden",
    "dataplane": "ovs",
    "model": "preprogrammed",
    "hosts": [{"name": "h1", "program": "external", "controller": "tcp:127.0.0.1:6653"}, {"name": "h2"}],
    "networks": [
        {"name": "blue", "vni": 7, "subnet": "10.0.0.0/24",
         "vms": [{"name": "vm", "host": "h1"}, {"name": "other-vm", "host": "h1"}]},
    ],
}  # fmt: skip
IPV6_NAMES = {"nw_src": "ipv6_src", "nw_dst": "ipv6_dst", "icmp_type": "icmpv6_type", "icmp_code": "icmpv6_code"}
IPV6 = 0x86DD


@pytest.fixture(scope="module")
def bed(module_testbed: Callable[..., Testbed]) -> Testbed:
    """A host with two VMs whose controller is nowhere, and another host on the fabric."""
    made = module_testbed(schema.from_keys(TOPOLOGY))
    assert [server.underlay_ip for server in made.topology.hosts] == [H1, H2]
    # No packet is to wait for ARP.
    switch(made).appctl("tnl/neigh/set", PHYSICAL_BRIDGE, str(H2), underlay_mac(H2))
    return made


@pytest.fixture(scope="module")
def ears(bed: Testbed) -> Iterator[dict[str, Wire]]:
    """Sockets that receive: of both VMs, and of the fabric on all its ports."""
    with wires(bed, "vm", "other-vm") as made, contextlib.closing(Wire(bed, bed.fabric_name, None)) as fabric:
        yield {**made, "fabric": fabric}


@pytest.fixture(scope="module")
def ways(bed: Testbed, ears: dict[str, Wire]) -> Iterator[dict[bool, Wire]]:
    """Sockets that send; the key says whether into the fabric."""
    with wires(bed, bed.fabric_name) as made:
        yield {True: made[bed.fabric_name], False: ears["vm"]}


@pytest.fixture(scope="module")
def ports(bed: Testbed) -> dict[str, int]:
    """OpenFlow ports by VM."""
    return {row["vm"]: row["ofport"] for row in node_status(bed, "h1")["vports"]}


def switch(bed: Testbed) -> Ovs:
    return Ovs(bed.directory.node("h1"))


def flow(golden: Golden, ports: dict[str, int]) -> str:
    """The row, as ovs-ofctl takes it."""
    row = golden.row
    assert row is not None
    six = row.match["dl_type"] == IPV6
    fields = {"in_port": TUNNEL_PORT if golden.from_fabric else ports["vm"]}
    fields |= {IPV6_NAMES.get(name, name) if six else name: value for name, value in row.match.items()}
    if "nw_frag" in fields:
        fields["ip_frag"] = fields.pop("nw_frag")
    match = ",".join(f"{name}={value}" for name, value in fields.items())
    match += f",dl_dst={mac_text(golden.inner[:6])},dl_src={mac_text(golden.inner[6:12])}"
    if row.drop is not None:
        return f"cookie={cookie(KINDS[row.drop]):#x},priority=1,{match},actions=drop"
    actions = []
    if row.macs:
        actions = [f"mod_dl_dst:{mac_text(row.macs[:6])}", f"mod_dl_src:{mac_text(row.macs[6:])}"]
    if isinstance(row.to, IPv4Address):
        actions += [f"set_field:{row.vni:#x}->tun_id", f"set_field:{row.to}->tun_dst", f"output:{TUNNEL_PORT}"]
    else:
        actions.append(f"output:{ports[str(row.to)]}")
    return f"priority=1,{match},actions={','.join(actions)}"


def program(bed: Testbed, row: str) -> None:
    """Make this flow the only one, and forget what the datapath has kept of others."""
    subprocess.run(
        ["ovs-ofctl", "-O", "OpenFlow14", "replace-flows", switch(bed).management, "-"],
        input=row, text=True, check=True, timeout=20,
    )  # fmt: skip
    switch(bed).appctl("revalidator/purge")


def inner_frames(place: str, frames: list[bytes], to: object) -> list[bytes]:
    """Frames of VMs: on the fabric, those inside what h1 sends to a host, whose outer TOS is put in front."""
    if place != "fabric":
        return frames
    h1 = bytes.fromhex(underlay_mac(H1).replace(":", ""))
    sent = [data for data in frames if data[6:12] == h1 and data[23] == 17]
    return [data[15:16] + data[46:49] + unwrapped(data) for data in sent if data[30:34] == H2.packed and to == H2]


@pytest.mark.parametrize("golden", PACKETS, ids=[golden.name for golden in PACKETS])
def test_what_comes_out_of_open_vswitch(
    bed: Testbed, ears: dict[str, Wire], ways: dict[bool, Wire], ports: dict[str, int], golden: Golden
) -> None:
    row = golden.row
    assert row is not None
    program(bed, flow(golden, ports))
    seen: dict[str, list[bytes]] = {place: [] for place in ears}

    def listen() -> None:
        for place, ear in ears.items():
            seen[place] += inner_frames(place, ear.frames(), row.to)

    for ear in ears.values():
        ear.frames()
    ways[golden.from_fabric].send(golden.frame)
    wanted = golden.out
    if wanted is None:
        until(
            lambda: drops_by_reason(parse_drops(ofctl(bed, "h1", "dump-flows"))).get(str(golden.drop), 0) >= 1,
            5.0, f"{golden.drop} is not counted",
        )  # fmt: skip
        listen()
        assert not [place for place, frames in seen.items() if golden.inner in frames]
        return
    place = "fabric" if isinstance(row.to, IPv4Address) else str(row.to)
    if place == "fabric":
        wanted = bytes([golden.outer_ecn or 0]) + row.vni.to_bytes(3, "big") + wanted

    def come() -> bool:
        listen()
        return wanted in seen[place]

    until(come, 5.0, f"{place} does not get it; seen: {seen}")
    assert {where: frames.count(wanted) for where, frames in seen.items()} == {
        where: int(where == place) for where in ears
    }
