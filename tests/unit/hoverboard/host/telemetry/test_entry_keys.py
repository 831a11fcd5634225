"""Two entries of one pair of addresses look different: by ports, sender, ECN bits, fragments or, at last, by MACs."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoverboard.fastpath.packets.flow_table import Key
from hoverboard.fastpath.packets.parse import FIVE_TUPLE
from hoverboard.host.telemetry import entry_keys

IPV4, LLDP = 0x0800, 0x88CC


def key(
    *, port: int = 100, kind: int = IPV4, proto: int = 6, ecn: int = 0, frag: int = 0,
    five: tuple[int, int] | None = None, tunnel: str | None = None, macs: tuple[int, int] = (1, 2),
) -> Key:  # fmt: skip
    sport, dport = five or (0, 0)
    word = port << 48 | kind << 32 | proto << 24 | ecn << 4 | frag << 2 | (FIVE_TUPLE if five else 0)
    return (
        word,
        int(IPv4Address(tunnel)) << 32 | 7 if tunnel else 0,
        sport << 48 | macs[0],
        dport << 48 | macs[1],
        0,
        0,
        0,
        0,
    )


@pytest.mark.parametrize(
    ("made", "ports"),
    [
        (key(), None),
        (key(five=(40_000, 80)), "40000 > 80"),
        (key(five=(65_535, 65_535), proto=17), "65535 > 65535"),
        (key(five=(8, 0), proto=1), "type 8"),
        (key(five=(3, 4), proto=1), "type 3 code 4"),
        (key(five=(128, 0), proto=58), "type 128"),
    ],
)
def test_ports_or_the_type(made: Key, ports: str | None) -> None:
    assert entry_keys.ports(made) == ports


def test_signed_words_are_read_as_the_engine_writes_them() -> None:
    # A port of 32768 or more, or a tunnel from 128.0.0.0 up, makes the word of the key negative.
    signed = tuple(word - (1 << 64) if word >> 63 else word for word in key(five=(60_000, 61_000), tunnel="172.16.0.2"))
    assert entry_keys.ports(signed) == "60000 > 61000"
    assert entry_keys.tunnel_sender(signed) == "172.16.0.2"


@pytest.mark.parametrize(
    ("made", "more"),
    [
        (key(), None),
        (key(ecn=2), "ECN(0)"),
        (key(ecn=3, frag=1), "ECN CE, first fragment"),
        (key(frag=2), "later fragments"),
        (key(kind=LLDP), "Ethernet type 0x88cc"),
    ],
)
def test_what_else_an_entry_is_for(made: Key, more: str | None) -> None:
    assert entry_keys.more(made) == more


def row(made: Key) -> Any:
    return {
        "vni": 7, "src": "a", "dst": "b", "proto": made[0] >> 24 & 0xFF, "ports": entry_keys.ports(made),
        "sender": entry_keys.tunnel_sender(made), "more": entry_keys.more(made),
    }  # fmt: skip


def test_macs_are_shown_only_where_nothing_else_differs() -> None:
    alike, other = [key(macs=(1, 2)), key(macs=(1, 3))], key(ecn=1)
    rows = [row(one) for one in (*alike, other)]
    entry_keys.tell_apart(zip((*alike, other), rows, strict=True))
    assert [one["more"] for one in rows] == [
        "port 100, 00:00:00:00:00:01 > 00:00:00:00:00:02", "port 100, 00:00:00:00:00:01 > 00:00:00:00:00:03", "ECN(1)"
    ]  # fmt: skip


def test_rows_of_one_entry_are_no_two_entries() -> None:
    rows = [row(key()), row(key())]
    entry_keys.tell_apart([(key(), rows[0]), (key(), rows[1])])
    assert [one["more"] for one in rows] == [None, None]


KEYS = st.builds(
    key, port=st.integers(100, 102), kind=st.sampled_from([IPV4, LLDP]), proto=st.sampled_from([1, 6, 17]),
    ecn=st.integers(0, 3), frag=st.integers(0, 2), five=st.sampled_from([None, (1, 2), (2, 1)]),
    tunnel=st.sampled_from([None, "172.16.0.1"]), macs=st.sampled_from([(1, 2), (2, 2)]),
)  # fmt: skip


@given(st.sets(KEYS, max_size=8))
def test_any_two_entries_look_different(keys: set[Key]) -> None:
    rows = [(one, row(one)) for one in keys]
    entry_keys.tell_apart(rows)
    assert len({tuple(shown.items()) for _key, shown in rows}) == len(keys)
