"""How a host process takes over from one that was killed, and from a switch that was restarted (paper 3.5).

First, packets are forwarded by the checkpoint, without any question to the switch. Then, and whenever Open vSwitch is
back, missing ports are added and ports of VMs that have gone are removed. Nothing else is touched.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hoverboard.contract.errors import HoverboardError, RunError, SwitchError
from hoverboard.contract.generations import facts
from hoverboard.contract.openflow.pipeline import TUNNEL_PORT_NAME
from hoverboard.host.checkpointing.checkpoint import CheckpointSource, CheckpointWriter, SavedState, load
from hoverboard.host.control.host_client import HostConfig
from hoverboard.vswitch.ovs import Ovs

_VPORT = "vp"  # prefix of a vport's name; its OpenFlow number follows


class Resumption:
    """The checkpoint found at the start, and the ports that the switch still has to add or remove.

    Attributes:
        saved: the state that the last host process left; empty for the first one.
        refused: why its checkpoint could not be used; None: it was used, or none was needed.
        settled: the switch agrees with the ports that are plugged in.
    """

    def __init__(self, config: HostConfig, switch: Ovs, checkpoint_writer: CheckpointWriter) -> None:
        self._config = config
        self._switch = switch
        self._checkpoint_writer = checkpoint_writer
        self._directory = Path(config.node_dir)
        self._owner = {"node": config.node, "underlay_ip": config.underlay_ip, "dataplane": config.dataplane}
        # On other generations Open vSwitch does not use the uplink.
        self._uplink = config.uplink_device if facts(config.dataplane).carrier == "switch" else None
        self._unwanted: set[str] = set()
        self.saved = SavedState()
        self.refused: str | None = None
        self.settled = not config.resume
        if config.resume:
            try:
                self.saved = load(self._directory, self._owner)
            except RunError as error:
                self.refused = error.what
                print(f"the checkpoint is not used: {error}", file=sys.stderr, flush=True)

    def configure(self) -> None:
        """Make the bridges of a new switch."""
        config = self._config
        controllers = [config.openflow_address]
        if not config.external:
            controllers += [openflow for _, openflow in config.more_endpoints]
        self._switch.configure(
            datapath_type=config.datapath_type,
            underlay_ip=config.underlay_ip,
            prefixlen=config.underlay_prefixlen,
            controllers=controllers,
            uplink_device=self._uplink,
        )
        self._set_neighbours()

    def _set_neighbours(self) -> None:
        """Tell a switch that makes tunnels the MACs of the other hosts; a switch that restarts has forgotten them."""
        if self._uplink:
            self._switch.set_neighbours(self._config.neighbours)

    def keep(self, vports: Callable[[], Mapping[str, tuple[str, int]]], source: CheckpointSource) -> None:
        """Write a checkpoint from now on; see CheckpointWriter.begin."""
        self._checkpoint_writer.begin(self._directory, self._owner, vports, source)

    def vport(self, vm: str, remembered: str | None) -> tuple[str, int] | None:
        """The vport of a VM that was there before, and its OpenFlow number; None if it is new.

        `remembered` is the vport's name in the caller's record; it serves if the checkpoint does not have the VM.
        """
        if vm in self.saved.vports:
            return self.saved.vports[vm]
        if remembered is None or not self._config.resume:
            return None
        number = remembered.removeprefix(_VPORT)
        if remembered != number and number.isdigit():
            return remembered, int(number)  # vswitchd gives the number that the name was made from
        self._switch.check_reachable()
        ofport = self._switch.vports().get(remembered)
        return None if ofport is None else (remembered, ofport)

    def remove_vport(self, name: str) -> None:
        """Remove a VM's port; later, if the switch is down."""
        try:
            self._switch.check_reachable()
            self._switch.remove_vport(name)
        except SwitchError as error:
            print(f"{name} is removed later: {error}", file=sys.stderr, flush=True)
            self._unwanted.add(name)
            self.settled = False

    def settle(self, vports: Mapping[str, tuple[str, int]]) -> bool:
        """Make the ports of the switch agree with `vports`; False when the switch is down, to be retried.

        Args:
            vports: by VM.
        """
        self.settled = False
        try:
            self._switch.check_reachable()
            there = self._switch.vports()
            if TUNNEL_PORT_NAME not in there:
                self.configure()
            elif self._uplink:
                self._switch.address_physical_bridge(f"{self._config.underlay_ip}/{self._config.underlay_prefixlen}")
                self._set_neighbours()
            wanted = {vport for vport, _ofport in vports.values()}
            gone = {vport for vport, _ofport in self.saved.vports.values()} | self._unwanted
            for vport in gone - wanted:
                self._switch.remove_vport(vport)
            for vm, (vport, ofport) in vports.items():
                if there.get(vport) != ofport:
                    number = self._switch.add_vport(vport, ofport, vm=vm, device=not vport.startswith(_VPORT))
                    if number != ofport:
                        print(f"{vport} of {vm} is port {number} now, not {ofport}", file=sys.stderr, flush=True)
        except HoverboardError as error:
            print(f"the switch is not as it should be yet: {error}", file=sys.stderr, flush=True)
            return False
        self._unwanted.clear()
        self.saved.vports.clear()
        self.settled = True
        return True

    def status(self) -> dict[str, Any]:
        """{"resumed", "refused", "settled"}."""
        return {"resumed": self._config.resume, "refused": self.refused, "settled": self.settled}
