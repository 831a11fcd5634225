"""A cluster without processes: a fabric manager's store, a controller core, fake switches and agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Protocol

from controllers.fm.index import EntityKey
from controllers.fm.intent_store import IntentStore
from controllers.program import Program
from controllers.testing.fake_switch import FakeFabric, FakeSwitch, Journey, Packet, ipv4_packet
from controllers.vmc.core import ControllerCore
from controllers.vmc.model_change.switchover import Stage
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy import OffloadPolicy, OffloadSettings
from hoverboard.contract.encapsulation import datapath_id, guest_mac
from hoverboard.contract.entities import VM, AnyEntity, Host, Hoverboard, Network, Route, Subnetwork
from hoverboard.contract.openflow.flow import Flow, FlowKey
from hoverboard.contract.openflow.pipeline import ETH_IPV6
from hoverboard.contract.packets import Address
from hoverboard.contract.reports import FlowUsage, UsageReport

VNIS = {"blue": 7, "green": 9}
START = 1_000_003.0  # start of the clocks in these tests; not 0, so that a missing or wrong time shows


def host(number: int) -> Host:
    """VM host number n: h1 has 172.16.0.1."""
    return Host(name=f"h{number}", underlay_ip=IPv4Address(f"172.16.0.{number}"))


def hoverboard(number: int) -> Hoverboard:
    """Hoverboard number n: hv1 has 172.16.255.1."""
    return Hoverboard(name=f"hv{number}", underlay_ip=IPv4Address(f"172.16.255.{number}"))


def network(name: str, prefix: str = "10.0.0.0/24") -> list[AnyEntity]:
    """A network of `VNIS` and its subnetwork."""
    return [
        Network(name=name, vni=VNIS[name]),
        Subnetwork(name=f"{name}-sub", network=name, prefix=IPv4Network(prefix)),
    ]


def vm(name: str, net: str, on: str, last: int, subnet: str = "10.0.0") -> VM:
    """A VM with the address subnet.last, on host `on`."""
    address = IPv4Address(f"{subnet}.{last}")
    return VM(name=name, network=net, ip=address, mac=guest_mac(VNIS[net], address), host=on)


def route(name: str, net: str, prefix: str, next_hop: str, priority: int = 1000) -> Route:
    """A route of a network to a VM."""
    return Route(name=name, network=net, prefix=IPv4Network(prefix), next_hop=next_hop, priority=priority)


def cluster(hosts: int = 2, hoverboards: int = 1) -> list[AnyEntity]:
    """Two networks, VM hosts and Hoverboards; no VM."""
    nodes: list[AnyEntity] = [host(number + 1) for number in range(hosts)]
    nodes += [hoverboard(number + 1) for number in range(hoverboards)]
    return [*network("blue"), *network("green"), *nodes]


class Talk(Protocol):
    """A packet's protocol and ports."""

    def packet(self, sender: VM, src: Address, dst: Address) -> Packet:
        """The packet, as the VM sends it."""


