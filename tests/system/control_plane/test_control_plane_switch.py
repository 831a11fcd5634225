"""The front end against a real Open vSwitch: lossless flows, refusals, sessions; the fake against the same."""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest

from controllers.ofe.switch_interface import SwitchSession
from controllers.ofe.switch_server import FrontEnd
from controllers.program import Program
from controllers.testing.fake_switch import FakeSwitch, Packet
from hoverboard.contract.encapsulation import GATEWAY_MAC, datapath_id, guest_mac, link_local
from hoverboard.contract.errors import SwitchError
from hoverboard.contract.openflow import pipeline, policy
from hoverboard.contract.openflow.flow import Flow, Goto, Match, Output, SetField
from hoverboard.contract.packets import mac_number
from tests.system.control_plane.control_plane_rig import Switch

UNDERLAY = "172.16.0.1"
DEADLINE = 15.0


class Listener:
    """Hears of switches; the newest session and its ports."""

    def __init__(self) -> None:
        self.session: SwitchSession | None = None
        self.ports: dict[str, int] = {}
        self.connections = 0
        self.news = asyncio.Event()

    def switch_connected(self, session: SwitchSession, ports: Mapping[str, int]) -> None:
        self.session, self.ports = session, dict(ports)
        self.connections += 1
        self.news.set()

    def switch_disconnected(self, session: SwitchSession) -> None:
        if self.session is session:
            self.session = None
        self.news.set()

    def port_changed(self, session: SwitchSession, name: str, port: int | None) -> None:
        if port is None:
            self.ports.pop(name, None)
        else:
            self.ports[name] = port
        self.news.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self.news.clear()
                await self.news.wait()


@pytest.fixture
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="hb", dir="/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def switch(directory: Path) -> Iterator[Switch]:
    made = Switch("h1", UNDERLAY, directory / "of.sock", directory)
    yield made
    made.stop()


def with_session(directory: Path, use: Callable[[Listener], Awaitable[None]]) -> None:
    async def run() -> None:
        listener = Listener()
        front_end = FrontEnd(directory / "of.sock", listener)
        await front_end.start()
        try:
            await listener.until(lambda: listener.session)
            async with asyncio.timeout(DEADLINE):
                await use(listener)
        finally:
            await front_end.stop()

    asyncio.run(run())


def session_of(listener: Listener) -> SwitchSession:
    assert listener.session is not None
    return listener.session


def everything(vni: int = 7, hoverboard: bool = False) -> list[Flow]:
    """Every kind of flow there is."""
    gateway, one, two = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3")
    one6, two6 = IPv6Address("fd00:7::9"), IPv6Address("fd00:7::3")
    host, relay = IPv4Address("172.16.0.2"), IPv4Address("172.16.255.1")
    wide, prefix, single = map(IPv4Network, ("192.168.0.0/16", "192.168.7.0/24", "192.168.7.7/32"))
    return [
        *pipeline.base_flows(),
        *pipeline.network_flows(vni, hoverboard=hoverboard),
        *pipeline.gateway_flows(vni, gateway),
        *pipeline.vport_flows(vni, 100, one, guest_mac(vni, one)),
        *pipeline.vport_flows(vni, 101, IPv4Address("10.0.0.9"), guest_mac(vni, "10.0.0.9"), one6),
        *pipeline.link_flows(vni),
        pipeline.route_flow(vni, IPv6Address("fd00:7::4"), host),
        pipeline.offload_flow(vni, one6, two6, host),
        pipeline.default_flow(vni, relay, 6),
        pipeline.relay_flow(vni, two6, host),
        pipeline.route_flow(vni, IPv4Address("10.0.0.4"), host),
        pipeline.offload_flow(vni, one, two, host),
        pipeline.default_flow(vni, relay),
        pipeline.relay_flow(vni, two, host),
        *pipeline.source_prefix_flows(vni, 100, guest_mac(vni, one), prefix),
        *pipeline.source_prefix_flows(vni, 100, guest_mac(vni, one), single),
        pipeline.route_prefix_flow(vni, wide, host),
        *pipeline.local_prefix_flows(vni, prefix, 100, guest_mac(vni, one)),
        *pipeline.local_prefix_flows(vni, single, None, guest_mac(vni, one)),
        *(pipeline.relay_prefix_flow(vni, each, host) for each in (wide, prefix, single)),
    ]


