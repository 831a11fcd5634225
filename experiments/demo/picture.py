"""Draws a topology as one SVG: nodes, VMs by tenant, the fabric, and the two paths of a flow.

Pure: a `Topology` in, text out. The picture has colours for light and dark pages, so it suits a README and a report.
"""

from __future__ import annotations

from html import escape

from hoverboard.contract.errors import counted
from topologies.spec.topology import NetworkSpec, Topology, VMSpec

_CELL = 230  # width of one node with its margin
_BOX = 200
_VM_HEIGHT = 40
_TOP = 20
_SERVER_HEAD = 34
_FABRIC_Y = 128
_HOSTS_Y = 208
_TENANTS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_MOST_HOSTS = 6
_MOST_VMS = 6

_STYLE = """
  .hb { font: 13px system-ui, sans-serif; fill: #1b1b1b }
  .hb .box { fill: #f4f4f2; stroke: #555; stroke-width: 1.2 }
  .hb .fabric { fill: #e3e3df; stroke: #555; stroke-width: 1.2 }
  .hb .small { font-size: 11px; fill: #555 }
  .hb .bold { font-weight: 600 }
  .hb .vm { fill: #fff; stroke-width: 2 }
  .hb .line { stroke: #777; stroke-width: 1.5 }
  .hb .relay { fill: none; stroke: #E69F00; stroke-width: 3; stroke-dasharray: 7 4 }
  .hb .direct { fill: none; stroke: #0072B2; stroke-width: 3 }
  @media (prefers-color-scheme: dark) {
    .hb { fill: #eee }
    .hb .box { fill: #26282b; stroke: #999 }
    .hb .fabric { fill: #35383c; stroke: #999 }
    .hb .small { fill: #b5b5b5 }
    .hb .vm { fill: #1a1b1d }
    .hb .direct { stroke: #56B4E9 }
  }
"""


def draw(topology: Topology, pair: tuple[str, str] | None = None) -> str:
    """The picture as SVG text. With `pair`, two VM names, it shows their traffic before and after its offload."""
    hosts = topology.hosts[:_MOST_HOSTS]
    shown = {host.name: [vm for vm in topology.vms if vm.host == host.name][:_MOST_VMS] for host in hosts}
    tallest = max((len(vms) for vms in shown.values()), default=0)
    width = max(2, len(hosts)) * _CELL
    box_height = _SERVER_HEAD + tallest * (_VM_HEIGHT + 8) + 8
    legend_y = _HOSTS_Y + box_height + 26
    colours = {net.name: _TENANTS[index % len(_TENANTS)] for index, net in enumerate(topology.networks)}
    parts = [_fabric(topology, width)]
    parts += [_hoverboard(topology, width)] if topology.hoverboards else []
    centres = {}
    for index, host in enumerate(hosts):
        x = index * _CELL + (_CELL - _BOX) // 2
        parts.append(
            f'<path class="line" d="M{x + _BOX // 2} {_FABRIC_Y + 26}V{_HOSTS_Y}"/>'
            f'<rect class="box" x="{x}" y="{_HOSTS_Y}" width="{_BOX}" height="{box_height}" rx="8"/>'
            f'<text class="bold" x="{x + 12}" y="{_HOSTS_Y + 22}">{escape(host.name)}</text>'
            f'<text class="small" x="{x + _BOX - 12}" y="{_HOSTS_Y + 22}" text-anchor="end">'
            f"{host.underlay_ip}</text>"
        )
        for row, vm in enumerate(shown[host.name]):
            y = _HOSTS_Y + _SERVER_HEAD + row * (_VM_HEIGHT + 8)
            centres[vm.name] = (x, y)
            parts.append(_vm(vm, x + 12, y, colours[vm.network]))
    if pair is not None and topology.hoverboards and set(pair) <= centres.keys():
        parts.append(_paths(centres[pair[0]], centres[pair[1]], width, legend_y))
    more = len(topology.hosts) - len(hosts)
    legend = "  ".join(_legend(network) for network in topology.networks[:4]) + (
        f"  (+ {counted(more, 'host')})" if more else ""
    )
    height = legend_y + (34 if pair else 10)
    return (
        f'<svg class="hb" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(_describe(topology))}"><style>{_STYLE}</style>'
        + "".join(parts)
        + f'<text class="small" x="15" y="{legend_y}">{legend}</text></svg>'
    )


