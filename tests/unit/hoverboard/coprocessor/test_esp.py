"""ESP against scapy's own implementation, and the replay window against a set."""

from __future__ import annotations

import warnings

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from hoverboard.coprocessor import esp
from hoverboard.coprocessor.esp import Cipher, ReplayWindow, key_material
from hoverboard.coprocessor.stage import PLAIN_VNET
from tests.unit.hoverboard.coprocessor.esp_frames import PACKETS, SEGMENT, SIX, SMALL, SPI, VNET
from tests.unit.hoverboard.coprocessor.fakes import (  # fmt: skip
    HERE,
    IP,
    THERE,
    UDP,
    Ether,
    IPv6,
    Raw,
    ethernet,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.layers.ipsec import ESP, SecurityAssociation

SEQUENCE = (5 << 32) + 17
SECRET = b"a secret of sixteen or more bytes"


def material(bits=128):
    return key_material(SECRET, HERE.packed + THERE.packed, SPI, 7, bits, "wan-encryption")


def sealed(frame, vnet=PLAIN_VNET, bits=128):
    out = esp.seal(bytearray(frame), vnet, Cipher(material(bits)), SPI, SEQUENCE)
    assert out is not None
    return out


def opened(frame, bits=128):
    spi, sequence, begin, end = esp.header_of(frame)
    return esp.open_frame(frame, begin, end, Cipher(material(bits)), spi, sequence)


def association(frame, bits=128):
    version = Ether(frame)[1]
    return SecurityAssociation(
        ESP, spi=SPI, crypt_algo="AES-GCM", crypt_key=material(bits), tunnel_header=version.copy(), esn_en=True,
        esn=SEQUENCE >> 32, seq_num=SEQUENCE & 0xFFFFFFFF,
    )  # fmt: skip


@pytest.mark.parametrize("bits", [128, 256])
@pytest.mark.parametrize("frame", PACKETS.values(), ids=PACKETS)
def test_scapy_opens_what_we_seal(frame, bits):
    out = sealed(frame, VNET, bits)
    kind = IP if frame[12:14] == b"\x08\x00" else IPv6
    inner = association(frame, bits).decrypt(kind(bytes(out[14:])))
    assert bytes(inner) == frame[14:] + VNET


@pytest.mark.parametrize("bits", [128, 256])
@pytest.mark.parametrize("frame", PACKETS.values(), ids=PACKETS)
def test_we_open_what_scapy_seals(frame, bits):
    plain = Ether(frame)[1]
    header = type(plain)(src=plain.src, dst=plain.dst)
    sa = association(frame, bits)
    sa.tunnel_header = header
    theirs = sa.encrypt(plain, iv=SEQUENCE.to_bytes(8, "big"))
    assert opened(bytearray(frame[:14] + bytes(theirs)), bits) == (frame, PLAIN_VNET)


def test_what_the_fabric_sees():
    out = Ether(bytes(sealed(SEGMENT, VNET)))
    plain = Ether(SEGMENT)
    assert (out.src, out.dst, out[IP].src, out[IP].dst) == (plain.src, plain.dst, plain[IP].src, plain[IP].dst)
    assert (out[IP].tos, out[IP].ttl, out[IP].proto, out[IP].flags) == (2, 61, 50, "DF")
    fresh = out.copy()
    del fresh[IP].chksum, fresh[IP].len
    assert bytes(fresh) == bytes(out)
    assert (out[ESP].spi, out[ESP].seq) == (SPI, SEQUENCE & 0xFFFFFFFF)
    assert len(out) <= len(SEGMENT) + 85


@given(st.binary(max_size=3000), st.sampled_from([4, 6]), st.binary(min_size=12, max_size=12), st.integers(0, 20))
def test_round_trip(payload, version, vnet, padding):
    layer = IP(src="10.1.2.3", dst="10.4.5.6") if version == 4 else IPv6(src="fd00::3", dst="fd00::4")
    frame = ethernet(layer, UDP(sport=9, dport=10) / Raw(payload))
    assert opened(sealed(frame + bytes(padding), vnet)) == (frame, vnet)


@given(st.data())
def test_a_changed_byte_never_passes(data):
    """Whatever is changed: what comes out is the packet that went in, or nothing.

    In the clear and free to change are only the MACs and what RFC 4303's outer header has no use for.
    """
    out = sealed(SMALL, VNET)
    at = data.draw(st.integers(14, len(out) - 1))
    out[at] ^= data.draw(st.integers(1, 255))
    header = esp.header_of(out)
    if header is None or header[0] != SPI:
        return
    try:
        result = esp.open_frame(out, header[2], header[3], Cipher(material()), *header[:2])
    except InvalidTag:
        return
    if result is not None:
        frame, vnet = result
        assert at < 34
        assert vnet == VNET
        assert frame[16:] == SMALL[16:] or frame[15] & 3 == 3


def test_congestion_marks_survive():
    out = sealed(SEGMENT, VNET)  # ECT(0)
    out[15] |= 3
    frame, _ = opened(out)
    expected = Ether(SEGMENT)
    expected[IP].tos = 3
    del expected[IP].chksum
    assert frame == bytes(expected)
    out = sealed(SIX)
    out[15] |= 0x30
    assert opened(out) is None  # not capable of marks: the packet has to be lost


@given(st.lists(st.integers(0, 400), min_size=1, max_size=300), st.sampled_from([32, 64, 128]))
def test_replay_window_against_a_set(numbers, size):
    window, seen = ReplayWindow(size, numbers[0]), {numbers[0]}
    for number in numbers[1:]:
        expected = number not in seen and number > max(seen) - size
        assert window.fresh(number) == expected
        if expected:
            window.mark(number)
            seen.add(number)
    assert window.top == max(seen)