def guarded(vni: int = 7, hoverboard: bool = False) -> list[Flow]:
    """A network with a firewall and a load balancer: VMs at ports 100 and 101, which share 10.0.0.77."""
    one, two, shared = IPv4Address("10.0.0.2"), IPv4Address("10.0.0.9"), IPv4Address("10.0.0.77")
    macs = {"a": guest_mac(vni, one), "b": guest_mac(vni, two)}
    hosts = {"a": IPv4Address("172.16.0.1"), "b": IPv4Address("172.16.0.1"), "c": IPv4Address("172.16.0.2")}
    buckets = (tuple("abc"[number % 3] for number in range(64)), tuple("cab"[number % 3] for number in range(16)))
    web = {"protocol": "tcp", "ports": ((80, 80), (8080, 8099)), "ipv6": True}
    flows = [
        *pipeline.base_flows(),
        *pipeline.network_flows(vni, hoverboard=hoverboard),
        *policy.balanced_flows(
            vni, shared, "any", (), buckets, hosts, local=None if hoverboard else ["a", "b"],
        ),
        *policy.balanced_flows(
            vni, IPv4Address("10.0.0.78"), "udp", ((53, 53),), buckets, hosts, local=None if hoverboard else [],
        ),
    ]  # fmt: skip
    if hoverboard:
        return flows
    return [
        *flows,
        *pipeline.gateway_flows(vni, IPv4Address("10.0.0.1")),
        *pipeline.vport_flows(vni, 100, one, macs["a"], IPv6Address("fd00:7::2"), guarded=True),
        *pipeline.vport_flows(vni, 101, two, macs["b"], IPv6Address("fd00:7::9"), guarded=True),
        *pipeline.link_flows(vni, guarded=True),
        *policy.firewall_policy_flows(vni, "deny", "allow", [IPv4Address("10.0.0.1")], ipv6=True),
        *policy.firewall_rule_flows(
            "web", vni, "ingress", "allow", 1000, targets=[macs["b"]],
            prefixes=[IPv4Network("10.0.0.0/25"), IPv6Network("fd00:7::/64")], **web,
        ),
        *policy.firewall_rule_flows("no", vni, "egress", "deny", 5, targets=None, prefixes=[IPv4Network(one)], **web),
        *policy.backend_flows(
            vni, shared, "any", buckets, {"a": (100, macs["a"]), "b": (101, macs["b"])}, guarded=True
        ),
        *pipeline.source_prefix_flows(vni, 100, macs["a"], IPv4Network(shared), guarded=True),
    ]  # fmt: skip


@pytest.mark.parametrize("make", [everything, guarded])
def test_flows_come_back_as_they_went(switch: Switch, directory: Path, make: Callable[[int], list[Flow]]) -> None:
    flows = make((1 << 24) - 1)

    async def use(listener: Listener) -> None:
        session = session_of(listener)
        assert session.dpid == datapath_id(UNDERLAY)
        await session.send(Program(tuple(flows)))
        assert {flow.key: flow for flow in await session.dump()} == {flow.key: flow for flow in flows}
        await session.send(Program((), tuple(flow.key for flow in flows)))
        assert await session.dump() == []

    with_session(directory, use)


