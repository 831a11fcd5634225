"""The route exchange of one node: a host learns routes, a Hoverboard answers from the tables of its own switch.

All of it runs in the host's control thread. `ovs-ofctl` changes the switch's flows; the thread does not wait for it.
"""

from __future__ import annotations

import contextlib
import math
import subprocess
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, ip_address
from typing import Any

from hoverboard.contract.encapsulation import GATEWAY_MAC, guest_mac
from hoverboard.contract.errors import SwitchError
from hoverboard.contract.openflow.pipeline import BRIDGE, TUNNEL_PORT, Kind, cookie
from hoverboard.contract.openflow.tables import LEARNED, Table
from hoverboard.contract.packets import Address
from hoverboard.contract.reports import FlowUsage
from hoverboard.contract.token_bucket import TokenBucket
from hoverboard.host.listeners import UsedRoute
from hoverboard.host.underlay.datagrams import Datagrams
from hoverboard.host.underlay.learned_routes import Destination, Learner, answer, read
from hoverboard.vswitch.ovs import Ovs
from hoverboard.vswitch.switch_questions import SwitchQuestions
from hoverboard.vswitch.trace import TraceResult

ANSWERS_A_TURN = 200  # requests a second that a Hoverboard answers: each takes one trace of 0.5 ms
_MOST_TRACES = 10_000  # traces that are kept, on hosts where the switch carries the packets
_TRACE_VALID = 2.0  # seconds for which a trace is valid
_TRACES_PER_INTERVAL = 50  # new destinations traced in one report interval, on the same hosts


def learned_flow(wanted: Destination, underlay: IPv4Address) -> str:
    """The flow of a learned route for ovs-ofctl: like the controller's route, but of Kind.LEARNED."""
    four = wanted.address.version == 4
    match = f"ip,nw_dst={wanted.address}" if four else f"ipv6,ipv6_dst={wanted.address}"
    keep = "move:NXM_OF_IP_DST[]->NXM_NX_REG5[]" if four else "move:NXM_NX_IPV6_DST[]->NXM_NX_XXREG1[]"
    return (
        f"{_name(wanted)},cookie={cookie(Kind.LEARNED, wanted.vni):#x},{match},"
        f"actions={keep},set_field:{wanted.vni}->tun_id,set_field:{underlay}->tun_dst,output:{TUNNEL_PORT}"
    )


def _name(wanted: Destination) -> str:
    return f"table={int(Table.ROUTE)},priority={LEARNED},metadata={wanted.vni:#x}"


def no_flow(wanted: Destination) -> str:
    """The match that deletes the flow of a learned route."""
    match = f"ip,nw_dst={wanted.address}" if wanted.address.version == 4 else f"ipv6,ipv6_dst={wanted.address}"
    return f"{_name(wanted)},{match}"


