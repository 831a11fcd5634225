"""The example of docs/external.md for an engine generation: it knows VMs beforehand, and needs no packet of theirs.

    python static_router.py ADDRESS=PORT ...

Other VMs are learned as in the example: by packets to the controller, which an engine generation drops.
"""

from __future__ import annotations

import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from os_ken.base import app_manager
from os_ken.controller import ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, set_ev_cls

sys.path.insert(0, str(Path(__file__).parents[3] / "docs"))
from external_controller import CLASSIFY, GATEWAY, VNI, LearningRouter

ARP, FIRST_ADDRESS = 0x0806, "10.0.0.1"


class StaticRouter(LearningRouter):  # type: ignore[misc]
    """A router whose VMs are in the command line."""

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def connected(self, event: Any) -> None:
        """Program a switch that has connected."""
        super().connected(event)
        switch = event.msg.datapath
        make, ofp = switch.ofproto_parser, switch.ofproto
        for given in sys.argv[1:]:
            address, _, port = given.partition("=")
            mac = ":".join(f"{byte:02x}" for byte in (0x06, VNI & 0xFF, *IPv4Address(address).packed))
            self.learn(switch, address, mac, int(port))
            answer = {
                "eth_dst": mac, "eth_src": GATEWAY, "arp_op": 2, "arp_sha": GATEWAY, "arp_spa": FIRST_ADDRESS,
                "arp_tha": mac, "arp_tpa": address,
            }  # fmt: skip
            actions = [make.OFPActionSetField(**{field: value}) for field, value in answer.items()]
            question = {"in_port": int(port), "eth_type": ARP, "arp_op": 1, "arp_tpa": FIRST_ADDRESS}
            self.add(switch, CLASSIFY, 20, question, [*actions, make.OFPActionOutput(ofp.OFPP_IN_PORT)])


def main() -> None:
    """Serve on 127.0.0.1:6653 until ended."""
    from os_ken import cfg

    cfg.CONF(args=["--ofp-listen-host=127.0.0.1", "--ofp-tcp-listen-port=6653"], project="os_ken")
    app_manager.AppManager.run_apps([__file__])


if __name__ == "__main__":
    main()
