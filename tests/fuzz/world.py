"""The host that is fuzzed: four VMs in two networks, and an entry for each well-formed packet."""

from __future__ import annotations

from hoverboard.contract.openflow.pipeline import TUNNEL_PORT
from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.memory import entries, ports, reasons
from hoverboard.fastpath.packets.flow_table import Entry
from hoverboard.testing.memory_host import MemoryHost, key_of, to_tunnel, tunnel_word
from tests.fuzz.mutation import REMOTE, VNIS, inner_frames
from tests.fuzz.oracle import Key, read_inner

VMS = 4
OFPORTS = {ports.FIRST_TAP + number: 100 + number for number in range(VMS)}
TAKES_SEGMENTS, TAKES_NONE = 1, 2  # peers


@compiled
def vm_of(last: int, vni: int) -> int:
    """Port of the VM that has addresses ending in `last` in network `vni`."""
    return ports.FIRST_TAP + (last + vni) % VMS


def vni_of(port: int) -> int:
    """Network of the VM at a port."""
    return VNIS[0] if port & 1 else VNIS[1]


def entry_for(last: int, vni: int, local: bool) -> Entry:
    """What becomes of packets to an address: a VM here, a host that takes segments or one that does not, a drop."""
    if last == 8:
        return Entry(entries.ACT_DROP, reasons.UNNAMED)
    if local:
        return Entry(entries.ACT_VPORT, vm_of(last, vni))
    return to_tunnel(peer=TAKES_SEGMENTS if last & 1 else TAKES_NONE, vni=vni)


class World(MemoryHost):
    """A host with its table, and `model`: the same table in the words of the oracle."""

    def __init__(self) -> None:
        super().__init__(OFPORTS)
        self.egress.peers[TAKES_SEGMENTS] = 1
        self.model: dict[Key, Entry] = {}
        entries = {}
        for frame in inner_frames():
            found = read_inner(frame)
            if isinstance(found, str) or found.addresses is None:
                continue
            last = found.addresses[1][-1]
            five = last >= 6
            places = [(ofport, 0, vni_of(port), None) for port, ofport in OFPORTS.items()]
            places += [(TUNNEL_PORT, tunnel_word(vni=vni), vni, (int(REMOTE), vni)) for vni in VNIS]
            for in_port, word, vni, tunnel in places:
                entry = entry_for(last, vni, local=last % 3 == 0 if tunnel is None else last % 3 > 0)
                entries[key_of(frame, in_port, word, five)] = entry
                self.model[found.key(in_port, tunnel, five)] = entry
        self.table.update(entries.items())


def prepare() -> World:
    """A host to fuzz."""
    return World()
