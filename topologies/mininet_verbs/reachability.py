"""`pingall` and its kind: pings between the VMs of one virtual network, network by network.

Two tenants may use the same addresses, and no packet crosses from one to the other. So a ping between two networks
would say nothing: it might be the sender's own address.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from hoverboard.contract.errors import InputError
from topologies.emulation.ping import ping_once
from topologies.mininet_verbs import listing
from topologies.namespaces.entering import entering

if TYPE_CHECKING:
    from hoverboard.contract.node_documents import WiredNode, Wiring

TIMEOUT = 2.0  # seconds that a ping waits for its answer; the first to a new VM may go through the slow path
_TIMES = re.compile(r"rtt min/avg/max/mdev = ([\d.]+)/([\d.]+)/([\d.]+)/([\d.]+) ms")
Write = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Pings:
    """How many pings were sent and answered."""

    sent: int
    answered: int

    @property
    def lost_percent(self) -> float:
        """The percentage without an answer; 0 if none was sent."""
        return 100.0 * (self.sent - self.answered) / self.sent if self.sent else 0.0


@dataclass(frozen=True, slots=True)
class FullPing:
    """One ping with its times in milliseconds: (min, avg, max, mdev); zeros if it was lost."""

    source: str
    target: str
    answered: bool
    times: tuple[float, float, float, float]


def timeout_of(text: str | None) -> float:
    """The time-out that a user typed, in seconds; InputError when it is none."""
    if not text:
        return TIMEOUT
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise InputError(f"{text!r} is no time-out", next_step="give seconds, such as 2")
    return seconds


def first_pair(wiring: Wiring) -> list[WiredNode]:
    """The first two VMs of the first virtual network that has two; InputError when there is none."""
    return _first_network(wiring)[:2]


def first_and_last(wiring: Wiring) -> list[WiredNode]:
    """The first and the last VM of the first virtual network that has two; InputError when there is none."""
    vms = _first_network(wiring)
    return [vms[0], vms[-1]]


def _first_network(wiring: Wiring) -> list[WiredNode]:
    for vms in listing.networks(wiring).values():
        if len(vms) > 1:
            return vms
    raise InputError("no virtual network has two VMs", next_step="add one: vm add NETWORK")


def ping_all(vms: Iterable[WiredNode], write: Write, timeout: float = TIMEOUT) -> Pings:
    """Ping from each VM to each other VM of its network, once, and print Mininet's matrix.

    Args:
        vms: of any networks.
        write: prints text.
        timeout: seconds for each ping.
    """
    write("*** Ping: testing ping reachability\n")
    sent = answered = 0
    for network, members in _by_network(vms).items():
        write(f"network {network}: {len(members)} VMs\n")
        for source, others in _rows(members):
            write(f"{source['name']} -> ")
            targets = {one["name"]: IPv4Address(one["ip"]) for one in others}
            silent = ping_once(source["pid"], targets, timeout)
            write("".join(f"{'X' if name in silent else name} " for name in targets) + "\n")
            sent, answered = sent + len(targets), answered + len(targets) - len(silent)
    result = Pings(sent, answered)
    if sent:
        write(f"*** Results: {result.lost_percent:.0f}% dropped ({answered}/{sent} received)\n")
    else:
        write("*** Warning: No packets sent\n")
    return result


def ping_all_full(vms: Iterable[WiredNode], write: Write, timeout: float = TIMEOUT) -> list[FullPing]:
    """Ping as `ping_all` does, by the program `ping`, and print the times of each ping."""
    write("*** Ping: testing ping reachability\n")
    found: list[FullPing] = []
    for network, members in _by_network(vms).items():
        write(f"network {network}: {len(members)} VMs\n")
        for source, others in _rows(members):
            write(f"{source['name']} -> ")
            for target in others:
                found.append(_full(source, target, timeout))
                write(f"{target['name'] if found[-1].answered else 'X'} ")
            write("\n")
    write("*** Results: \n")
    for one in found:
        times = "/".join(f"{value:.3f}" for value in one.times)
        write(f" {one.source}->{one.target}: 1/{int(one.answered)}, rtt min/avg/max/mdev {times} ms\n")
    return found


def check_vms(vms: Sequence[WiredNode]) -> None:
    """Check that nodes are VMs of one virtual network; InputError otherwise."""
    for one in vms:
        if "network" not in one:
            raise InputError(f"{one['name']} is no VM", next_step="give two VMs of one virtual network")
    if len({one["network"] for one in vms}) > 1:
        places = ", ".join(f"{one['name']} in {one['network']}" for one in vms)
        raise InputError(
            f"no packet crosses virtual networks: {places}", next_step="give two VMs of one virtual network"
        )


def _by_network(vms: Iterable[WiredNode]) -> dict[str, list[WiredNode]]:
    found: dict[str, list[WiredNode]] = {}
    for one in vms:
        found.setdefault(one["network"], []).append(one)
    return found


def _rows(members: Sequence[WiredNode]) -> Iterator[tuple[WiredNode, list[WiredNode]]]:
    for source in members:
        yield source, [one for one in members if one is not source]


def _full(source: WiredNode, target: WiredNode, timeout: float) -> FullPing:
    argv = [*entering(source["pid"]), "ping", "-n", "-c", "1", "-W", f"{timeout:g}", target["ip"]]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    times = _TIMES.search(done.stdout)
    if times is None:
        return FullPing(source["name"], target["name"], False, (0.0, 0.0, 0.0, 0.0))
    low, mean, high, spread = (float(text) for text in times.groups())
    return FullPing(source["name"], target["name"], True, (low, mean, high, spread))
