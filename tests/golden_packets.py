"""Golden packets, `tests/golden/*.toml`: a frame, a table of one row, and the frame that has to come out.

The unit ring runs them through the engines, the system ring through Open vSwitch. A file has a `description` and rows
`[[packet]]`. A row has these keys:

    description     what the packet is about; unique within its file
    from            "vm" (default), or "fabric"
    in              the frame in hexadecimal, a header a line; blanks do not count
    table.match     headers of the packets that the row is for, in Open vSwitch's words; MACs are the frame's own
    table.to        "other-vm", "vm" (from the fabric), or the underlay address of a host
    table.vni       the network on the wire, to a host
    table.macs      destination and source that the row writes into the frame
    table.drop      instead of `table.to`: the reason by which the row drops
    out             the frame that comes out, or "as it came in"; to a host, the frame inside
    outer_ecn       to a host: ECN of the outer header
    drop            instead of `out`: the reason by which it is dropped, by the row or before any table
    ovs             why Open vSwitch is not asked about it

An unknown key, a missing key, or a packet without an expectation is an error. The error names file and packet.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from hoverboard.contract.packets import mac_bytes

FOLDER = Path(__file__).parent / "golden"
AS_IT_CAME_IN = "as it came in"
_OUTER_BYTES, _OPTIONS_AT = 50, 42  # Ethernet, IPv4, UDP and Geneve without options; their length in 4 bytes
FRAGMENTS = {"no": 0, "first": 1, "later": 2}
MATCHED = {
    "dl_type", "nw_src", "nw_dst", "nw_proto", "nw_ecn", "nw_frag", "tp_src", "tp_dst", "icmp_type", "icmp_code",
    "tun_id", "tun_src",
}  # fmt: skip

Match = Mapping[str, int | str]


@dataclass(frozen=True)
class Row:
    """The table's row.

    Attributes:
        match: headers by Open vSwitch's names.
        to: "vm", "other-vm", the address of a host, or None for a row that drops.
        vni: the network on the wire, to a host.
        macs: destination and source MAC that are written, or b"".
        drop: the reason of a row that drops.
    """

    match: Match
    to: str | IPv4Address | None
    vni: int
    macs: bytes
    drop: str | None


@dataclass(frozen=True)
class Golden:
    """One packet.

    Attributes:
        name: file and description.
        from_fabric: where it comes from: the fabric, or a VM.
        frame: as it comes in.
        row: of the table; None: the table is empty.
        out: the frame that has to come out, or None.
        outer_ecn: ECN of the outer header, or None for any.
        drop: the reason by which it has to be dropped, or None.
        ovs: why Open vSwitch is not asked; None: it is.
    """

    name: str
    from_fabric: bool
    frame: bytes
    row: Row | None
    out: bytes | None
    outer_ecn: int | None
    drop: str | None
    ovs: str | None

    @property
    def inner(self) -> bytes:
        """The frame of a VM, without outer headers."""
        return unwrapped(self.frame) if self.from_fabric else self.frame


def unwrapped(frame: bytes) -> bytes:
    """The frame inside a Geneve packet of the fabric (RFC 8926), behind its options."""
    return frame[_OUTER_BYTES + 4 * (frame[_OPTIONS_AT] & 0x3F) :]


def read_all(folder: Path = FOLDER) -> list[Golden]:
    """The packets of all files, in the order of the files' names."""
    return [golden for path in sorted(folder.glob("*.toml")) for golden in parse(path.stem, path.read_text("utf-8"))]


def parse(file: str, text: str) -> list[Golden]:
    """The packets of a file.

    Raises:
        ValueError: a key is unknown, missing, or cannot be meant; names file and packet.
    """
    data = tomllib.loads(text)
    _check(file, data, {"description", "packet"}, {"description", "packet"})
    found = [_packet(file, each) for each in data["packet"]]
    names = [golden.name for golden in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{twice.pop()}: there are two of this description")
    return found


def _packet(file: str, data: Mapping[str, Any]) -> Golden:
    name = f"{file}: {data.get('description', 'a packet without a description')}"
    known = {"description", "from", "in", "table", "out", "outer_ecn", "drop", "ovs"}
    _check(name, data, known, {"description", "in"})
    if ("out" in data) == ("drop" in data):
        raise ValueError(f"{name}: has to say what comes out of it, or by what reason it is dropped")
    if data.get("from", "vm") not in ("vm", "fabric"):
        raise ValueError(f"{name}: cannot come from {data['from']!r}")
    frame = _bytes(name, data["in"])
    row = _row(f"{name}, table", data["table"]) if "table" in data else None
    if row is None and "out" in data:
        raise ValueError(f"{name}: nothing comes out of an empty table")
    if row is not None and row.drop != data.get("drop"):
        raise ValueError(f"{name}: its row drops by another reason than is expected")
    out = None
    if "out" in data:
        out = frame if data["out"] == AS_IT_CAME_IN else _bytes(name, data["out"])
    return Golden(
        name, data.get("from") == "fabric", frame, row, out, data.get("outer_ecn"), data.get("drop"), data.get("ovs")
    )


def _row(name: str, data: Mapping[str, Any]) -> Row:
    _check(name, data, {"match", "to", "vni", "macs", "drop"}, {"match"})
    _check(f"{name}.match", data["match"], MATCHED, {"dl_type"})
    if ("to" in data) == ("drop" in data):
        raise ValueError(f"{name}: has to say where the packet goes, or by what reason it is dropped")
    to = data.get("to")
    if to is not None and to not in ("vm", "other-vm"):
        to = IPv4Address(to)
    if isinstance(to, IPv4Address) != ("vni" in data):
        raise ValueError(f"{name}: a row to a host, and no other, has a vni")
    macs = b"".join(mac_bytes(mac) for mac in data.get("macs", ()))
    return Row(data["match"], to, data.get("vni", 0), macs, data.get("drop"))


def _check(name: str, data: Mapping[str, Any], known: Collection[str], needed: Collection[str]) -> None:
    for key in data:
        if key not in known:
            raise ValueError(f"{name}: unknown key {key!r}")
    for key in needed:
        if key not in data:
            raise ValueError(f"{name}: key {key!r} is missing")


def _bytes(name: str, lines: object) -> bytes:
    if not isinstance(lines, list):
        raise ValueError(f"{name}: a frame is a list of lines in hexadecimal")
    return bytes.fromhex("".join(lines))
