"""A wiring for tests: two tenants with the same addresses on two hosts, one Hoverboard, and the fabric."""

from __future__ import annotations

from hoverboard.contract.node_documents import LinkEnd, WiredLink, WiredNode, Wiring


def vm(name: str, ip: str, network: str, host: str, pid: int) -> WiredNode:
    """A VM with a gateway and a MAC."""
    return {
        "name": name, "kind": "vm", "pid": pid, "ip": ip, "network": network, "host": host, "gateway": "10.0.0.1",
        "mac": "06:07:0a:00:00:02",
    }  # fmt: skip


def link(one: str, device: str, other: str, port: str, *, ring: bool = False) -> WiredLink:
    """A link; `ring`: a process holds its second end."""
    ends: tuple[LinkEnd, LinkEnd] = (
        {"node": one, "name": device, "device": True}, {"node": other, "name": port, "device": not ring}
    )  # fmt: skip
    return {"one": ends[0], "other": ends[1]}


WIRING: Wiring = {
    "run": "r",
    "nodes": [
        vm("blue-1", "10.0.0.2", "blue", "h1", 11),
        vm("blue-2", "10.0.0.3", "blue", "h2", 12),
        vm("blue-3", "10.0.0.4", "blue", "h1", 13),
        vm("red-1", "10.0.0.2", "red", "h1", 14),
        vm("red-2", "10.0.0.9", "red", "h2", 15),
        {"name": "h1", "kind": "host", "pid": 21, "ip": "172.16.0.1", "dataplane": "ovs", "directory": "/run/r/h1"},
        {"name": "h2", "kind": "host", "pid": 22, "ip": "172.16.0.2", "dataplane": "ovs", "directory": "/run/r/h2"},
        {"name": "hv1", "kind": "hoverboard", "pid": 23, "ip": "172.16.255.1", "dataplane": "ovs",
         "directory": "/run/r/hv1"},
        {"name": "fab", "kind": "fabric", "pid": 31},
    ],
    "links": [
        link("h1", "uplink", "fab", "to-h1"),
        link("blue-1", "eth0", "h1", "nic1"),
        link("blue-2", "eth0", "h2", "nic2", ring=True),
    ],
}  # fmt: skip