class World:
    """A controller's core with its inputs and outputs; a program reaches its switch at once, unless `refuse` names it.

    Args:
        model: name of a shipped programming model.
        threshold: of the offload policy, bit/s.
        idle: seconds after which an idle offload is withdrawn.
        gate: whether a model change may begin its next stage; default: always.
    """

    def __init__(
        self,
        model: str = "hoverboard",
        threshold: float = 20_000,
        idle: float = 30.0,
        gate: Callable[[Stage], bool] | None = None,
    ) -> None:
        self.fabric = IntentStore()
        self.policy = OffloadPolicy(OffloadSettings(threshold, idle_expiry=idle))
        self.core = ControllerCore(model_named(model), self.policy, gate=gate)
        self.net = FakeFabric()
        self.now = START
        self.refuse: set[str] = set()
        self.sent: list[tuple[str, Program]] = []
        self.changed: set[str] = set()
        self.out = Journey((), (), ())
        self.nodes: dict[int, str] = {}  # datapath id -> name of the node whose switch that is
        self._frames: dict[bytes, dict[str, int]] = {}

    # --- inputs ---

    def full_update(self, entities: Sequence[AnyEntity]) -> None:
        """Replace the whole intent."""
        self.core.fabric_changed(self.fabric.full_update(entities), complete=True, now=self.now)
        self.work()

    def diff(self, upsert: Sequence[AnyEntity] = (), remove: Sequence[EntityKey] = ()) -> None:
        """Change the intent."""
        self.core.fabric_changed(self.fabric.diff(upsert, remove), complete=True, now=self.now)
        self.work()

    def connect(self, node: Host | Hoverboard, ports: dict[str, int] | None = None) -> int:
        """Connect the node's switch, with vports by name -> number; return the connection's generation."""
        self.net.switches.setdefault(node.name, FakeSwitch())
        self.net.underlay[int(node.underlay_ip)] = node.name
        self.nodes[datapath_id(node.underlay_ip)] = node.name
        generation = self.core.switch_connected(datapath_id(node.underlay_ip), ports or {}, self.now)
        self.work()
        return generation

    def hello(self, node: str, bindings: dict[str, str] | None = None) -> None:
        """Report all bindings of the node's VMs to vports, as its agent does."""
        self.core.agent_hello(node, bindings or {}, self.now)
        self.work()

    def port(self, node: Host | Hoverboard, name: str, number: int | None) -> None:
        """Give a vport of the node's switch a number, or remove it (None)."""
        self.core.port_changed(datapath_id(node.underlay_ip), name, number)
        self.work()

    def bind(self, node: str, vm_name: str, vport: str) -> None:
        """Bind a VM of the node to a vport, as its agent does."""
        self.core.agent_bound(node, vm_name, vport)
        self.work()

    def unbind(self, node: str, vm_name: str) -> None:
        """Unbind a VM of the node, as its agent does."""
        self.core.agent_unbound(node, vm_name)
        self.work()

    def usage(self, reporter: str, vni: int, src: str, dst: str, sent: int, seconds: float = 1.0) -> None:
        """Report bytes that went from one address to another, as a node does."""
        flow = FlowUsage(vni, ip_address(src), ip_address(dst), sent, 1)
        self.core.usage(UsageReport(reporter, seconds, (flow,)), self.now)
        self.work()

    def pass_time(self, seconds: float) -> None:
        """Let seconds pass, and do the core's work."""
        self.now += seconds
        self.core.tick(self.now)
        self.work()

    def punt(self, journey: Journey, packet: dict[str, int]) -> Journey:
        """Let the controller answer the packets that a journey sent to it; return the journey after the answers."""
        self.out = Journey((), (), ())
        for switch, port, cookie in journey.punted:
            switch_dpid = next(dpid for dpid, name in self.core.names.items() if name == switch)
            frame = ethernet(packet)
            generation = self.core.switches[switch_dpid].generation
            self.core.packet_in(switch_dpid, generation, port, cookie, frame, self.now)
            self._frames[frame] = packet
            self.work()
        return self.out

    # --- outputs ---

    def work(self) -> None:
        """Do the core's work until no work is left."""
        while True:
            work = self.core.take()
            self.changed |= work.changed
            if not work.reads and not work.programs and not work.packets:
                return
            for dpid, generation, program in work.programs:
                name = self._node(dpid)
                if name in self.refuse:
                    self.core.program_rejected(dpid, generation, "table full", self.now)
                    continue
                self.sent.append((name, program))
                self.net.switches[name].apply(program)
                self.core.program_done(dpid, generation)
            for dpid, _, port, frame in work.packets:
                self.out = self.net.send(self._node(dpid), port, self._frames[frame])
            for dpid, generation in work.reads:
                self.core.switch_flows(dpid, generation, self.net.switches[self._node(dpid)].dump(), self.now)

    def _node(self, dpid: int) -> str:
        """The node of a switch, also after the node has left the intent."""
        return self.core.names.get(dpid) or self.nodes[dpid]

    def tables(self) -> dict[str, dict[FlowKey, Flow]]:
        """The flows of all switches."""
        return {name: dict(switch.flows) for name, switch in self.net.switches.items()}

    def expected(self) -> dict[str, dict[FlowKey, Flow]]:
        """The flows that the core expects on each switch."""
        return {name: table.by_key() for name, table in self.core.expected.tables.items()}

    def travel(self, src: VM, dst: VM) -> Journey:
        """Send a packet from a joined VM to another VM's address."""
        return self.send(src, int(dst.ip))

    def send(self, src: VM, dst: int | str, source: int | str | None = None) -> Journey:
        """Send a packet from a joined VM to any address, from its own address unless `source` is given."""
        packet = ipv4_packet(src.mac, int(IPv4Address(source if source is not None else src.ip)), int(IPv4Address(dst)))
        journey = self.net.send(src.host, self.core.view.ports[src.name], packet)
        return self.punt(journey, packet) if journey.punted else journey

    def travel_as_it_is(self, src: VM, dst: VM) -> Journey:
        """Send a packet as `travel` does, but without the controller's answers to lookups."""
        packet = ipv4_packet(src.mac, int(src.ip), int(dst.ip))
        return self.net.send(src.host, self.core.view.ports[src.name], packet)

    def speak(self, src: VM, dst: Address, talk: Talk, source: Address | None = None) -> Journey:
        """Send a packet of a protocol from a joined VM to any address, from its own unless `source` is given."""
        own = src.ip if dst.version == 4 or src.ip6 is None else src.ip6
        packet = talk.packet(src, source if source is not None else own, dst)
        journey = self.net.send(src.host, self.core.view.ports[src.name], packet)
        return self.punt(journey, packet) if journey.punted else journey

    def reaches(self, src: VM, dst: VM) -> bool:
        """Whether a packet arrives at exactly the vport of `dst` and nowhere else."""
        delivered = self.travel(src, dst).delivered
        return delivered == ((dst.host, self.core.view.ports.get(dst.name)),)


