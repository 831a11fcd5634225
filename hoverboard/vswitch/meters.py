"""The capacity of a Hoverboard whose packets Open vSwitch carries: meters in front of its tunnels.

On the physical bridge, before encapsulated packets reach the tunnel port: one meter counts packets, a second bits;
what they drop is counted. Nothing is there where there is no limit.
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
        """Limit what comes from the fabric for the tunnels; None: no limit.

        Raises:
            SwitchError: the switch has no such meters.
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
                    if "METER_EXISTS" not in str(error):  # of a host process before this one
                        raise
                actions.append(f"meter:{number}")
        # One meter to a table: OpenFlow has one to an instruction list.
        for table, meter in enumerate(actions):
            then = f"resubmit(,{table + 1})" if table + 1 < len(actions) else "NORMAL"
            # What the node itself sends comes from LOCAL, and is not limited.
            match = f"table={table},udp,tp_dst={GENEVE_PORT}"
            self._run("add-flow", f"{match},priority=10,actions={meter},{then}")
            self._run("add-flow", f"{match},priority=20,in_port=LOCAL,actions=NORMAL")
        self._set = True

    def drops(self) -> dict[str, int]:
        """{"over-capacity": packets} that were too many; {} where there is no limit or nothing was."""
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