def test_a_replaced_flow_has_the_new_actions_only(switch: Switch, directory: Path) -> None:
    old = pipeline.default_flow(7, IPv4Address("172.16.255.1"))
    new = pipeline.default_flow(7, IPv4Address("172.16.255.2"))

    async def use(listener: Listener) -> None:
        await session_of(listener).send(Program((old,)))
        await session_of(listener).send(Program((new,)))
        assert await session_of(listener).dump() == [new]

    with_session(directory, use)


def test_a_refused_flow_is_named_and_nothing_is_applied(switch: Switch, directory: Path) -> None:
    good = pipeline.base_flows()
    # A switch refuses to set an ARP field of a packet that is not known to be ARP.
    bad = Flow(30, 5, (Match("metadata", 7),), (SetField("arp_op", 2), Output(1)), 1)

    async def use(listener: Listener) -> None:
        session = session_of(listener)
        with pytest.raises(SwitchError, match="rejected 1 of 8 flow changes; the first: OFPET_BAD_ACTION") as refused:
            await session.send(Program((*good, bad)))
        assert "adding Flow(table=30, priority=5" in refused.value.where
        assert await session.dump() == []
        await session.send(Program(tuple(good)))  # the session is as good as before
        assert len(await session.dump()) == len(good)

    with_session(directory, use)


def test_ports_are_told_as_they_come_and_go(switch: Switch, directory: Path) -> None:
    switch.add_vport("vp1", 100)

    async def use(listener: Listener) -> None:
        assert listener.ports["vp1"] == 100
        assert listener.ports[pipeline.TUNNEL_PORT_NAME] == pipeline.TUNNEL_PORT
        await asyncio.to_thread(switch.add_vport, "vp2", 101)
        await listener.until(lambda: listener.ports.get("vp2") == 101)
        await asyncio.to_thread(switch.remove_vport, "vp1")
        await listener.until(lambda: "vp1" not in listener.ports)

    with_session(directory, use)


def test_flows_of_somebody_else_are_removed_by_a_read(switch: Switch, directory: Path) -> None:
    for flow in (
        "table=3,priority=9,sctp,tp_dst=80,actions=drop",
        "table=30,priority=1,ip,actions=learn(table=9),NORMAL",
    ):
        switch.ofctl("add-flow", flow)
    assert len(switch.flows()) == 2

    async def use(listener: Listener) -> None:
        assert await session_of(listener).dump() == []
        assert await asyncio.to_thread(switch.flows) == []

    with_session(directory, use)


def test_a_closed_session_fails_what_waits_and_the_switch_comes_back(switch: Switch, directory: Path) -> None:
    async def use(listener: Listener) -> None:
        session = session_of(listener)
        switch.pause()
        waiting = asyncio.create_task(session.send(Program(tuple(pipeline.base_flows()))))
        await asyncio.sleep(0)
        session.close()
        with pytest.raises(SwitchError, match="disconnected|not connected"):
            await waiting
        switch.resume()
        await listener.until(lambda: listener.connections == 2)
        await session_of(listener).send(Program(tuple(pipeline.base_flows())))

    with_session(directory, use)


# --- the fake against the real thing ----------------------------------------------------------------

_MAC = {"one": guest_mac(7, "10.0.0.2"), "other": guest_mac(7, "10.0.0.9"), "gateway": GATEWAY_MAC}
_IP = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.9", "10.0.0.77"]
_IP6 = ["fe80::1", "fe80::2", "::", "fd00:7::9", "fd00:7::3", "fd00:7::4", "fd00:7::77", "ff02::2"]
_ROUTED = ["192.168.7.7", "192.168.7.8", "192.168.8.8"]