def ethernet(packet: dict[str, int]) -> bytes:
    """An Ethernet frame with the addresses of an IP packet."""
    if packet["eth_type"] == ETH_IPV6:
        ip6 = bytes(8) + packet["ipv6_src"].to_bytes(16, "big") + packet["ipv6_dst"].to_bytes(16, "big")
        return bytes(12) + packet["eth_type"].to_bytes(2, "big") + ip6
    ip = bytes(12) + packet["ipv4_src"].to_bytes(4, "big") + packet["ipv4_dst"].to_bytes(4, "big")
    return bytes(12) + packet["eth_type"].to_bytes(2, "big") + ip


def ready(
    model: str = "hoverboard", hosts: int = 2, hoverboards: int = 1, gate: Callable[[Stage], bool] | None = None
) -> World:
    """A world without VMs, in which all switches and agents are connected."""
    world = World(model, gate=gate)
    world.full_update(cluster(hosts, hoverboards))
    for number in range(hosts):
        world.connect(host(number + 1))
        world.hello(f"h{number + 1}")
    for number in range(hoverboards):
        world.connect(hoverboard(number + 1))
        world.hello(f"hv{number + 1}")
    return world


def place(world: World, *vms: VM) -> None:
    """Add VMs to the intent, plug them in and bind them."""
    for number, one in enumerate(vms):
        world.diff([one])
        home = world.fabric.entities["Host", one.host]
        assert isinstance(home, Host)
        world.bind(one.host, one.name, f"vp-{one.name}")
        taken = world.core.switches[datapath_id(home.underlay_ip)].ports.values()
        world.port(home, f"vp-{one.name}", max([99 + number, *taken]) + 1)
