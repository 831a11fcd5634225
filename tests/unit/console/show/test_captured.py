"""A capture on a terminal: each packet's line has its port, its direction, and why it was dropped."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from console.show.captured import PacketNotes, ShownCapture, blocks
from hoverboard.host.telemetry.pcapng import INBOUND, OUTBOUND, Writer
from tests.unit.hoverboard.packets import UDP, frame

NS = 1_700_000_000_123_456_789
RULE = "dropped: firewall-ingress (denied by rule http of blue)"


def written() -> bytes:
    """A capture of three packets."""
    stream = io.BytesIO()
    writer = Writer(stream, snap=256, application="test")
    blue = writer.interface("blue-1", "a VM")
    writer.packet(blue, NS, frame(), 60, INBOUND, RULE)
    uplink = writer.interface("uplink", "the fabric")
    writer.packet(uplink, NS + 1_000, frame(UDP(dport=9)), 60, OUTBOUND, "from blue-1, flow-table entry 3")
    writer.packet(blue, NS + 2_000, frame(UDP(dport=10)), 60, OUTBOUND, "answered by the host")
    writer.statistics(blue, NS, 3, 0)
    return stream.getvalue()


def test_the_blocks_of_a_stream_are_its_bytes() -> None:
    assert b"".join(blocks(io.BytesIO(written()))) == written()
    assert [block[0] for block in blocks(io.BytesIO(written()))] == [10, 1, 6, 1, 6, 6, 5]


def test_notes_go_to_the_line_with_their_number() -> None:
    notes = PacketNotes()
    for block in blocks(io.BytesIO(written())):
        notes.read(block)
    assert notes.packets == 3
    assert notes.line("    2  12:00:00.000001 IP a > b: UDP") == "12:00:00.000001 uplink out IP a > b: UDP"
    assert notes.line("    1  12:00:00.0 IP a > b: UDP") == f"12:00:00.0 blue-1 in IP a > b: UDP  [{RULE}]"
    assert notes.line("\tmore of packet 1") == "\tmore of packet 1"
    assert notes.line("    3  12:00:00.2 ARP") == "12:00:00.2 blue-1 out ARP  [answered by the host]"
    assert notes.line("    4  12:00:00.2 ARP") == "    4  12:00:00.2 ARP", "a packet that is not known"


def test_tcpdump_shows_each_packet_once() -> None:
    lines: list[str] = []
    shown = ShownCapture(lines.append)
    shown.feed(io.BytesIO(written()))
    shown.print_lines()
    assert shown.end() == ""
    assert len(lines) == 3
    assert "blue-1 in IP 10.0.0.2.1000 > 10.0.0.3.2000: UDP" in lines[0]
    assert lines[0].endswith(f"  [{RULE}]")
    assert "uplink out IP" in lines[1]
    assert not lines[1].endswith("]")


def test_lines_that_nobody_reads_end_it_without_a_word() -> None:
    def closed(_line: str) -> None:
        raise BrokenPipeError

    shown = ShownCapture(closed)
    shown.feed(io.BytesIO(written()))
    shown.print_lines()
    assert (shown.end(), shown.unread) == ("", True)


def test_a_tcpdump_that_fails_says_why() -> None:
    shown = ShownCapture(print)
    shown.feed(io.BytesIO(b""))
    shown.print_lines()
    assert "tcpdump" in shown.end()


def test_no_tcpdump(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        ShownCapture(print)