def packets() -> Iterator[tuple[int, Packet, str]]:
    """(in_port, packet for the fake, flow for ofproto/trace)."""
    for port, mac, src, dst in itertools.product(
        (100, 101, 102), ("one", "other"), [*_IP[1:2], *_IP[4:5], *_ROUTED[1:]], _IP + _ROUTED
    ):
        base = {"eth_src": mac_number(_MAC[mac]), "eth_dst": mac_number(GATEWAY_MAC)}
        ip = {"eth_type": 0x0800, "ipv4_src": int(IPv4Address(src)), "ipv4_dst": int(IPv4Address(dst))}
        text = f"in_port={port},dl_src={_MAC[mac]},dl_dst={GATEWAY_MAC}"
        yield port, {**base, **ip, "ip_proto": 6}, f"{text},tcp,nw_src={src},nw_dst={dst},nw_ttl=64"
        yield (
            port,
            {**base, **ip, "ip_proto": 1, "icmpv4_type": 8},
            (f"{text},icmp,nw_src={src},nw_dst={dst},nw_ttl=64,icmp_type=8"),
        )
        arp = {
            "eth_type": 0x0806, "arp_op": 1, "arp_spa": int(IPv4Address(src)), "arp_tpa": int(IPv4Address(dst)),
            "arp_sha": mac_number(_MAC[mac]), "arp_tha": 0,
        }  # fmt: skip
        yield port, {**base, **arp}, f"{text},arp,arp_op=1,arp_spa={src},arp_tpa={dst},arp_sha={_MAC[mac]}"
    yield 100, {"eth_src": mac_number(_MAC["one"]), "eth_type": 0x86DD}, f"in_port=100,dl_src={_MAC['one']},ipv6"
    yield from packets6()
    for vni, dst in itertools.product((7, 8), _IP + _ROUTED):
        ip = {"eth_type": 0x0800, "ipv4_src": int(IPv4Address("10.0.0.3")), "ipv4_dst": int(IPv4Address(dst))}
        yield (
            1,
            {**ip, "ip_proto": 6, "tunnel_id": vni},
            (
                f"in_port=1,tun_id={vni},tun_src=172.16.0.2,tun_dst=172.16.0.1,tcp,nw_src=10.0.0.3,nw_dst={dst},nw_ttl=64"
            ),
        )


def packets6() -> Iterator[tuple[int, Packet, str]]:
    """The same of IPv6: only the VM at port 101 has such an address."""
    own = str(link_local(_MAC["other"]))
    for port, mac, src, dst in itertools.product((100, 101, 102), ("one", "other"), [own, *_IP6[2:5]], _IP6):
        ip = {
            "eth_src": mac_number(_MAC[mac]), "eth_dst": mac_number(GATEWAY_MAC), "eth_type": 0x86DD,
            "ipv6_src": int(IPv6Address(src)), "ipv6_dst": int(IPv6Address(dst)),
        }  # fmt: skip
        text = f"in_port={port},dl_src={_MAC[mac]},dl_dst={GATEWAY_MAC}"
        ends = f"ipv6_src={src},ipv6_dst={dst},nw_ttl=64"  # after the protocol, which they rest on
        yield port, {**ip, "ip_proto": 6}, f"{text},tcp6,{ends}"
        icmp = {**ip, "ip_proto": 58, "icmpv6_code": 0}
        yield port, {**icmp, "icmpv6_type": 128}, f"{text},icmp6,{ends},icmpv6_type=128,icmpv6_code=0"
        for target in ("fe80::1", "fd00:7::3"):
            yield (
                port,
                {**icmp, "icmpv6_type": 135, "ipv6_nd_target": int(IPv6Address(target))},
                f"{text},icmp6,{ends},icmpv6_type=135,icmpv6_code=0,nd_target={target},nd_sll={_MAC[mac]}",
            )
    for vni, dst in itertools.product((7, 8), _IP6):
        ip = {"eth_type": 0x86DD, "ipv6_src": int(IPv6Address("fd00:7::3")), "ipv6_dst": int(IPv6Address(dst))}
        text = f"in_port=1,tun_id={vni},tun_src=172.16.0.2,tun_dst=172.16.0.1,tcp6,ipv6_src=fd00:7::3,ipv6_dst={dst}"
        yield 1, {**ip, "ip_proto": 6, "tunnel_id": vni}, f"{text},nw_ttl=64"


