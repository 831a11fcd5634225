"""Small pure parts: placement, counters, errors over JSON, the ping's packets, phases."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hoverboard.contract.errors import InputError
from hoverboard.contract.packets import internet_checksum
from hoverboard.rpc.errors import error_from_json, error_to_json
from topologies.changes.placement import plan_vm
from topologies.emulation.ping import echo_request, is_reply
from topologies.processes.phases import PhaseClock, PhaseEvent
from topologies.processes.signals import defer_signals
from topologies.run.status import add_counters
from topologies.spec import schema
from topologies.spec.faults import Fault, TopologyFileError


def test_a_new_vm_gets_the_next_name_and_address_on_the_emptiest_host() -> None:
    topology = schema.from_keys(
        {"hosts": 2, "networks": [{"name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "vms": 3}]}
    )
    vm = plan_vm(topology, "blue")
    assert (vm.name, str(vm.ip), vm.host) == ("blue-4", "10.0.0.5", "h2")
    smaller = topology.without_vm(topology.vms[1])
    again = plan_vm(smaller.with_vm(vm), "blue", host="h1")
    assert (again.name, str(again.ip), again.host) == ("blue-5", "10.0.0.3", "h1")


@pytest.mark.parametrize(
    ("network", "name", "host", "message"),
    [
        ("green", None, None, "no network 'green'"),
        ("blue", "h1", None, "already is a node 'h1'"),
        ("blue", "fab", None, "already is a node 'fab'"),
        ("blue", "no good", None, "not a valid name"),
        ("blue", None, "h9", "no host 'h9'"),
        ("full", None, None, "no free address"),
    ],
)
def test_a_vm_that_cannot_be_is_refused(network: str, name: str | None, host: str | None, message: str) -> None:
    topology = schema.from_keys(
        {
            "hosts": 2,
            "networks": [
                {"name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "vms": 1},
                {"name": "full", "vni": 8, "subnet": "10.0.0.0/30", "vms": 1},
            ],
        }
    )
    with pytest.raises(InputError, match=message):
        plan_vm(topology, network, name, host)


def test_counters_add_up_by_name_and_by_reason() -> None:
    assert add_counters(
        [
            {"rx_packets": 1, "drops": {"spoofed": 2}, "note": "text"},
            {"rx_packets": 4, "tx_packets": 1, "drops": {"spoofed": 1, "no-route": 5}},
        ]
    ) == {"rx_packets": 5, "tx_packets": 1, "drops": {"spoofed": 3, "no-route": 5}}
    assert add_counters([]) == {}


def test_a_list_of_faults_crosses_a_socket_with_its_text() -> None:
    error = TopologyFileError("f.yaml", [Fault(3, "hosts", "is wrong", "mend it"), Fault(4, "x", "unknown", "drop it")])
    again = error_from_json(error_to_json(error))
    assert isinstance(again, InputError)
    assert str(again) == str(error)


@given(st.integers(0, 65535))
def test_an_echo_request_has_a_right_checksum(sequence: int) -> None:
    assert internet_checksum(echo_request(sequence)) == 0


REPLY = b"\x45" + bytes(19) + b"\x00" + echo_request(1)[1:]


@given(st.binary(min_size=1, max_size=80))
@example(REPLY[:27])
@example(REPLY)
@example(b"\x4f" + REPLY[1:])
def test_any_packet_is_a_reply_of_ours_or_none(packet: bytes) -> None:
    head = (packet[0] & 15) * 4
    ours = packet[head : head + 1] == b"\x00" and packet[head + 4 : head + 6] == REPLY[24:26]
    assert is_reply(packet) == (ours and len(packet) >= head + 8)


def test_our_own_request_is_no_reply() -> None:
    head = b"\x45" + bytes(19)
    assert not is_reply(head + echo_request(1))
    assert is_reply(head + b"\x00" + echo_request(1)[1:])


def test_a_phase_tells_its_beginning_its_steps_and_its_end() -> None:
    events: list[PhaseEvent] = []
    clock = PhaseClock(events.append)
    with clock.phase("nodes", 2) as step:
        step()
        step()
    assert [(event.done, event.total) for event in events] == [(0, 2), (1, 2), (2, 2), (2, 2)]
    assert clock.seconds.keys() == {"nodes"}


def test_what_takes_long_is_told_in_the_phase_that_it_holds_up() -> None:
    events: list[PhaseEvent] = []
    clock = PhaseClock(events.append)
    clock.note("before the first phase")
    with clock.phase("hosts", 2) as step:
        step()
        clock.note("compiling, 5 s so far")
        step()
    assert [(event.done, event.note) for event in events] == [
        (0, ""), (1, ""), (1, "compiling, 5 s so far"), (2, ""), (2, ""),
    ]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_a_clean_up_comes_when_it_is_done(number: signal.Signals) -> None:
    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    done = threading.Event()
    other = threading.Thread(target=done.wait)  # a thread that takes the signal, whatever ours masks
    other.start()
    kept = signal.signal(number, interrupt)
    finished = False

    def clean_up() -> None:
        nonlocal finished
        with defer_signals():
            os.kill(os.getpid(), number)
            done.wait(0.05)
            finished = True

    try:
        with pytest.raises(KeyboardInterrupt):
            clean_up()
        assert finished
        assert signal.getsignal(number) is interrupt
    finally:
        signal.signal(number, kept)
        done.set()
        other.join()
