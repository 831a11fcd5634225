"""The capture element: what each of its three places copies into the ring, and what a full ring costs."""

from __future__ import annotations

import pytest

from hoverboard.fastpath.elements.capture import capture_dropped, capture_received, capture_sent
from hoverboard.fastpath.elements.encapsulate import CUT
from hoverboard.fastpath.engine.compose import EGRESS_CHAIN, INGRESS_CHAIN, chain, source
from hoverboard.fastpath.memory import control, debug, entries, packets, ports
from hoverboard.fastpath.packets.flow_table import Entry
from hoverboard.host.telemetry.capture import arm, disarm, lost, take
from hoverboard.testing.memory_host import OTHER_VM, VM, key_of, to_tunnel
from tests.unit.hoverboard.packets import UDP, Raw, frame

NAMES = {VM: "blue-1"}


@pytest.fixture
def armed(host):
    arm(host.datapath.memories, NAMES, 256)
    yield host
    disarm(host.datapath.memories)


def placed(host, m, *frames, port=VM):
    """These frames as the batch; its length."""
    return host.batch(m, *(host.place(m, data, port) for data in frames))


def routed(m, i, out, index=0):
    """Packet `i` of the batch is to leave by `out` as it is."""
    packet = m.packets[m.batch[i]]
    packet[packets.OUT], packet[packets.INDEX] = out, index
    packet[packets.OUT_START], packet[packets.OUT_LENGTH] = packet[packets.FRAME], packet[packets.LENGTH]
    return packet


class TestReceived:
    def test_packets_of_a_captured_port_in_order_with_time(self, armed):
        m = armed.egress
        frames = [frame(UDP(sport=number, dport=2)) for number in range(3)]
        n = placed(armed, m, *frames)
        assert capture_received(m, n) == n
        taken = take(m)
        assert [(one.port, one.event, one.data, one.length) for one in taken] == [
            (VM, debug.EVENT_IN, data, len(data)) for data in frames
        ]
        assert all(one.time > 0 for one in taken)

    def test_other_ports_are_left_alone(self, armed):
        assert capture_received(armed.egress, placed(armed, armed.egress, frame(), port=OTHER_VM)) == 1
        assert not take(armed.egress)

    def test_nothing_once_disarmed(self, armed):
        disarm(armed.datapath.memories)
        capture_received(armed.egress, placed(armed, armed.egress, frame()))
        assert not take(armed.egress)

    def test_no_more_than_the_snap_length(self, host):
        arm(host.datapath.memories, NAMES, 60)
        data = frame(UDP() / Raw(bytes(range(200))))
        capture_received(host.egress, placed(host, host.egress, data))
        (one,) = take(host.egress)
        assert (one.data, one.length) == (data[:60], len(data))
        disarm(host.datapath.memories)

    def test_a_full_ring_is_counted_and_delays_nothing(self, host):
        arm(host.datapath.memories, NAMES, 65_536)
        m = host.egress
        slots = int(m.capture_control[debug.CAP_SLOTS])
        assert slots == 64
        for begin in range(0, 72, 8):
            n = placed(host, m, *[frame(UDP(sport=begin + i, dport=1)) for i in range(8)])
            assert capture_received(m, n) == 8
        assert lost(host.datapath.memories) == 72 - slots
        assert [int.from_bytes(one.data[34:36], "big") for one in take(m)] == list(range(slots))
        capture_received(m, placed(host, m, frame()))
        assert len(take(m)) == 1
        disarm(host.datapath.memories)


class TestSent:
    def test_by_the_port_that_it_goes_out_of(self, armed):
        m = armed.ingress
        n = placed(armed, m, frame(), frame(), port=ports.UPLINK)
        routed(m, 0, VM, 17)
        routed(m, 1, OTHER_VM)
        assert capture_sent(m, n) == 2
        (one,) = take(m)
        assert (one.event, one.port, one.came, one.detail, one.data) == (debug.EVENT_OUT, VM, ports.UPLINK, 17, frame())

    def test_a_segment_that_will_be_cut(self, host):
        arm(host.datapath.memories, {ports.UPLINK: "uplink"}, 256)
        m = host.egress
        n = placed(host, m, frame())
        routed(m, 0, ports.UPLINK)[packets.OUT_LENGTH] = CUT
        capture_sent(m, n)
        (one,) = take(m)
        assert (one.event, one.data) == (debug.EVENT_CUT, frame())
        disarm(host.datapath.memories)


class TestDropped:
    def test_only_what_its_entry_drops_with_entry_and_reason(self, armed):
        m = armed.egress
        key = key_of(frame(), 5)
        armed.table.update([(key, Entry(entries.ACT_DROP, 7)), (key_of(frame(dst="10.0.0.9"), 5), to_tunnel())])
        n = placed(armed, m, frame(), frame(dst="02:00:00:00:00:01"))
        for i in range(n):
            m.packets[m.batch[i], packets.INDEX] = i
        actions = m.entries[:2, 0].tolist()
        m.entries[0, 0], m.entries[0, 1], m.entries[1, 0] = entries.ACT_DROP, 7, 2
        assert capture_dropped(m, n) == 2
        m.entries[:2, 0] = actions
        (one,) = take(m)
        assert (one.event, one.came, one.detail, one.data) == (debug.EVENT_DROP, 0, 7, frame())


class TestComposition:
    def test_off_is_not_there(self):
        assert "capture" not in source()
        assert "latency" not in source()
        assert chain(control.EGRESS) == list(EGRESS_CHAIN)
        assert chain(control.INGRESS) == list(INGRESS_CHAIN)

    def test_where_it_stands(self):
        names = [name for name, _ in chain(control.EGRESS, ("capture",))]
        assert names[names.index("capture_dropped") + 1] == "account"
        assert names[names.index("capture_sent") + 1] == "transmit"
        names = [name for name, _ in chain(control.INGRESS, ("capture",))]
        assert names[names.index("capture_sent") + 1] == "enqueue"
        assert source(("capture",)).count("n = capture_received(m, n)") == 2

    def test_without_it_the_text_is_the_same(self):
        kept = [line for line in source(("capture", "latency")).splitlines() if "capture" not in line]
        kept = [line for line in kept if not any(word in line for word in ("latency", "sample", "routed"))]
        assert "\n".join(kept) == source().rstrip("\n")