def guarded_packets() -> Iterator[tuple[int, Packet, str]]:
    """Packets that firewalls and load balancers tell apart."""
    for port, dst, source, destination, name in itertools.product(
        (100, 101, 1), ("10.0.0.1", "10.0.0.2", "10.0.0.9", "10.0.0.77", "10.0.0.78"), (53, 40000, 40002, 40034),
        (53, 80, 8090, 8100, 40000), ("tcp", "udp"),
    ):  # fmt: skip
        src = {100: "10.0.0.2", 101: "10.0.0.9", 1: "10.0.0.3"}[port]
        mac = {100: _MAC["one"], 101: _MAC["other"], 1: guest_mac(7, "10.0.0.3")}[port]
        packet = {
            "eth_src": mac_number(mac), "eth_dst": mac_number(GATEWAY_MAC), "eth_type": 0x0800, "ip_proto": 6,
            "ipv4_src": int(IPv4Address(src)), "ipv4_dst": int(IPv4Address(dst)),
            f"{name}_src": source, f"{name}_dst": destination, **({"tunnel_id": 7} if port == 1 else {}),
        }  # fmt: skip
        packet["ip_proto"] = 6 if name == "tcp" else 17
        tunnel = "tun_id=7,tun_src=172.16.0.2,tun_dst=172.16.0.1," if port == 1 else ""
        text = f"in_port={port},{tunnel}dl_src={mac},dl_dst={GATEWAY_MAC},{name},nw_src={src},nw_dst={dst},nw_ttl=64"
        yield port, packet, f"{text},{name}_src={source},{name}_dst={destination}"


def traced(text: str) -> list[tuple[int, int]]:
    """(table, cookie) of the flows that a real switch's trace met."""
    return [
        (int(table), int(cookie, 16))
        for table, cookie in re.findall(r"^ *(\d+)\. .*?cookie (0x[0-9a-f]+)", text, re.MULTILINE)
    ]


@pytest.mark.parametrize("hoverboard", [False, True])
@pytest.mark.parametrize(("make", "sent"), [(everything, packets), (guarded, guarded_packets)])
def test_the_fake_does_what_the_real_switch_does(
    switch: Switch, directory: Path, hoverboard: bool, make: Callable[..., list[Flow]],
    sent: Callable[[], Iterator[tuple[int, Packet, str]]],
) -> None:  # fmt: skip
    flows = [flow for flow in make(hoverboard=hoverboard) if (flow.table == 50) <= hoverboard]
    for port in (100, 101, 102):
        switch.add_vport(f"vp{port}", port)
    fake = FakeSwitch()
    fake.apply(Program(tuple(flows)))

    async def use(listener: Listener) -> None:
        await session_of(listener).send(Program(tuple(flows)))

    with_session(directory, use)
    compared = 0
    for port, packet, flow_text in sent():
        trace = switch.appctl("ofproto/trace", pipeline.BRIDGE, flow_text)
        verdict = fake.process(packet, port)
        assert [(flow.table, flow.cookie) for flow in verdict.path] == traced(trace), (flow_text, trace)
        sends = re.findall(r"^ *(?:output:(\d+)|(IN_PORT))$(?!\n *>> skipping)", trace, re.MULTILINE)
        ports = [port if in_port else int(number) for number, in_port in sends]
        assert [out for out, _ in verdict.outputs] == ports, (flow_text, trace)
        compared += 1
    assert compared > 80


def test_goto_forward_only_is_also_the_switchs_rule(switch: Switch, directory: Path) -> None:
    back = Flow(30, 5, (), (Goto(10),), 1)

    async def use(listener: Listener) -> None:
        with pytest.raises(SwitchError, match="rejected 1 of 1"):
            await session_of(listener).send(Program((back,)))

    with_session(directory, use)
