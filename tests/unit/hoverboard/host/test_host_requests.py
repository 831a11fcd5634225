"""Requests to a host process: a failed one leaves neither a port in the switch nor anything in the dataplane."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hoverboard.contract.errors import RunError, SwitchError
from hoverboard.host import process
from hoverboard.host.process import HostProcess
from hoverboard.rpc.answering import Answerer
from hoverboard.rpc.descriptors import send
from hoverboard.rpc.messages import Inbox
from tests.unit.hoverboard.host.generations.test_generations import config

GOOD = {"vm": "blue-1", "mac": "02:00:00:00:00:01", "ip": "10.0.0.2"}


class Switch:
    """Ports by name; `fails`: raised after a port was made."""

    def __init__(self, *_: object) -> None:
        self.ports: dict[str, int] = {"gnv": 1}
        self.fails: Exception | None = None

    def check_reachable(self) -> None: ...

    def configure(self, **_settings: Any) -> None: ...

    def add_vport(self, name: str, ofport: int, *, vm: str, device: bool) -> int:
        self.ports[name] = ofport
        if self.fails is not None:
            raise self.fails
        return ofport

    def remove_vport(self, name: str) -> None:
        self.ports.pop(name, None)


class Plane:
    """Remembers the VMs; `fails`: raised by attach()."""

    def __init__(self) -> None:
        self.vms: dict[str, Any] = {}
        self.fails: Exception | None = None
        self.refuses: Exception | None = None

    def limit(self, pps: int | None, bps: int | None) -> None: ...

    def check_attach(self, vm: str, fd: int | None, rate: int | None) -> None:
        if self.refuses is not None:
            raise self.refuses

    def attach(self, vm: str, vport: str, ofport: int, fd: int | None, **more: Any) -> None:
        if self.fails is not None:
            raise self.fails
        self.vms[vm] = (vport, ofport, more["addresses"])


class Exchange:
    def attached(self, *_: object) -> None: ...


Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def plane() -> Plane:
    return Plane()


@pytest.fixture
def host(tmp_path: Path, plane: Plane, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostProcess]:
    monkeypatch.setattr(process, "Ovs", Switch)
    monkeypatch.setattr(process, "make", lambda *_: SimpleNamespace(plane=plane, routes=Exchange()))
    made = HostProcess(config(tmp_path))
    yield made
    made._selector.close()
    for fd in (made._wake_reader, made._wake_writer):
        os.close(fd)


@pytest.fixture
def ask(host: HostProcess) -> Ask:
    """Sends a request without descriptors."""

    def answer(method: str, **params: Any) -> dict[str, Any]:
        line = json.dumps({"method": method, "params": params}).encode()
        found: dict[str, Any] = json.loads(Answerer("h1").answer(host._methods, line, Inbox(1 << 20)).line)
        return found

    return answer


def ports(host: HostProcess) -> dict[str, int]:
    switch: Any = host._switch
    return dict(switch.ports)


def test_a_vm_is_plugged_in_once(host: HostProcess, plane: Plane, ask: Ask) -> None:
    for _ in range(2):
        vport = ask("attach", **GOOD)["result"]
        assert ports(host) == {"gnv": 1, vport: 100}
    assert [str(address) for address in plane.vms["blue-1"][2]] == ["10.0.0.2"]


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"ip": "bad"}, "ip"), ({"ip6": "10.0.0.2"}, "ip6"), ({"mac": "02"}, "mac"), ({"vm": ["h1"]}, "vm"),
        ({"vm": "-- del-br br-int"}, "vm"), ({"rate": -1}, "rate"), ({"vni": 1 << 24}, "vni"),
        ({"network": 5}, "network"), ({"device": ""}, "device"), ({"vport": 7}, "vport"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_rejected_before_a_port_is_made(
    host: HostProcess, ask: Ask, wrong: dict[str, Any], name: str
) -> None:
    error = ask("attach", **{**GOOD, **wrong})["error"]
    assert (error["kind"], error["exit_code"], error["where"]) == ("InputError", 2, "h1")
    assert f"attach: parameter {name} cannot be" in error["what"]
    assert ports(host) == {"gnv": 1}


@pytest.mark.parametrize("method", ["set_rate", "capture", "sample_latency", "detach"])
def test_every_method_rejects_a_wrong_type_by_its_name(host: HostProcess, method: str) -> None:
    params = {
        "set_rate": {"vm": "blue-1", "rate": "5"}, "detach": {"vm": ["h1"]}, "sample_latency": {"every": -1},
        "capture": {"ports": [1], "snap": 1, "count": 1, "names": {"networks": {}, "rules": {}}},
    }[method]  # fmt: skip
    count = {"capture": 2, "sample_latency": 1}.get(method, 0)
    inbox = Inbox(1 << 20)
    ours, theirs = socket.socketpair()
    with ours, theirs, open("/dev/null", "rb") as null:
        line = json.dumps({"method": method, "params": params, "fds": count}).encode()
        send(ours, line + b"\n", [null.fileno()] * count)
        inbox.receive(theirs)
        assert inbox.line() == line
    error = json.loads(Answerer("h1").answer(host._methods, line, inbox).line)["error"]
    assert (error["kind"], error["what"].startswith(f"{method}: parameter ")) == ("InputError", True)


def test_a_failed_attach_leaves_no_port(host: HostProcess, plane: Plane, ask: Ask) -> None:
    switch: Any = host._switch
    plane.refuses = RunError("there is no room")
    assert ask("attach", **GOOD)["error"]["what"] == "there is no room"
    plane.refuses, plane.fails = None, OSError(24, "Too many open files")
    assert "Too many open files" in ask("attach", **GOOD)["error"]["what"]
    plane.fails, switch.fails = None, SwitchError("vport vp101 got no OpenFlow port")
    assert ask("attach", **GOOD)["error"]["kind"] == "SwitchError"
    assert (ports(host), plane.vms) == ({"gnv": 1}, {})
    switch.fails = None
    vport = ask("attach", **GOOD)["result"]
    assert list(ports(host)) == ["gnv", vport]


def test_a_device_that_is_a_port_already_stays_its_owners(host: HostProcess, ask: Ask) -> None:
    ask("attach", **GOOD, device="eth7")
    for taken in ("eth7", "gnv"):
        error = ask("attach", **{**GOOD, "vm": "blue-2"}, device=taken)["error"]
        assert (error["kind"], taken in error["what"]) == ("InputError", True)
    assert ports(host) == {"gnv": 1, "eth7": 100}