class RouteExchange:
    """Requests and answers routes, and installs the switch's learned flows; the RouteListener of its host.

    Args:
        switch, questions: the node's switch, and the port by which it answers for single packets.
        datagrams: sends to other hosts; `datagram_received` gets what arrives.
        role: "host" requests routes, "hoverboard" answers.
    """

    def __init__(
        self,
        switch: Ovs,
        questions: SwitchQuestions,
        local_ip: IPv4Address,
        datagrams: Datagrams,
        role: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._switch = switch
        self._questions = questions
        self._local_ip = local_ip
        self._datagrams = datagrams
        self._role = role
        self._clock = clock
        self._changes: list[str] = []
        self._vms: dict[int, tuple[int, str, tuple[Address, ...]]] = {}  # by OpenFlow port
        self._running: subprocess.Popen[str] | None = None
        self._recent_traces: OrderedDict[tuple[Destination, IPv4Address], float] = OrderedDict()
        self._budget = TokenBucket(ANSWERS_A_TURN, ANSWERS_A_TURN, clock())
        self.answered = self.refused = 0
        self.learner = Learner(local_ip, datagrams.send, self._install, self._is_installed)
        if role == "host":
            self._remove_learned_flows()

    def _remove_learned_flows(self) -> None:
        """Remove the flows that an earlier host process learned: no cache would ever remove them."""
        with contextlib.suppress(SwitchError):
            if f"priority={LEARNED}," in self._switch.appctl("bridge/dump-flows", BRIDGE):
                kind = Kind.LEARNED << 48
                self._changes.append(f"delete cookie={kind:#x}/{0xFFFF << 48:#x}")

    def status(self) -> dict[str, Any]:
        """{routes, requests, answers, ..} of a host; {answered, refused} of a Hoverboard."""
        if self._role == "hoverboard":
            return {"answered": self.answered, "refused": self.refused}
        known = [route for route in self.learner.routes.values() if route.underlay is not None]
        return {"routes": len(known), **self.learner.counters}

    def route_wanted(self, vni: int, dst: Address, gateway: IPv4Address) -> None:
        """Request a direct route to `dst`; a packet there matched a default route of kind LEARN."""
        self.learner.wanted(Destination(vni, dst), gateway, self._clock())

    def used(self, flows: Iterable[FlowUsage]) -> None:
        """Note which routes the host's VMs used in a report interval."""
        self.learner.used(flows, self._clock())

    def routes_used(self, routes: Iterable[UsedRoute]) -> None:
        """Request direct routes for destinations that used a default route, where only the switch sees packets."""
        now, traces = self._clock(), 0
        for vni, dst, via in routes:
            wanted = Destination(vni, dst)
            if now - self._recent_traces.get((wanted, via), -math.inf) < _TRACE_VALID or traces >= _TRACES_PER_INTERVAL:
                continue
            traces += 1
            self._recent_traces[wanted, via] = now
            verdict = self._trace_from_vm(wanted)
            if verdict is not None and verdict.kind is Kind.LEARN and verdict.tun_dst is not None:
                self.route_wanted(vni, dst, verdict.tun_dst)
        while len(self._recent_traces) > _MOST_TRACES:
            self._recent_traces.popitem(last=False)

    def tick(self) -> None:
        """Retry, revalidate and remove routes; call it several times a second while `busy`."""
        self.learner.tick(self._clock())
        self._write()

    @property
    def busy(self) -> bool:
        """Whether `tick` has something to do soon."""
        return self.learner.busy or self._running is not None or bool(self._changes)

    def datagram_received(self, sender: IPv4Address, payload: bytes) -> None:
        """Handle a datagram of another host: a request at a Hoverboard, an answer at a host."""
        message = read(payload)
        if message is None:
            return
        asked, wanted, underlay = message
        if not asked:
            self.learner.received(sender, wanted, underlay, self._clock())
            self._write()
        elif self._role == "hoverboard":
            self._answer(sender, wanted)

    def _answer(self, sender: IPv4Address, wanted: Destination) -> None:
        if not self._budget.take(self._clock()):
            self.refused += 1  # the host retries
            return
        verdict = self._trace_from_tunnel(wanted, sender)
        if verdict is None or not verdict.matched:
            self.refused += 1  # a switch without its tables knows no destination, which is not an answer
            return
        self.answered += 1
        self._datagrams.send(sender, answer(wanted, verdict.tun_dst if verdict.kind is Kind.RELAY else None))

    def _is_installed(self, wanted: Destination) -> bool:
        verdict = self._trace_from_vm(wanted)
        return verdict is not None and verdict.kind is Kind.LEARNED

    def attached(self, ofport: int, vni: int, mac: str, addresses: Iterable[Address]) -> None:
        """Add a VM of this host; traces use its port and addresses."""
        self._vms[ofport] = (vni, mac, tuple(addresses))

    def detached(self, ofport: int) -> None:
        """Remove a VM."""
        self._vms.pop(ofport, None)

    def _trace_from_vm(self, wanted: Destination) -> TraceResult | None:
        """The switch's answer for a packet from a VM here to a destination; None if no VM here can send it."""
        for ofport, (vni, mac, addresses) in self._vms.items():
            for source in addresses:
                if vni == wanted.vni and source.version == wanted.address.version:
                    return self._trace(f"in_port={ofport},dl_src={mac}", source, wanted)
        return None

    def _trace_from_tunnel(self, wanted: Destination, sender: IPv4Address) -> TraceResult | None:
        """The switch's answer for a packet to a destination that arrives by a tunnel."""
        tunnel = f"tun_id={wanted.vni:#x},tun_src={sender},tun_dst={self._local_ip}"
        source = ip_address("0.0.0.1" if wanted.address.version == 4 else "::1")
        return self._trace(f"in_port={TUNNEL_PORT},{tunnel},dl_src={guest_mac(wanted.vni, '0.0.0.1')}", source, wanted)

    def _trace(self, begin: str, source: Address, wanted: Destination) -> TraceResult | None:
        names = ("ip", "nw_src", "nw_dst") if wanted.address.version == 4 else ("ipv6", "ipv6_src", "ipv6_dst")
        ends = f"{names[0]},nw_proto=6,nw_ttl=64,{names[1]}={source},{names[2]}={wanted.address}"
        try:
            return self._questions.trace(f"{begin},dl_dst={GATEWAY_MAC},{ends}")
        except (SwitchError, ValueError):
            return None

    def _install(self, wanted: Destination, underlay: IPv4Address | None) -> None:
        change = f"delete_strict {no_flow(wanted)}" if underlay is None else f"add {learned_flow(wanted, underlay)}"
        self._changes.append(change)

    def _write(self) -> None:
        """Send the collected changes to ovs-ofctl; one process at a time."""
        if self._running is not None:
            if self._running.poll() is None:
                return
            self._running = None
        if self._changes:
            changes, self._changes = self._changes, []
            self._running = subprocess.Popen(
                ["ovs-ofctl", "-O", "OpenFlow14", "--bundle", "add-flows", self._switch.management, "-"],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            assert self._running.stdin is not None
            self._running.stdin.write("\n".join(changes) + "\n")
            self._running.stdin.close()
