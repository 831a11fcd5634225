"""`pingall`: pings stay within a virtual network, and the matrix is Mininet's."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address

import pytest

from hoverboard.contract.errors import InputError
from tests.unit.topologies.mininet_verbs.wirings import WIRING
from topologies.mininet_verbs import listing, reachability

VMS = [node for node in WIRING["nodes"] if node["kind"] == "vm"]


@pytest.fixture
def pinged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, dict[str, str], float]]:
    """The pings that are sent: pid of the source, addresses by name, time-out. blue-2 never answers."""
    sent = []

    def ping_once(pid: int, addresses: Mapping[str, IPv4Address], timeout: float) -> set[str]:
        sent.append((pid, {name: str(address) for name, address in addresses.items()}, timeout))
        return {"blue-2"} & set(addresses)

    monkeypatch.setattr(reachability, "ping_once", ping_once)
    return sent


def test_each_vm_pings_all_others_of_its_network(pinged: list[tuple[int, dict[str, str], float]]) -> None:
    written: list[str] = []
    result = reachability.ping_all(VMS, written.append, 1.5)
    assert pinged == [
        (11, {"blue-2": "10.0.0.3", "blue-3": "10.0.0.4"}, 1.5),
        (12, {"blue-1": "10.0.0.2", "blue-3": "10.0.0.4"}, 1.5),
        (13, {"blue-1": "10.0.0.2", "blue-2": "10.0.0.3"}, 1.5),
        (14, {"red-2": "10.0.0.9"}, 1.5),
        (15, {"red-1": "10.0.0.2"}, 1.5),
    ]
    assert (result.sent, result.answered, result.lost_percent) == (8, 6, 25.0)
    assert "".join(written) == (
        "*** Ping: testing ping reachability\n"
        "network blue: 3 VMs\nblue-1 -> X blue-3 \nblue-2 -> blue-1 blue-3 \nblue-3 -> blue-1 X \n"
        "network red: 2 VMs\nred-1 -> red-2 \nred-2 -> red-1 \n"
        "*** Results: 25% dropped (6/8 received)\n"
    )


@pytest.mark.usefixtures("pinged")
def test_a_vm_alone_in_its_network_sends_nothing() -> None:
    written: list[str] = []
    result = reachability.ping_all(VMS[:1], written.append)
    assert (result.sent, result.lost_percent) == (0, 0.0)
    assert written[-1] == "*** Warning: No packets sent\n"


@pytest.mark.parametrize(("text", "seconds"), [(None, 2.0), ("", 2.0), ("0.5", 0.5), ("3", 3.0)])
def test_a_time_out(text: str | None, seconds: float) -> None:
    assert reachability.timeout_of(text) == seconds


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf", "1e9"])
def test_no_time_out(text: str) -> None:
    with pytest.raises(InputError, match="is no time-out"):
        reachability.timeout_of(text)


def test_pairs_are_of_the_first_network_with_two_vms() -> None:
    assert [vm["name"] for vm in reachability.first_pair(WIRING)] == ["blue-1", "blue-2"]
    assert [vm["name"] for vm in reachability.first_and_last(WIRING)] == ["blue-1", "blue-3"]
    alone = {**WIRING, "nodes": [WIRING["nodes"][0], WIRING["nodes"][4]]}
    with pytest.raises(InputError, match="no virtual network has two VMs"):
        reachability.first_pair(alone)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "message"),
    [(("blue-1", "red-1"), "no packet crosses virtual networks: blue-1 in blue, red-1 in red"),
     (("blue-1", "h1"), "h1 is no VM")],
)  # fmt: skip
def test_a_pair_that_cannot_talk(names: tuple[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        reachability.check_vms([listing.node(WIRING, name) for name in names])
