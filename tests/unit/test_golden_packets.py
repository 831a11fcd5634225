"""Files of golden packets say what they mean: an unknown key, a missing one or no expectation is an error."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from hoverboard.fastpath.memory import reasons
from tests.golden_packets import Row, parse, read_all

HEAD = 'description = "made up"\n[[packet]]\ndescription = "one"\n'
TO_HOST = 'table.match = { dl_type = 0x0800 }\ntable.to = "172.16.0.2"\n'


def test_a_packet_is_read() -> None:
    (golden,) = parse(
        "f", f'{HEAD}in = ["0102 03", "04"]\n{TO_HOST}table.vni = 7\nout = "as it came in"\nouter_ecn = 1'
    )
    assert (golden.name, golden.from_fabric, golden.frame, golden.inner) == ("f: one", False, b"\1\2\3\4", b"\1\2\3\4")
    assert golden.row == Row({"dl_type": 0x0800}, IPv4Address("172.16.0.2"), 7, b"", None)
    assert (golden.out, golden.outer_ecn, golden.drop, golden.ovs) == (b"\1\2\3\4", 1, None, None)


def test_the_frame_of_a_vm_stands_behind_the_options_of_the_fabrics() -> None:
    options = "aabbccdd" * 3
    (golden,) = parse(
        "f", f'{HEAD}from = "fabric"\nin = ["{"00" * 42}", "03000000 00000000", "{options}", "0102"]\ndrop = "vlan"'
    )
    assert (golden.from_fabric, golden.inner) == (True, b"\1\2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[packet]]\nin = []", "f: key 'description' is missing"),
        ('description = "x"', "f: key 'packet' is missing"),
        (f"{HEAD}in = []\n[more]", "f: unknown key 'more'"),
        (f'{HEAD}drop = "vlan"', "f: one: key 'in' is missing"),
        (f'{HEAD}in = []\ndrop = "vlan"\nfrm = "vm"', "f: one: unknown key 'frm'"),
        (f'{HEAD}in = []\ndrop = "vlan"\nfrom = "moon"', "f: one: cannot come from 'moon'"),
        (f'{HEAD}in = "00"\ndrop = "vlan"', "f: one: a frame is a list of lines"),
        (f'{HEAD}in = ["0x"]\ndrop = "vlan"', "non-hexadecimal"),
        (f"{HEAD}in = []", "f: one: has to say what comes out of it"),
        (f'{HEAD}in = []\nout = []\ndrop = "vlan"', "f: one: has to say what comes out of it"),
        (f"{HEAD}in = []\nout = []", "f: one: nothing comes out of an empty table"),
        (f"{HEAD}in = []\nout = []\n{TO_HOST}", "f: one, table: a row to a host, and no other, has a vni"),
        (f'{HEAD}in = []\ndrop = "vlan"\n{TO_HOST}table.vni = 7', "f: one: its row drops by another reason"),
        (f'{HEAD}in = []\nout = []\ntable.to = "vm"', "f: one, table: key 'match' is missing"),
        (f"{HEAD}in = []\nout = []\ntable.match.dl_type = 1", "f: one, table: has to say where the packet goes"),
        (f"{HEAD}in = []\nout = []\n{TO_HOST}table.tos = 1", "f: one, table: unknown key 'tos'"),
        (f'{HEAD}in = []\nout = []\ntable.match.ttl = 1\ntable.to = "vm"', "f: one, table.match: unknown key 'ttl'"),
        (f'{HEAD}in = []\nout = []\ntable.match.nw_ecn = 1\ntable.to = "vm"', "f: one, table.match: key 'dl_type' is"),
        (
            f'{HEAD}in = []\ndrop = "vlan"\n[[packet]]\ndescription = "one"\nin = []\ndrop = "vlan"',
            "f: one: there are two of this description",
        ),
    ],
)
def test_what_cannot_be_meant_is_an_error_that_names_the_packet(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse("f", text)


def test_the_files_that_there_are_name_reasons_of_the_data_plane() -> None:
    packets = read_all()
    assert {golden.name.split(":")[0] for golden in packets} == {"actions", "fabric", "headers", "malformed"}
    assert {golden.drop for golden in packets if golden.drop is not None} <= set(reasons.NAMES)
    assert all(len(golden.ovs.split()) > 3 for golden in packets if golden.ovs is not None)
