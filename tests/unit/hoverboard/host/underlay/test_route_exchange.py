"""The route exchange of one node: a host asks and learns, a Hoverboard answers from its switch's tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest

from hoverboard.contract.errors import SwitchError
from hoverboard.contract.openflow.tables import LEARNED as LEARNED_RANK
from hoverboard.contract.openflow.tables import Table
from hoverboard.contract.reports import FlowUsage
from hoverboard.host.underlay import learned_routes, route_exchange
from hoverboard.host.underlay.learned_routes import Destination
from hoverboard.host.underlay.route_exchange import RouteExchange, learned_flow, no_flow
from hoverboard.vswitch.switch_questions import OvsQuestions
from tests.unit.hoverboard.fake_commands import FakeCommands
from tests.unit.hoverboard.vswitch.test_vswitch import DROP, RELAY

START = 1_000_003.0
HERE, GATEWAY, THERE = (IPv4Address(f"172.16.{last}") for last in ("0.1", "255.1", "0.2"))
D = Destination(7, IPv4Address("10.0.0.3"))
SIX = Destination(7, IPv6Address("fd00::3"))
MAC = "06:07:0a:00:00:02"
OWN = IPv4Address("10.0.0.2")
LEARN = RELAY.replace("0x9000007000000", "0xc000007000000")  # a default route that says "learn"
LEARN_NOWHERE = DROP.replace("0x102000007000000", "0xc000007000000")
LEARNED = RELAY.replace("0x9000007000000", "0xd000007000000")


class Switch:
    """Answers questions about its tables from a text, or raises; remembers them."""

    management = "unix:/nowhere/br-int.mgmt"

    def __init__(self) -> None:
        self.answer: str | Exception = RELAY
        self.flows: str | Exception = ""
        self.asked: list[str] = []

    def appctl(self, command: str, *arguments: str) -> str:
        answer = self.flows if command == "bridge/dump-flows" else self.answer
        if command == "ofproto/trace":
            self.asked.append(arguments[1])
        assert arguments[0] == "br-int"
        if isinstance(answer, Exception):
            raise answer
        return answer


class Post:
    """Datagrams that were sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[IPv4Address, bytes]] = []

    def send(self, to: IPv4Address, payload: bytes) -> None:
        self.sent.append((to, payload))


class Node:
    """A route exchange and its surroundings."""

    def __init__(self, commands: FakeCommands, role: str = "host", flows: str | Exception = "") -> None:
        self.now = START
        self.switch, self.post, self.commands = Switch(), Post(), commands
        self.switch.flows = flows
        commands.put("ovs-ofctl")
        questions = OvsQuestions(self.switch)  # type: ignore[arg-type]
        self.exchange = RouteExchange(
            self.switch,
            questions,
            HERE,
            self.post,
            role,
            lambda: self.now,  # type: ignore[arg-type]
        )

    def settle(self) -> list[str]:
        """The changes that were handed to the switch, once all are."""

        self.exchange.tick()
        while (running := self.exchange._running) is not None:
            running.wait(10)
            self.exchange.tick()
        assert not self.exchange._changes
        return self.commands.given("ovs-ofctl").splitlines()

    def learned(self) -> Node:
        self.exchange.route_wanted(D.vni, D.address, GATEWAY)
        self.exchange.datagram_received(GATEWAY, learned_routes.answer(D, THERE))
        return self


@pytest.fixture
def host(commands: FakeCommands) -> Iterator[Node]:
    made = Node(commands)
    yield made
    made.settle()


@pytest.fixture
def hoverboard(commands: FakeCommands) -> Node:
    return Node(commands, "hoverboard")


def test_a_learned_route_becomes_a_flow_of_the_switch_and_goes_again(host: Node) -> None:
    host.learned()
    assert host.post.sent == [(GATEWAY, learned_routes.request(D))]
    assert host.settle() == [f"add {learned_flow(D, THERE)}"]
    command = "-O OpenFlow14 --bundle add-flows unix:/nowhere/br-int.mgmt -"
    assert [" ".join(call) for call in host.commands.calls("ovs-ofctl")] == [command]
    host.exchange.attached(100, 7, MAC, [OWN])
    host.switch.answer = LEARNED
    host.now += 15.0
    assert host.settle() == [f"delete_strict {no_flow(D)}"]


def test_flows_name_their_network_and_address() -> None:
    name, match = f"table={int(Table.ROUTE)},priority={LEARNED_RANK},metadata=0x7", "ip,nw_dst=10.0.0.3"
    keep = "move:NXM_OF_IP_DST[]->NXM_NX_REG5[]"
    actions = f"actions={keep},set_field:7->tun_id,set_field:172.16.0.2->tun_dst,output:1"
    assert learned_flow(D, THERE) == f"{name},cookie=0xd000007000000,{match},{actions}"
    assert no_flow(D) == f"{name},{match}"
    assert no_flow(SIX) == f"{name},ipv6,ipv6_dst=fd00::3"
    assert ",ipv6,ipv6_dst=fd00::3,actions=move:NXM_NX_IPV6_DST[]->NXM_NX_XXREG1[]," in learned_flow(SIX, THERE)


