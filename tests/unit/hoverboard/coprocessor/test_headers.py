"""Headers of a frame: read if they are whole, whatever the bytes are."""

from __future__ import annotations

import struct

from hypothesis import example, given
from hypothesis import strategies as st

from hoverboard.coprocessor import headers


@given(st.binary(max_size=90), st.integers(0, 90), st.sampled_from([6, 17, 1]))
@example(bytes(90), 20, 6)
@example(bytes(17), 20, 6)
def test_headers_of_anything_are_read_if_they_are_whole(data, total, protocol):
    """Random bytes stand behind a version, a length and a protocol, or no frame would be whole."""
    four = b"\x45\0" + total.to_bytes(2, "big") + data[:4] + bytes([64, protocol]) + data[4:]
    found = headers.read(bytearray(b"\0" * 12 + b"\x08\x00" + four))
    assert (found is not None) == (20 <= total <= len(four))
    if found is not None:
        assert (found.source, found.destination, found.protocol) == (four[12:16], four[16:20], protocol)
        ports = protocol != 1 and not found.fragment and total >= 28
        assert (found.source_port, found.destination_port) == (struct.unpack("!HH", four[20:24]) if ports else (0, 0))
    six = b"\x60\0\0\0" + total.to_bytes(2, "big") + bytes([protocol, 64]) + data
    found = headers.read(bytearray(b"\0" * 12 + b"\x86\xdd" + six))
    assert (found is not None) == (40 + total <= len(six))
    if found is not None:
        assert (found.source, found.destination, found.protocol) == (six[8:24], six[24:40], protocol)
    assert headers.read(bytearray(data)) is None or data[12:14] in (b"\x08\x00", b"\x86\xdd")
