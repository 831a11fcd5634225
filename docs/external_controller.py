"""An OpenFlow controller of your own for one host: a learning router, with a firewall of one line.

It runs in the namespace of the host that it programs (docs/external.md):

    hoverboard exec h2 -- hoverboard python docs/external_controller.py

It is written for os-ken, the maintained continuation of Ryu. A Ryu application differs in its imports and in `main`.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from os_ken.base import app_manager
from os_ken.controller import ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.lib.packet import arp, ethernet, ipv4, packet
from os_ken.ofproto import ofproto_v1_3

VNI = 7  # of the network, from the topology file; packets between hosts carry it
HOVERBOARD = "172.16.255.1"  # underlay address of hv1, which knows the way to every VM
GATEWAY = "02:00:5e:00:00:01"  # the one neighbour that every VM has
TUNNEL = 1  # OpenFlow number of the Geneve port; VMs have 100 and up
FIRST_VM = 100
CLASSIFY, ROUTE = 0, 1  # tables

# Packets that no VM here may receive. Another line would be: ({"ip_proto": 17, "udp_dst": 53},)
DENIED: tuple[dict[str, int], ...] = ({"ip_proto": 6, "tcp_dst": 23},)


class LearningRouter(app_manager.OSKenApp):
    """Learns the ports of its host's VMs from the packets that they send; the Hoverboard reaches all other VMs."""

    OFP_VERSIONS = (ofproto_v1_3.OFP_VERSION,)

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def connected(self, event: Any) -> None:
        """Install the flows that do not depend on any VM; the switch is connected and empty."""
        switch = event.msg.datapath
        make, ofp = switch.ofproto_parser, switch.ofproto
        ask = [make.OFPActionOutput(ofp.OFPP_CONTROLLER, ofp.OFPCML_NO_BUFFER)]
        leave = [
            make.OFPActionSetField(tunnel_id=VNI),
            make.OFPActionSetField(tun_ipv4_dst=HOVERBOARD),
            make.OFPActionOutput(TUNNEL),
        ]
        self.learned: dict[str, int] = {}
        # From the fabric, only packets of this network pass. The VNI alone keeps tenants apart.
        self.add(switch, CLASSIFY, 20, {"in_port": TUNNEL, "tunnel_id": VNI}, goto=ROUTE)
        self.add(switch, CLASSIFY, 10, {"in_port": TUNNEL})
        self.add(switch, CLASSIFY, 5, {"eth_type": 0x0800}, ask, goto=ROUTE)  # replaced by one that does not ask
        self.add(switch, CLASSIFY, 0, {}, ask)
        for denied in DENIED:
            self.add(switch, ROUTE, 30, {"eth_type": 0x0800, **denied})
        self.add(switch, ROUTE, 10, {"eth_type": 0x0800, "in_port": TUNNEL}, ask)
        self.add(switch, ROUTE, 0, {"eth_type": 0x0800}, leave)

    @set_ev_cls(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def asked(self, event: Any) -> None:
        """Handle a packet that no flow matched."""
        switch, port = event.msg.datapath, event.msg.match["in_port"]
        frame = packet.Packet(event.msg.data)
        sender = frame.get_protocol(ethernet.ethernet).src
        request = frame.get_protocol(arp.arp)
        ip = frame.get_protocol(ipv4.ipv4)
        if port == TUNNEL and ip is not None:
            self.search(switch, event.msg.data, ip.dst)
        elif port >= FIRST_VM and request is not None:
            self.learn(switch, request.src_ip, sender, port)
            if request.opcode == arp.ARP_REQUEST:
                self.answer(switch, request, port)
        elif port >= FIRST_VM and ip is not None:
            self.learn(switch, ip.src, sender, port)

    def learn(self, switch: Any, address: str, mac: str, port: int) -> None:
        """Install the flows of a VM that has sent a packet; its next packets do not come to the controller."""
        if self.learned.get(address) == port:
            return
        self.learned[address] = port
        make = switch.ofproto_parser
        deliver = [
            make.OFPActionSetField(eth_src=GATEWAY),
            make.OFPActionSetField(eth_dst=mac),
            make.OFPActionOutput(port),
        ]
        self.add(switch, ROUTE, 20, {"eth_type": 0x0800, "ipv4_dst": address}, deliver)
        self.add(switch, CLASSIFY, 15, {"in_port": port, "eth_type": 0x0800, "ipv4_src": address}, goto=ROUTE)

    def answer(self, switch: Any, request: Any, port: int) -> None:
        """Answer an ARP request: for a VM, every address has the gateway's MAC."""
        reply = packet.Packet()
        reply.add_protocol(ethernet.ethernet(dst=request.src_mac, src=GATEWAY, ethertype=0x0806))
        reply.add_protocol(
            arp.arp(
                opcode=arp.ARP_REPLY, src_mac=GATEWAY, src_ip=request.dst_ip,
                dst_mac=request.src_mac, dst_ip=request.src_ip,
            )
        )  # fmt: skip
        reply.serialize()
        self.send(switch, bytes(reply.data), [switch.ofproto_parser.OFPActionOutput(port)])

    def search(self, switch: Any, frame: bytes, address: str) -> None:
        """Send a packet to all VMs here, with the MAC of the one that has its address but has not sent anything yet."""
        mac = ":".join(f"{byte:02x}" for byte in (0x06, VNI & 0xFF, *IPv4Address(address).packed))
        make, ofp = switch.ofproto_parser, switch.ofproto
        actions = [make.OFPActionSetField(eth_src=GATEWAY), make.OFPActionSetField(eth_dst=mac)]
        self.send(switch, frame, [*actions, make.OFPActionOutput(ofp.OFPP_FLOOD)], in_port=TUNNEL)

    def add(
        self, switch: Any, table: int, priority: int, match: dict[str, Any], actions: Any = (), goto: int | None = None
    ) -> None:
        """Add a flow; without actions and `goto` it drops."""
        make, ofp = switch.ofproto_parser, switch.ofproto
        steps = [make.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, list(actions))] if actions else []
        steps += [make.OFPInstructionGotoTable(goto)] if goto is not None else []
        switch.send_msg(
            make.OFPFlowMod(switch, table_id=table, priority=priority, match=make.OFPMatch(**match), instructions=steps)
        )

    def send(self, switch: Any, frame: bytes, actions: list[Any], in_port: int | None = None) -> None:
        """Send a packet with these actions."""
        make, ofp = switch.ofproto_parser, switch.ofproto
        came = ofp.OFPP_CONTROLLER if in_port is None else in_port
        switch.send_msg(
            make.OFPPacketOut(switch, buffer_id=ofp.OFP_NO_BUFFER, in_port=came, actions=actions, data=frame)
        )


def main() -> None:
    """Serve on 127.0.0.1:6653 until the process is ended; os-ken has no `osken-manager`."""
    from os_ken import cfg

    cfg.CONF(args=["--ofp-listen-host=127.0.0.1", "--ofp-tcp-listen-port=6653"], project="os_ken")
    app_manager.AppManager.run_apps([__file__])


if __name__ == "__main__":
    main()