def test_changes_gather_while_the_switch_is_busy_and_go_together(host: Node) -> None:
    host.commands.put("ovs-ofctl", then=f"cat {host.commands._directory}/gate")
    gate = host.commands._directory / "gate"
    os.mkfifo(gate)
    host.learned()
    for last in (4, 5):
        wanted = Destination(7, IPv4Address(f"10.0.0.{last}"))
        host.exchange.route_wanted(7, wanted.address, GATEWAY)
        host.exchange.datagram_received(GATEWAY, learned_routes.answer(wanted, THERE))
    assert host.exchange.busy
    gate.write_bytes(b"")
    host.commands.put("ovs-ofctl")
    lines = host.settle()
    assert lines == [f"add {learned_flow(Destination(7, IPv4Address(f'10.0.0.{last}')), THERE)}" for last in (3, 4, 5)]
    assert len(host.commands.calls("ovs-ofctl")) == 2


def test_what_the_process_before_had_learned_is_taken_out(commands: FakeCommands) -> None:
    node = Node(commands, flows="table_id=30, duration=5s, priority=140,ip, actions=..\n")
    assert not node.exchange.busy
    mine = f"table_id=30, priority={LEARNED_RANK},ip,metadata=0x7 actions=..\n"
    node = Node(commands, flows=mine)
    assert node.exchange.busy
    node.exchange.tick()
    assert node.exchange.busy, "it is being written"
    assert node.settle() == ["delete cookie=0xd000000000000/0xffff000000000000"]
    assert not node.exchange.busy
    assert not Node(commands, "hoverboard", flows=mine).exchange.busy
    assert not Node(commands, flows=SwitchError("away")).exchange.busy


def test_a_host_asks_and_does_not_answer(host: Node) -> None:
    host.exchange.datagram_received(THERE, learned_routes.request(D))
    host.exchange.datagram_received(THERE, b"nonsense")
    assert (host.post.sent, host.switch.asked) == ([], [])
    host.exchange.route_wanted(D.vni, D.address, GATEWAY)
    assert host.exchange.busy
    host.exchange.route_wanted(D.vni, D.address, GATEWAY)
    assert len(host.post.sent) == 1
    host.now += 0.2 + 0.01
    host.exchange.tick()
    assert len(host.post.sent) == 2


def test_an_answer_goes_to_the_switch_at_once(host: Node) -> None:
    host.learned()
    assert host.exchange._running is not None


def test_what_a_host_says_of_its_routes(host: Node) -> None:
    host.learned()
    other = Destination(7, IPv4Address("10.0.0.4"))
    host.exchange.route_wanted(7, other.address, GATEWAY)
    host.exchange.datagram_received(GATEWAY, learned_routes.answer(other, THERE))
    host.exchange.route_wanted(7, IPv4Address("10.0.0.9"), GATEWAY)
    host.exchange.datagram_received(GATEWAY, learned_routes.answer(Destination(7, IPv4Address("10.0.0.9")), None))
    status = host.exchange.status()
    assert (status["routes"], status["requests"], status["answers"], status["learned"]) == (2, 3, 3, 3)


def test_use_keeps_a_route(host: Node) -> None:
    host.learned()
    host.settle()
    host.now += 10
    host.exchange.used([FlowUsage(7, OWN, IPv4Address("10.0.0.3"), 100, 1)])
    assert host.exchange.learner.routes[D].used == host.now


# --- a Hoverboard's answers -------------------------------------------------------------------------------


def test_a_hoverboard_answers_from_its_relay_flows(hoverboard: Node) -> None:
    hoverboard.exchange.datagram_received(THERE, learned_routes.request(D))
    assert hoverboard.post.sent == [(THERE, learned_routes.answer(D, IPv4Address("172.16.0.2")))]
    assert hoverboard.switch.asked == [
        "in_port=1,tun_id=0x7,tun_src=172.16.0.2,tun_dst=172.16.0.1,dl_src=06:07:00:00:00:01,"
        "dl_dst=02:00:5e:00:00:01,ip,nw_proto=6,nw_ttl=64,nw_src=0.0.0.1,nw_dst=10.0.0.3"
    ]
    hoverboard.exchange.datagram_received(THERE, learned_routes.request(SIX))
    assert hoverboard.switch.asked[1].endswith("ipv6,nw_proto=6,nw_ttl=64,ipv6_src=::1,ipv6_dst=fd00::3")
    assert hoverboard.exchange.status() == {"answered": 2, "refused": 0}


def test_what_it_does_not_relay_is_no_destination(hoverboard: Node) -> None:
    hoverboard.switch.answer = DROP
    hoverboard.exchange.datagram_received(THERE, learned_routes.request(D))
    hoverboard.switch.answer = LEARN
    hoverboard.exchange.datagram_received(THERE, learned_routes.request(D))
    assert hoverboard.post.sent == [(THERE, learned_routes.answer(D, None))] * 2
    assert hoverboard.exchange.status() == {"answered": 2, "refused": 0}


