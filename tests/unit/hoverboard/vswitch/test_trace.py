"""What is read in an answer of ofproto/trace, word by word."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from hoverboard.contract.openflow.pipeline import Kind
from hoverboard.vswitch.trace import parse_trace, split_fields

FLOW = "in_port=102,tcp,dl_src=06:07:0a:00:00:02,nw_ttl=64,tp_dst=80"


def answer(
    *steps: str, flow: str = FLOW, final: str = "unchanged", megaflow: str = "recirc_id=0,in_port=102,ip"
) -> str:
    return "\n".join([f"Flow: {flow}", "", *steps, "", f"Final flow: {final}", f"Megaflow: {megaflow}", ""])


def test_an_answer_without_steps_drops_for_no_reason() -> None:
    verdict = parse_trace(answer())
    assert (verdict.kind, verdict.vni, verdict.out_port, verdict.tun_dst, verdict.tun_id) == (None, 0, None, None, 0)
    assert (verdict.changed, verdict.needs_ports, verdict.cacheable, verdict.matched) == (
        frozenset(),
        False,
        True,
        True,
    )
    assert verdict.headers == split_fields(FLOW)


def test_the_last_step_decides() -> None:
    verdict = parse_trace(
        answer(
            " 0. in_port=102, priority 100, cookie 0x2000007000000",
            "    goto_table:30",
            "30. No match.",
            "40. ip, priority 300, cookie 0x5000009000000",
            "    output:7",
        )
    )
    assert (verdict.kind, verdict.vni, verdict.out_port, verdict.tun_id, verdict.matched) == (Kind.LOCAL, 9, 7, 0, True)
    assert not parse_trace(answer("30. priority 1, cookie 0x5000009000000", "40. No match.")).matched


def test_out_by_the_port_that_it_came_in_by() -> None:
    step = "40. ip, priority 300, cookie 0x5000009000000"
    assert parse_trace(answer(step, "    IN_PORT")).out_port == 102
    assert parse_trace(answer(step, "    IN_PORT", flow="tcp")).out_port == 0
    assert parse_trace(answer(step, "    output:IN_PORT_OR_SO")).out_port is None


@pytest.mark.parametrize(
    "outputs",
    [
        ("    CONTROLLER:65535",),
        ("    FLOOD",),
        ("    NORMAL",),
        ("    group:1", "    output:7"),
        ("    output:7", "    output:8"),
    ],
)  # fmt: skip
def test_what_leads_to_anything_else_than_one_port_fits_no_entry(outputs: tuple[str, ...]) -> None:
    """So act flows that are not ours: on a host that others program."""
    verdict = parse_trace(answer(" 0. priority 0", *outputs))
    assert (verdict.kind, verdict.cacheable) == (None, False)
    assert verdict.out_port not in (None, 7, 8)
    assert parse_trace(answer(" 0. priority 0", "    output:7")).cacheable


def test_a_question_to_the_controller_has_its_own_kind() -> None:
    verdict = parse_trace(answer("30. ip, priority 1, cookie 0xb000007000000", "    CONTROLLER:65535"))
    assert (verdict.kind, verdict.out_port) == (Kind.PUNT, None)


TUNNEL = FLOW + ",tun_dst=172.16.0.2"


@pytest.mark.parametrize(("written", "vni"), [("0x1f", 31), ("31", 31), (None, 0)])
def test_the_network_on_the_wire_is_what_was_set_last(written: str | None, vni: int) -> None:
    steps = ["30. ip, priority 1, cookie 0x6000007000000", "    set_field:0x5->tun_id"] if written else []
    steps += [f"    set_field:{written}->tun_id"] if written else []
    verdict = parse_trace(answer(*steps, "    output:1", final=TUNNEL))
    assert (verdict.tun_id, verdict.tun_dst) == (vni, IPv4Address("172.16.0.2"))
    local = parse_trace(answer(*steps, "    output:5", final=TUNNEL))
    assert (local.tun_id, local.tun_dst) == (0, None)


def test_what_the_tunnels_packet_meets_on_the_physical_bridge_decides_nothing() -> None:
    verdict = parse_trace(
        answer(
            'bridge("br-int")',
            "----",
            "30. ip, priority 1, cookie 0x6000007000000",
            "    set_field:0x7->tun_id",
            "    output:1",
            'bridge("br-phy")',
            "----",
            " 0. priority 0",
            "    set_field:0x9->tun_id",
            "    output:5",
            " 1. No match.",
            'bridge("br-int")',
            "    set_field:0x8->tun_id",
            final=TUNNEL,
        )
    )
    assert (verdict.kind, verdict.out_port, verdict.tun_id, verdict.matched) == (Kind.ROUTE, 1, 8, True)


def test_headers_are_those_after_all_actions_and_the_changed_ones_are_named() -> None:
    final = "dl_src=02:00:5e:00:00:01,in_port=102,tcp,nw_ttl=63,tp_dst=80,reg5=0x1,tun_dst=172.16.0.9"
    verdict = parse_trace(answer("    set_field:3->nd_reserved", flow=FLOW + ",tun_dst=172.16.0.1", final=final))
    assert verdict.changed == {"dl_src", "nw_ttl"}
    assert verdict.headers == {**split_fields(final), "nd_reserved": "3"}


@pytest.mark.parametrize(
    ("megaflow", "cacheable", "needs_ports"),
    [
        ("recirc_id=0,eth,ip,in_port=1,tun_id=0x7,tun_src=1.2.3.4,tun_ttl=3,tun_metadata0=1", True, False),
        ("ip,in_port=1,nw_ttl=64", False, False),
        ("tcp,in_port=1,tp_dst=80", True, True),
        ("tcp,in_port=1,tp_src=0x50/0xfff0", True, True),
        ("icmp,in_port=1,icmp_type=8", True, True),
        ("icmp,in_port=1,icmp_code=0", True, True),
        ("tcp,in_port=1,tp_dst=80,nw_ttl=64", False, True),
        ("tcp,in_port=1,tcp_flags=syn", False, False),
    ],
)
def test_whether_a_key_holds_what_the_decision_rests_on(megaflow: str, cacheable: bool, needs_ports: bool) -> None:
    verdict = parse_trace(answer(megaflow=megaflow))
    assert (verdict.cacheable, verdict.needs_ports) == (cacheable, needs_ports)


def test_an_answer_that_names_no_packet_has_no_headers() -> None:
    assert parse_trace(answer().replace("Flow: in_port", "Else: in_port", 1)).headers == {}


@pytest.mark.parametrize("missing", ["Final flow: ", "Megaflow: "])
def test_half_an_answer_is_none(missing: str) -> None:
    with pytest.raises(ValueError, match="no result"):
        parse_trace(answer().replace(missing, "Else: "))


def test_through_the_tunnel_to_no_host_is_no_answer() -> None:
    with pytest.raises(ValueError, match="to no host"):
        parse_trace(answer("    output:1"))
    assert parse_trace(answer("    output:2")).out_port == 2


def test_fields_have_names_and_values() -> None:
    assert split_fields(" tcp, in_port=1,nw_src=10.0.0.1 ,actions=a=b") == {
        "tcp": "", "in_port": "1", "nw_src": "10.0.0.1 ", "actions": "a=b",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("actions", "metadata"),
    [
        (["goto_table:30"], {0}),
        (["write_metadata:0x7", "goto_table:30"], {0, 7}),
        (["set_field:0x123456789abcdef0->metadata", "resubmit(,30)"], {0, 0x123456789ABCDEF0}),
        (["write_metadata:0x7/0xff", "goto_table:30"], {0, 7}),
        (["set_field:0x1f->metadata", "set_field:0x20/0xf0->metadata", "goto_table:30"], {0, 0x2F}),
        (["move:NXM_OF_IP_DST[]->NXM_NX_REG5[]", " -> NXM_NX_REG5[] is now 0xa000003", "goto_table:30"], {0}),
        (["set_field:0x5/0xf->reg1", "set_field:06:07:0a:00:00:03->eth_dst", "meter:1", "goto_table:30"], {0}),
        (["set_field:172.16.0.2->tun_dst", "set_field:0x7->pkt_mark", "note:00.01", "goto_table:30"], {0}),
        (["CONTROLLER:65535", "output:5", "output:NXM_NX_REG0[]", "IN_PORT", "drop", "goto_table:30"], {0}),
        ([">> a flow is learnt", "set_field:1->xxreg0", "move:NXM_NX_REG0[]->NXM_NX_XXREG0[0..31]"], {0}),
        (["write_metadata:0x100000007", "write_metadata:0x8/0xf", "goto_table:30"], {0, 0x100000008}),
        (["CONTROLLER"], None),
        (["controller(reason=no_match)"], None),
        (["group:1"], None),
        (["set_field:3->nd_reserved"], None),
        (["set_field:0x7->tun_id", "goto_table:30"], None),
        (["resubmit(101,30)"], None),
        (["set_field:100->in_port", "goto_table:30"], None),
        (["set_field:10.0.0.9->ip_src", "goto_table:30"], None),
        (["move:NXM_NX_REG0[0..15]->OXM_OF_METADATA[0..15]", "goto_table:30"], None),
        (["pop:NXM_OF_IP_DST[]", "goto_table:30"], None),
        (["an action of a later version", "goto_table:30"], None),
    ],
)  # fmt: skip
def test_what_tables_saw_in_the_metadata_register(actions: list[str], metadata: set[int] | None) -> None:
    """None: an action that is not known here came before a table; fields may have been anything then."""
    steps = [" 0. priority 1", *(f"    {action}" for action in actions), "30. priority 1", "    output:100"]
    got = parse_trace(answer('bridge("br-int")', "----------------", *steps)).metadata
    assert got == (None if metadata is None else frozenset(metadata))


def test_an_action_after_the_last_table_makes_no_difference() -> None:
    steps = [" 0. priority 1", "    write_metadata:0x7", "    goto_table:30", "30. priority 1"]
    last = ["    set_field:10.0.0.9->ip_src", "    set_field:0x7->tun_id", "    strange", "    output:100"]
    assert parse_trace(answer(*steps, *last)).metadata == {0, 7}
