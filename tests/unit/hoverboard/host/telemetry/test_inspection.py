"""The control side of the debug elements: captures as files that others can read, rates from counters."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from scapy.utils import RawPcapNgReader, rdpcap

from hoverboard.contract.errors import RunError
from hoverboard.contract.openflow.flow_names import FlowNames, rule_number
from hoverboard.contract.openflow.tables import Kind, cookie
from hoverboard.fastpath.elements.capture import capture_dropped, capture_received
from hoverboard.fastpath.memory import control, entries, ports, reasons
from hoverboard.fastpath.memory import packets as words
from hoverboard.fastpath.memory.arrays import allocate
from hoverboard.host.telemetry.capture import Answers, Capture
from hoverboard.host.telemetry.inspection import Inspection
from hoverboard.host.telemetry.pcapng import INBOUND, OUTBOUND, Writer
from hoverboard.host.telemetry.rates import Interval, Rates
from hoverboard.testing.memory_host import VM, MemoryHost
from tests.unit.hoverboard.packets import UDP, Ether, Raw, frame

START = 1_000_003.0
FIREWALL_EGRESS = reasons.NAMES.index("firewall-egress")
NAMES = FlowNames({7: "blue"}, [(7, "http")])


def blocks(data: bytes):
    """(type, body) of the blocks of a pcapng file; each says its length at both ends."""
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, at + length - 4) == (length,)
        yield kind, data[at + 8 : at + length - 4]
        at += length


def options(data: bytes):
    """{code: value} of a block's options."""
    found, at = {}, 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from("<HH", data, at)
        if code == 0:
            break
        found[code] = data[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4
    return found


class TestPcapng:
    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "one.pcapng"
        with path.open("wb") as file:
            writer = Writer(file, snap=256, application="test")
            blue, uplink = writer.interface("blue-1", "a VM"), writer.interface("uplink", "the fabric")
            assert (blue, uplink, writer.interface("blue-1", "a VM")) == (0, 1, 0)
            writer.packet(blue, 1_700_000_000_123_456_789, frame(), 60, INBOUND)
            writer.packet(uplink, 1_700_000_001_000_000_001, frame(UDP(dport=9))[:33], 42, OUTBOUND, "from blue-1")
            writer.statistics(blue, 1_700_000_002_000_000_000, 7, 3)
        return path

    def test_scapy_reads_packets_and_nanoseconds(self, path):
        packets = rdpcap(str(path))
        assert [bytes(packet) for packet in packets] == [frame(), frame(UDP(dport=9))[:33]]
        assert packets[0].time == pytest.approx(1_700_000_000.123456789, abs=1e-6)
        with RawPcapNgReader(str(path)) as reader:
            assert [(name, meta.comments) for _data, meta in reader if (name := meta.ifname)] == [
                (b"blue-1", None), (b"uplink", [b"from blue-1"])
            ]  # fmt: skip

    def test_tcpdump_reads_it(self, path):
        shown = subprocess.run(["tcpdump", "-n", "-r", str(path)], capture_output=True, text=True, check=True)
        assert len(shown.stdout.splitlines()) == 2
        assert "10.0.0.2.1000 > 10.0.0.3.2000" in shown.stdout

    def test_direction_and_losses(self, path):
        found = list(blocks(path.read_bytes()))
        packets = [body for kind, body in found if kind == 6]
        kept = [struct.unpack_from("<I", body, 12)[0] for body in packets]
        flags = [options(body[20 + size + -size % 4 :])[2] for body, size in zip(packets, kept, strict=True)]
        assert [struct.unpack("<I", one)[0] for one in flags] == [INBOUND, OUTBOUND]
        (statistics,) = [options(body[12:]) for kind, body in found if kind == 5]
        assert (struct.unpack("<Q", statistics[4]), struct.unpack("<Q", statistics[5])) == ((7,), (3,))


@pytest.fixture(scope="module")
def host():
    host = MemoryHost()
    yield host
    host.close()


@pytest.fixture
def answers():
    return Answers()


class TestAnswers:
    """Frames that the control thread sends by itself."""

    def test_are_kept_while_their_port_is_captured(self, answers):
        answers.answered(VM, b"before")
        answers.begin([VM], 4)
        answers.answered(VM, b"abcdef")
        answers.answered(ports.UPLINK, b"another port's")
        assert [(one.port, one.came, one.length, one.data) for one in answers.take()] == [(VM, -1, 6, b"abcd")]
        answers.answered(VM, b"last")
        answers.end()
        answers.answered(VM, b"behind it")
        assert [one.data for one in answers.take()] == [b"last"], "what was kept is still there"
        assert answers.take() == []

    def test_so_many_wait_and_the_rest_is_counted(self, answers):
        answers.begin([VM], 4)
        for _ in range(1_024 + 3):
            answers.answered(VM, b"x")
        assert answers.lost == 3
        answers.begin([VM], 4)
        assert (answers.lost, answers.take()) == (0, [])


class ControlThread:
    """The control thread of a capture: whether it has packets in hand, and the cookies of entries."""

    def __init__(self):
        self.unsettled = False
        self.cookies = {}

    def cookie_of(self, row):
        return self.cookies.get(row, 0)


@pytest.fixture
def control_thread():
    return ControlThread()


class TestCapture:
    @pytest.fixture
    def capturing(self, host, answers, control_thread, tmp_path):
        """start(count) -> (capture, our end of its stop_socket, path); all are ended at the end."""
        host.reset()
        made = []

        def start(count=0, ports=None, output=None):
            ours, theirs = socket.socketpair()
            path = tmp_path / "capture.pcapng"
            fd = os.open(path, os.O_WRONLY | os.O_CREAT) if output is None else output
            capture = Capture(
                host.datapath.memories, answers, "h1", ports or {VM: "blue-1"}, drops=control_thread, names=NAMES,
                snap=256, count=count, output=fd, stop_socket=theirs, on_end=lambda: None,
            )  # fmt: skip
            capture.start()
            made.append((capture, ours))
            return capture, ours, path

        yield start
        for capture, ours in made:
            capture.stop()
            ours.close()

    @staticmethod
    def summary(ours):
        assert select.select([ours], [], [], 10)[0], "no summary within 10 s"
        return json.loads(ours.recv(4096))

    @staticmethod
    def receive(host, *frames):
        m = host.egress
        capture_received(m, host.batch(m, *(host.place(m, data, VM) for data in frames)))

    def test_ends_after_count(self, host, capturing):
        _capture, ours, path = capturing(count=3)
        self.receive(host, *[frame(UDP(sport=number, dport=1)) for number in range(5)])
        assert self.summary(ours) == {"packets": 3, "lost": 0, "error": ""}
        assert [packet[UDP].sport for packet in rdpcap(str(path))] == [0, 1, 2]

    def test_ends_when_the_leash_is_let_go_with_all_that_was_captured(self, host, answers, capturing):
        _capture, ours, path = capturing()
        self.receive(host, frame())
        answers.answered(VM, frame(UDP() / Raw(b"answer")))
        answers.answered(ports.UPLINK, frame())
        ours.shutdown(socket.SHUT_WR)
        assert self.summary(ours)["packets"] == 2
        assert [bytes(packet) for packet in rdpcap(str(path))] == [frame(), frame(UDP() / Raw(b"answer"))]
        assert isinstance(rdpcap(str(path))[0], Ether)

    def test_a_dropped_packet_is_there_once_with_reason_and_rule(self, host, answers, control_thread, capturing):
        control_thread.unsettled = True  # a drop may come, however slow this machine is
        control_thread.cookies[5] = cookie(Kind.DROP_FIREWALL_EGRESS, 7, rule_number("http"))
        _capture, ours, path = capturing()
        self.receive(host, frame(), frame(UDP(dport=9)))
        m = host.egress
        m.packets[m.batch[0], words.INDEX] = 5
        m.packets[m.batch[1], words.INDEX] = 6
        before = m.entries[5:7].copy()
        m.entries[5, 0], m.entries[5, 1], m.entries[6, 0] = entries.ACT_DROP, FIREWALL_EGRESS, entries.ACT_TUNNEL
        capture_dropped(m, 2)
        m.entries[5:7] = before
        # The control thread drops what makes no entry, with a reason of its own.
        self.receive(host, frame(UDP(dport=10)))
        answers.dropped(VM, frame(UDP(dport=10)), "arp-not-gateway", cookie(Kind.DROP_ARP_NOT_GATEWAY))
        answers.dropped(ports.UPLINK, frame(), "vlan", 0)
        ours.shutdown(socket.SHUT_WR)
        assert self.summary(ours)["packets"] == 3
        with RawPcapNgReader(str(path)) as reader:
            assert [(data, meta.ifname, meta.comments) for data, meta in reader] == [
                (frame(), b"blue-1", [b"dropped: firewall-egress (denied by rule http of blue)"]),
                (frame(UDP(dport=9)), b"blue-1", None),
                (frame(UDP(dport=10)), b"blue-1", [b"dropped: arp-not-gateway (only the gateway answers ARP)"]),
            ]

    def test_count_counts_a_dropped_packet_once(self, host, control_thread, capturing):
        control_thread.unsettled = True
        _capture, ours, path = capturing(count=2)
        for number in range(2):
            self.receive(host, frame(UDP(dport=number)))
            m = host.egress
            m.packets[m.batch[0], words.INDEX] = 5
            before = m.entries[5].copy()
            m.entries[5, 0], m.entries[5, 1] = entries.ACT_DROP, FIREWALL_EGRESS
            capture_dropped(m, 1)
            m.entries[5] = before
        assert self.summary(ours)["packets"] == 2
        assert [packet[UDP].dport for packet in rdpcap(str(path))] == [0, 1]

    def test_a_reader_that_has_gone_ends_it_with_a_word(self, host, capturing):
        reader, writer = os.pipe()
        os.close(reader)
        _capture, ours, _path = capturing(output=writer)
        assert "cannot write the capture" in self.summary(ours)["error"]

    def test_the_other_end_of_the_stop_socket_has_gone(self, host, capturing):
        capture, ours, _path = capturing()
        ours.close()
        capture.stop()
        assert capture.ended


class TestInspection:
    @pytest.fixture
    def inspection(self, host, answers):
        """The inspection of a host, without the engines' threads."""
        host.reset()
        datapath = SimpleNamespace(memories=host.datapath.memories, set_debug=lambda debug: None)
        inspection = Inspection(datapath, answers, "h1", lambda: {"blue-1": (VM,)}, ControlThread())
        yield inspection
        inspection.close()

    @staticmethod
    def start(inspection, path):
        """Start a capture; return our end of its stop socket."""
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as opened, path.open("wb") as output, theirs:
            opened.enter_context(ours)
            assert inspection.capture([], 256, 0, output.fileno(), theirs.fileno()) == ["blue-1"]
            opened.pop_all()
        return ours

    def test_the_next_capture_may_start_when_the_summary_has_come(self, inspection, tmp_path):
        (ended,) = inspection.readers().values()
        for number in range(20):
            with self.start(inspection, tmp_path / f"{number}.pcapng") as ours:
                ours.shutdown(socket.SHUT_WR)
                assert TestCapture.summary(ours)["error"] == ""
        ended()
        ended()  # the control thread may see an event that capture() has consumed
        with self.start(inspection, tmp_path / "last.pcapng"):
            pass

    def test_a_second_capture_at_the_same_time_is_rejected(self, inspection, tmp_path):
        with (
            self.start(inspection, tmp_path / "one.pcapng"),
            pytest.raises(RunError, match="a capture on h1 runs already"),
        ):
            self.start(inspection, tmp_path / "two.pcapng")


class TestRates:
    def test_ports_and_busiest_flows_over_an_interval(self):
        memories = allocate()
        rates = Rates(memories)
        rates.look(START, 2)
        assert rates.interval is None
        memories[control.EGRESS].port_stats[VM] = (20, 2000, 10, 1000)
        memories[control.EGRESS].stats[0] = (4, 400)
        memories[1].stats[1] = (2, 4000)
        rates.look(START + 2, 3)
        assert rates.interval is not None
        assert rates.interval.port_rates({VM: "blue-1"}) == {
            "blue-1": {"rx_pps": 10.0, "rx_bps": 8000, "tx_pps": 5.0, "tx_bps": 4000}
        }
        assert rates.interval.top_rows() == [
            (1, {"pps": 1.0, "bps": 16_000}), (0, {"pps": 2.0, "bps": 1600})
        ]  # fmt: skip

    @pytest.mark.parametrize("now", [(1, 125), (1, 20_000), (200, 125)])
    def test_a_row_that_is_another_entrys_now_counts_from_nothing(self, now):
        memories = allocate()
        memories[control.EGRESS].stats[0] = (100, 10_000)
        rates = Rates(memories)
        rates.look(START, 1)
        memories[control.EGRESS].stats[0] = now
        rates.look(START + 1, 1)
        assert rates.interval is not None
        assert np.array_equal(rates.interval.entries, [now])

    def test_an_interval_counts_what_came_since_the_last_look_alone(self):
        memories = allocate()
        rates = Rates(memories)
        for second, packets in enumerate((10, 30, 31)):
            for memory in memories:
                memory.port_stats[VM] = packets
                memory.stats[0] = packets
            rates.look(START + 2 * second, 1)
        assert rates.interval is not None
        assert rates.interval.seconds == 2
        assert rates.interval.ports[VM].tolist() == [2, 2, 2, 2]
        assert rates.interval.entries.tolist() == [[2, 2]]
        rates.look(START + 7, 1)
        assert rates.interval.entries.tolist() == [[0, 0]], "an idle row carried nothing"

    def test_both_engines_are_counted(self):
        memories = allocate()
        rates = Rates(memories)
        rates.look(START, 1)
        for memory, packets in zip(memories, (1, 10), strict=True):
            memory.stats[0] = memory.port_stats[VM, :2] = packets
        rates.look(START + 1, 1)
        assert rates.interval is not None
        assert rates.interval.entries.tolist() == [[11, 11]]
        assert rates.interval.ports[VM].tolist() == [11, 11, 0, 0]

    def test_rates_are_rounded_to_a_tenth_of_a_packet_and_to_a_bit(self):
        interval = Interval(3.0, np.array([[1, 1, 2, 2]], np.int64), np.array([[1, 1]], np.int64))
        rates = {"rx_pps": 0.3, "rx_bps": 3, "tx_pps": 0.7, "tx_bps": 5}
        assert interval.port_rates({0: "blue-1"}) == {"blue-1": rates}
        assert interval.top_rows() == [(0, {"pps": 0.3, "bps": 3})], "also a row of one byte"

    def test_the_busiest_are_so_many_and_idle_ones_are_left_out(self):
        entries = np.array([[row, row * 10] for row in range(13)], np.int64)
        interval = Interval(4.0, np.zeros((1, 4), np.int64), entries)
        assert [row for row, _rates in interval.top_rows()] == [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]
        assert interval.top_rows(2) == [(12, {"pps": 3.0, "bps": 240}), (11, {"pps": 2.8, "bps": 220})]
        assert [row for row, _rates in Interval(4.0, interval.ports, entries[:3]).top_rows()] == [2, 1]
        assert [row for row, _rates in interval.top_rows(13)][-1] == 1
