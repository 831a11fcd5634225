"""The capacity of a Hoverboard whose packets Open vSwitch carries: meters in front of its tunnels.

Packets meet them on the physical bridge, before the tunnel port. One meter limits packets, another bits; both count
what they drop. Without a limit there are no meters.
"""

from __future__ import annotations

import re
import subprocess

from hoverboard.contract.encapsulation import GENEVE_PORT
from hoverboard.contract.errors import SwitchError
from hoverboard.vswitch.ovs import PHYSICAL_BRIDGE, Ovs

OVER_CAPACITY = "over-capacity"
_PACKETS, _BITS = 1, 2  # meter ids
_DROPPED = re.compile(r"^\s*0: packet_count:(\d+)", re.MULTILINE)
_BURST_SECONDS = 0.01


class Meters:
    """The meters of one node's physical bridge."""

    def __init__(self, switch: Ovs) -> None:
        self._management = f"unix:{switch.directory}/{PHYSICAL_BRIDGE}.mgmt"
        self._set = False

    def set(self, pps: int | None, bps: int | None) -> None:
        """Limit packets from the fabric to the tunnels; None: no limit.

        A node has the same limits for its whole run, after each restart, too. So a meter that is there already has
        the right rate, and a node without a limit has no meters to remove.

        Raises:
            SwitchError: the switch cannot make the meters.
        """
        if pps is None and bps is None:
            return
        actions = []
        for number, unit, rate in ((_PACKETS, "pktps", pps), (_BITS, "kbps", bps and max(1, bps // 1000))):
            if rate:
                burst = max(1, int(rate * _BURST_SECONDS))
                meter = f"meter={number},{unit},burst,stats,bands=type=drop,rate={rate},burst_size={burst}"
                try:
                    self._run("add-meter", meter)
                except SwitchError as error:
                    if "METER_EXISTS" not in str(error):  # made by an earlier host process
                        raise
                actions.append(f"meter:{number}")
        # One table for each meter: OpenFlow allows one meter in an instruction list.
        for table, meter in enumerate(actions):
            then = f"resubmit(,{table + 1})" if table + 1 < len(actions) else "NORMAL"
            # Packets of the node itself come from LOCAL, and are not limited.
            match = f"table={table},udp,tp_dst={GENEVE_PORT}"
            self._run("add-flow", f"{match},priority=10,actions={meter},{then}")
            self._run("add-flow", f"{match},priority=20,in_port=LOCAL,actions=NORMAL")
        self._set = True

    def drops(self) -> dict[str, int]:
        """{"over-capacity": packets} that the meters dropped; {} without a limit or without drops."""
        if not self._set:
            return {}
        dropped = sum(int(count) for count in _DROPPED.findall(self._run("meter-stats")))
        return {OVER_CAPACITY: dropped} if dropped else {}

    def _run(self, command: str, *arguments: str) -> str:
        done = subprocess.run(
            ["ovs-ofctl", "-O", "OpenFlow13", command, self._management, *arguments],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SwitchError(f"ovs-ofctl {command}: {done.stderr.strip()}", where=self._management)
        return done.stdout
