"""Golden packets of the access-control list."""

from __future__ import annotations

import pytest

from hoverboard.contract.errors import InputError
from hoverboard.coprocessor.stages.internet_acl import InternetAcl
from tests.unit.hoverboard.coprocessor.fakes import (
    ARP,
    ICMP,
    IP,
    TCP,
    UDP,
    IPv6,
    Raw,
    context,
    ethernet,
    packet,
)

WEB = ethernet(IP(src="10.0.0.2", dst="203.0.113.9"), TCP(sport=4000, dport=443, flags="S"))
DNS = ethernet(IP(src="10.0.0.2", dst="8.8.8.8"), UDP(sport=4000, dport=53))
PING = ethernet(IP(src="10.0.0.2", dst="203.0.113.9"), ICMP())
SIX = ethernet(IPv6(src="fd00::1", dst="2001:db8::1"), TCP(sport=1, dport=22))
LATER = ethernet(IP(src="10.0.0.2", dst="8.8.8.8", proto=17, frag=10), Raw(b"\0\x35\0\x35" * 4))
ANSWER = ethernet(IP(src="203.0.113.9", dst="10.0.0.2"), TCP(sport=443, dport=4000, flags="SA"))

ALLOW_DNS = {"action": "allow", "protocols": ["udp"], "ports": [53]}
DENY_NET = {"action": "deny", "prefixes": ["203.0.113.0/24"]}
SSH = {"action": "deny", "prefixes": ["2001:db8::/32"], "protocols": ["tcp"], "ports": ["20-23"]}

ACL = [
    # description, rules, default, packet, direction, verdict
    ("no rule, allowed by default", [], "allow", WEB, "egress", None),
    ("no rule, denied by default", [], "deny", WEB, "egress", "acl-denied"),
    ("prefix of the destination", [DENY_NET], "allow", WEB, "egress", "acl-denied"),
    ("another prefix", [DENY_NET], "allow", DNS, "egress", None),
    ("ingress: prefix of the source", [DENY_NET], "allow", ANSWER, "ingress", "acl-denied"),
    ("a rule for the other direction", [DENY_NET | {"direction": "egress"}], "allow", ANSWER, "ingress", None),
    ("port and protocol", [ALLOW_DNS], "deny", DNS, "egress", None),
    ("port without protocol", [ALLOW_DNS], "deny", WEB, "egress", "acl-denied"),
    ("the first match counts", [ALLOW_DNS, {"action": "deny"}], "allow", DNS, "egress", None),
    ("the first match counts, other order", [{"action": "deny"}, ALLOW_DNS], "allow", DNS, "egress", "acl-denied"),
    ("ICMP by name", [{"action": "deny", "protocols": ["icmp"]}], "allow", PING, "egress", "acl-denied"),
    ("ICMP has no ports", [{"action": "deny", "ports": ["0-65535"]}], "allow", PING, "egress", None),
    ("a later fragment has no ports", [ALLOW_DNS], "deny", LATER, "egress", "acl-denied"),
    ("IPv6, range of ports", [SSH], "allow", SIX, "egress", "acl-denied"),
    ("IPv4 prefix, IPv6 packet", [{"action": "deny", "prefixes": ["0.0.0.0/0"]}], "allow", SIX, "egress", None),
    ("ARP", [], "allow", ethernet(ARP()), "egress", "acl-not-ip"),
    ("cut short", [], "allow", WEB[:20], "egress", "acl-not-ip"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "rules", "default", "frame", "direction", "reason"), ACL, ids=[row[0] for row in ACL])
def test_internet_acl(what, rules, default, frame, direction, reason):
    stage = InternetAcl(context(), {"rules": rules, "default": default})
    for _ in range(2):  # the second is decided from memory
        one = packet(frame, direction)
        assert stage.process([one]) == ([] if reason else [one])
        assert one.reason == reason
        assert bytes(one.frame) == frame


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"default": "maybe"}, "config.default"),
        ({"rules": [{"action": "deny", "ports": ["80-70"]}]}, "config.rules.0.ports.0"),
        ({"rules": [{"action": "deny"}, {"action": "deny", "protocols": ["tpc"]}]}, "config.rules.1.protocols.0"),
        ({"rules": [{"action": "deny", "prefixes": ["10.0.0.1/8"]}]}, "config.rules.0.prefixes.0"),
        ({"rules": [{"prefix": "10.0.0.0/8"}]}, "config.rules.0.action"),
    ],
)
def test_internet_acl_names_what_is_wrong(config, where):
    with pytest.raises(InputError) as caught:
        InternetAcl(context(), config)
    assert caught.value.where == f"stage internet-acl, {where}"