def _describe(topology: Topology) -> str:
    return (
        f"{counted(len(topology.hosts), 'VM host')} and {counted(len(topology.hoverboards), 'Hoverboard')} "
        f"on one fabric, "
        f"{counted(len(topology.vms), 'VM')} in {counted(len(topology.networks), 'virtual network')}"
    )


def _legend(network: NetworkSpec) -> str:
    prefixes = ", ".join(str(subnet.prefix) for subnet in network.subnets)
    return f"{escape(network.name)}: VNI {network.vni}, {prefixes}."


def _fabric(topology: Topology, width: int) -> str:
    return (
        f'<rect class="fabric" x="15" y="{_FABRIC_Y}" width="{width - 30}" height="26" rx="6"/>'
        f'<text class="small" x="{width - 27}" y="{_FABRIC_Y + 17}" text-anchor="end">fabric: Geneve over IPv4</text>'
    )


def _hoverboard(topology: Topology, width: int) -> str:
    middle = width // 2
    names = ", ".join(server.name for server in topology.hoverboards[:4])
    return (
        f'<path class="line" d="M{middle} {_TOP + 66}V{_FABRIC_Y}"/>'
        f'<rect class="box" x="{middle - _BOX // 2}" y="{_TOP}" width="{_BOX}" height="66" rx="8"/>'
        f'<text class="bold" x="{middle}" y="{_TOP + 22}" text-anchor="middle">Hoverboard {escape(names)}</text>'
        f'<text class="small" x="{middle}" y="{_TOP + 40}" text-anchor="middle">knows every virtual network</text>'
        f'<text class="small" x="{middle}" y="{_TOP + 56}" text-anchor="middle">'
        f"{topology.hoverboards[0].underlay_ip}</text>"
    )


def _vm(vm: VMSpec, x: int, y: int, colour: str) -> str:
    return (
        f'<rect class="vm" x="{x}" y="{y}" width="{_BOX - 24}" height="{_VM_HEIGHT}" rx="6" style="stroke:{colour}"/>'
        f'<text x="{x + 10}" y="{y + 25}">{escape(vm.name)}</text>'
        f'<text class="small" x="{x + _BOX - 34}" y="{y + 25}" text-anchor="end">{vm.ip}</text>'
    )


def _paths(start: tuple[int, int], end: tuple[int, int], width: int, legend_y: int) -> str:
    """The relayed path, and below it the direct one; both pass between a host's name and its address."""
    (x1, y1), (x2, y2) = (start[0] + 12, start[1]), (end[0] + 12, end[1])
    middle, over = width // 2, _TOP + 66
    first, second = x1 + 62, x2 + 62
    up, down = (middle - 64, middle - 24) if second <= middle else (middle + 24, middle + 64)
    relay = f"M{first - 22} {y1}V{_FABRIC_Y + 7}H{up}V{over}M{down} {over}V{_FABRIC_Y + 13}H{second}V{y2}"
    direct = f"M{first} {y1}V{_FABRIC_Y + 20}H{second - 22}V{y2}"
    y = legend_y + 20
    return (
        f'<path class="relay" d="{relay}"/><path class="direct" d="{direct}"/>'
        f'<path class="relay" d="M15 {y - 4}h34"/><text class="small" x="56" y="{y}">first packets: over the Hoverboard'
        f'</text><path class="direct" d="M265 {y - 4}h34"/><text class="small" x="306" y="{y}">'
        f"once offloaded: host to host</text>"
    )
