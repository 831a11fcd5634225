"""How a host process takes over from one that was killed, and how it finds back to a switch that was (paper 3.5).

First packets go on by the checkpoint, without asking anybody. Then, and whenever Open vSwitch comes back, ports
that are missing there are made again and those of VMs that have gone are removed: nothing else is touched.
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

_OUR_VERSION = ("OpenFlow14",)
_ANY_VERSION = ("OpenFlow10", "OpenFlow13", "OpenFlow14", "OpenFlow15")  # what people's controllers speak
_VPORT = "vp"  # and its OpenFlow number


class Resumption:
    """The checkpoint that was there at the start, and what the switch still has to be told.

    Attributes:
        saved: what the last host process left; empty for the first one.
        refused: why its checkpoint could not be used; None: it could, or there was no need.
        settled: the switch agrees with what is plugged in.
    """

    def __init__(self, config: HostConfig, switch: Ovs, checkpoint_writer: CheckpointWriter) -> None:
        self._config = config
        self._switch = switch
        self._checkpoint_writer = checkpoint_writer
        self._directory = Path(config.node_dir)
        self._owner = {"node": config.node, "underlay_ip": config.underlay_ip, "dataplane": config.dataplane}
        # Where Open vSwitch carries nothing, the uplink is none of its business.
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
            versions=_ANY_VERSION if config.external else _OUR_VERSION,
            uplink_device=self._uplink,
        )

    def keep(self, vports: Callable[[], Mapping[str, tuple[str, int]]], source: CheckpointSource) -> None:
        """Keep a checkpoint from now on; see Keeper.begin."""
        self._checkpoint_writer.begin(self._directory, self._owner, vports, source)

    def vport(self, vm: str, remembered: str | None) -> tuple[str, int] | None:
        """The vport of a VM that was there before, and its OpenFlow number; None: it is new.

        Args:
            remembered: its name, as whoever plugs it in remembers it.
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
        """Remove a VM's port, as soon as the switch is there."""
        try:
            self._switch.check_reachable()
            self._switch.remove_vport(name)
        except SwitchError as error:
            print(f"{name} is removed later: {error}", file=sys.stderr, flush=True)
            self._unwanted.add(name)
            self.settled = False

    def settle(self, vports: Mapping[str, tuple[str, int]]) -> bool:
        """Have the switch agree with what is plugged in; False when it is away: to be tried again.

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