@pytest.mark.parametrize(
    "answer",
    [
        SwitchError("away"),
        "Bad openflow flow syntax",
        DROP.replace("in_port=100, priority 100, cookie 0x102000007000000", "No match."),
    ],
    ids=["away", "no sense", "no tables"],
)
def test_a_switch_that_knows_nothing_gives_no_answer(hoverboard: Node, answer: str | Exception) -> None:
    hoverboard.switch.answer = answer
    hoverboard.exchange.datagram_received(THERE, learned_routes.request(D))
    assert hoverboard.post.sent == []
    assert hoverboard.exchange.status() == {"answered": 0, "refused": 1}


def test_a_hoverboard_answers_so_many_a_second(hoverboard: Node) -> None:
    for _ in range(203):
        hoverboard.exchange.datagram_received(THERE, learned_routes.request(D))
    assert hoverboard.exchange.status() == {"answered": 200, "refused": 3}
    assert len(hoverboard.switch.asked) == 200, "a refusal asks nothing"
    hoverboard.now += 2.5 / 200
    for _ in range(3):
        hoverboard.exchange.datagram_received(THERE, learned_routes.request(D))
    assert hoverboard.exchange.status() == {"answered": 202, "refused": 4}
    hoverboard.now += 3600
    for _ in range(201):
        hoverboard.exchange.datagram_received(THERE, learned_routes.request(D))
    assert hoverboard.exchange.status() == {"answered": 402, "refused": 5}


def test_a_hoverboard_learns_nothing_itself(hoverboard: Node) -> None:
    hoverboard.exchange.datagram_received(GATEWAY, learned_routes.answer(D, THERE))
    assert not hoverboard.exchange.busy


# --- which flow stands, and hosts whose switch carries the packets ----------------------------------------


def test_a_route_stands_as_seen_by_a_vm_of_its_network_and_family(host: Node) -> None:
    host.exchange.attached(100, 8, "06:08:0a:00:00:02", [OWN])
    host.exchange.attached(101, 7, MAC, [IPv6Address("fd00::2"), OWN])
    host.switch.answer = LEARNED
    assert host.exchange._is_installed(D)
    assert host.switch.asked == [
        f"in_port=101,dl_src={MAC},dl_dst=02:00:5e:00:00:01,ip,nw_proto=6,nw_ttl=64,nw_src=10.0.0.2,nw_dst=10.0.0.3"
    ]
    assert host.exchange._is_installed(SIX)
    assert "ipv6_src=fd00::2,ipv6_dst=fd00::3" in host.switch.asked[1]
    host.switch.answer = LEARN
    assert not host.exchange._is_installed(D)
    host.switch.answer = SwitchError("away")
    assert not host.exchange._is_installed(D)


def test_a_vm_that_went_sees_nothing(host: Node) -> None:
    host.exchange.attached(101, 7, MAC, [OWN])
    host.exchange.detached(101)
    host.exchange.detached(101)
    host.switch.answer = LEARNED
    assert not host.exchange._is_installed(D)
    assert host.switch.asked == []


def test_where_the_switch_carries_packets_new_ways_are_looked_at_now_and_then(host: Node) -> None:
    host.exchange.attached(100, 7, MAC, [OWN])
    host.switch.answer = LEARN
    way = (7, D.address, GATEWAY)
    host.exchange.routes_used([way])
    assert len(host.switch.asked) == 1
    assert host.post.sent == [(IPv4Address("172.16.0.2"), learned_routes.request(D))], (
        "the gateway that the switch names"
    )
    host.now = START + 1.9
    host.exchange.routes_used([way])
    assert len(host.switch.asked) == 1
    host.exchange.routes_used([(7, D.address, THERE)])
    assert len(host.switch.asked) == 2, "another way to the same destination is another"
    host.now = START + 2.0
    host.exchange.routes_used([way])
    assert len(host.switch.asked) == 3


@pytest.mark.parametrize("answer", [RELAY, LEARNED, DROP, LEARN_NOWHERE, SwitchError("away")])
def test_other_ways_are_not_learned(host: Node, answer: str | Exception) -> None:
    host.exchange.attached(100, 7, MAC, [OWN])
    host.switch.answer = answer
    host.exchange.routes_used([(7, D.address, GATEWAY)])
    assert host.post.sent == []


def test_so_many_new_ways_are_looked_at_at_once(host: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    assert route_exchange._TRACES_PER_INTERVAL == 50
    monkeypatch.setattr(route_exchange, "_TRACES_PER_INTERVAL", 3)
    monkeypatch.setattr(route_exchange, "_MOST_TRACES", 4)
    host.exchange.attached(100, 7, MAC, [OWN])
    ways = [(7, IPv4Address(0x0A000100 + last), GATEWAY) for last in range(5)]
    host.exchange.routes_used(ways)
    assert len(host.switch.asked) == 3
    host.exchange.routes_used(ways)
    assert len(host.switch.asked) == 5, "the others come in the next interval"
    host.exchange.routes_used(ways)
    assert len(host.switch.asked) == 6, "one was forgotten"
    assert host.switch.asked[-1].endswith(str(ways[0][1])), "the first"
