"""The mark of a namespace, as it stands in the kernel's messages; real namespaces are in the system ring."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.namespaces import netns, rtnetlink

_HEADER, _LINK = struct.Struct("=IHHII"), struct.Struct("=BxHiII")
NEWLINK, NAME, ALIAS = 16, 3, 20


def message(attributes: bytes, kind: int = NEWLINK) -> bytes:
    """An answer of the kernel about `lo`."""
    body = _LINK.pack(0, 772, 1, 0x49, 0) + attributes
    return _HEADER.pack(_HEADER.size + len(body), kind, 0, 1, 77) + body


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=255), st.binary(max_size=40))
def test_an_alias_is_found_among_other_attributes(alias: str, other: bytes) -> None:
    before, after = rtnetlink.attribute(NAME, other + b"\0"), rtnetlink.attribute(NAME, other)
    assert netns._alias(message(before + rtnetlink.attribute(ALIAS, alias.encode() + b"\0") + after)) == alias
    assert netns._alias(message(before + after)) == ""


@pytest.mark.parametrize(
    "reply",
    [message(b""), message(struct.pack("=i", -1), kind=2), message(bytes(4)), message(struct.pack("=HH", 3, NAME))],
    ids=["nothing", "a refusal", "zeros", "a length that cannot be"],
)
def test_where_there_is_no_alias_there_is_no_mark(reply: bytes) -> None:
    assert netns._alias(reply) == ""


def test_a_namespace_that_is_gone_has_no_mark() -> None:
    assert netns.read_mark((1 << 22) + 1) == ""  # above the highest pid there can be
    with pytest.raises(FileNotFoundError):
        netns.write_mark((1 << 22) + 1, "mark")


def test_a_mark_that_the_kernel_would_not_take_is_refused_before() -> None:
    with pytest.raises(ValueError, match="256 bytes"):
        netns.write_mark((1 << 22) + 1, "x" * 256)
