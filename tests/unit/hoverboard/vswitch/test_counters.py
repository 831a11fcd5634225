"""Counters of a switch: which command asks for them, and what its answer means."""

from __future__ import annotations

import pytest

from hoverboard.contract.errors import SwitchError
from hoverboard.vswitch.counters import drops_by_reason, ofctl, parse_drops
from tests.unit.hoverboard.fake_commands import FakeCommands


def test_counters_are_asked_of_the_management_socket(commands: FakeCommands) -> None:
    commands.put("ovs-ofctl", "flows\n")
    assert ofctl("dump-flows", "unix:/x/br-int.mgmt") == "flows\n"
    assert commands.calls("ovs-ofctl") == [["-O", "OpenFlow14", "dump-flows", "unix:/x/br-int.mgmt"]]
    commands.put("ovs-ofctl", error="no socket\n", code=1)
    with pytest.raises(SwitchError, match="ovs-ofctl dump-flows: no socket") as caught:
        ofctl("dump-flows", "unix:/x/br-int.mgmt")
    assert caught.value.where == "unix:/x/br-int.mgmt"


def test_drops_are_summed_by_reason_and_what_forwards_is_none() -> None:
    flow = " cookie={:#x}, duration=1s, table=0, n_packets={}, n_bytes=9, priority=0 actions=drop\n"
    lines = [(0x101 << 48, 3), (0x101 << 48 | 7 << 24, 4), (0x102 << 48, 0), (0x5 << 48, 9), (0xFFFF << 48, 1)]
    by_flow = parse_drops("".join(flow.format(*line) for line in lines))
    assert by_flow == {0x101 << 48: 3, 0x101 << 48 | 7 << 24: 4}
    assert drops_by_reason(by_flow) == {"unknown-port": 7}
