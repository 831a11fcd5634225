"""MACs and the Internet checksum: by examples of the RFC, and by their definitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoverboard.contract.packets import checksum_of_sum, internet_checksum, mac_bytes, mac_number, mac_text


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0xFFFF),
        (bytes(20), 0xFFFF),
        (b"\x00\x01\xf2\x03\xf4\xf5\xf6\xf7", 0x220D),  # RFC 1071, section 3
        (bytes.fromhex("45000073000040004011 0000 c0a80001c0a800c7"), 0xB861),
        (b"\xff", 0x00FF),
        (b"\x00\xff", 0xFF00),
        (b"\xff\xff" * 3, 0),
        (b"\xff\xff\x00\x01", 0xFFFE),
    ],
)
def test_checksums_are_those_of_rfc_1071(data: bytes, checksum: int) -> None:
    assert internet_checksum(data) == internet_checksum(memoryview(data)) == checksum


@given(st.binary(max_size=70))
def test_the_checksum_is_the_complement_of_the_folded_sum(data: bytes) -> None:
    padded = data + b"\0" * (len(data) % 2)
    total = sum(padded[at] << 8 | padded[at + 1] for at in range(0, len(padded), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    assert internet_checksum(data) == 0xFFFF - total


@given(st.lists(st.integers(0, 0xFFFF), max_size=40))
def test_the_checksum_of_words_follows_from_their_sum(words: list[int]) -> None:
    assert checksum_of_sum(sum(words)) == internet_checksum(b"".join(word.to_bytes(2, "big") for word in words))


@given(st.binary(min_size=1, max_size=70))
def test_data_with_their_checksum_sum_to_zero(data: bytes) -> None:
    even = data + b"\0" * (len(data) % 2)
    assert internet_checksum(even + internet_checksum(even).to_bytes(2, "big")) == 0


def test_a_mac_is_six_bytes_or_a_number() -> None:
    assert mac_bytes("02:00:5e:00:00:01") == b"\x02\x00\x5e\x00\x00\x01"
    assert mac_number("02:00:5e:00:00:01") == 0x02005E000001
    assert mac_text(0x5E000001) == "00:00:5e:00:00:01"


@given(st.binary(min_size=6, max_size=6))
def test_a_mac_comes_back_from_its_text(raw: bytes) -> None:
    text = mac_text(raw)
    assert mac_bytes(text) == mac_bytes(text.upper()) == raw
    assert mac_text(mac_number(text)) == text


@pytest.mark.parametrize("text", ["", "02:00:5e:00:00", "02:00:5e:00:00:01:02", "02:00:5e:00:00:0g"])
def test_what_is_no_mac_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"MAC|hexadecimal"):
        mac_bytes(text)
