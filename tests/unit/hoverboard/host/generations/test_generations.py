"""Making the dataplane that a configuration asks for, and what a new generation touches."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from hoverboard.contract.errors import InputError, RunError
from hoverboard.contract.generations import NAMES, Dataplane
from hoverboard.fastpath.memory import control, host, ports
from hoverboard.host import generations
from hoverboard.host.checkpointing.checkpoint import CheckpointWriter
from hoverboard.host.control.host_client import HostConfig
from hoverboard.host.generations import MAKERS, make
from hoverboard.host.generations.fastpath import FastpathPlane
from hoverboard.vswitch.ovs import Ovs

ROOT = Path(__file__).parents[5]
LAYERS = ("console", "experiments", "topologies", "controllers", "hoverboard")
# Beside the generation's own plane. What else depends on it is derived: choices of the command line, the schema of
# topology files (topologies/spec/schema.json, which `python -m topologies.spec.schema` writes).
TOUCHED = {"hoverboard/contract/generations.py", "hoverboard/host/generations/__init__.py"}
# The two names that are no words for anything else. A generation without a colour of its own in a figure is green.
NAMED, COLOURS = {"ovs-offload", "fastpath-vmm"}, "experiments/figures.py"


def names_in(source: str) -> set[str]:
    """The generations that a module's code names."""
    return {str(node.value) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)} & NAMED


def test_the_check_of_names_catches() -> None:
    assert names_in('"""ovs-offload"""\nif plane == "fastpath-vmm": pass  # ovs-offload') >= {"fastpath-vmm"}
    assert names_in('"fastpath"') == set()


def test_a_new_generation_touches_its_facts_its_plane_and_its_registration() -> None:
    naming = {
        str(path.relative_to(ROOT))
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*.py")
        if names_in(path.read_text(encoding="utf-8"))
    }
    assert naming == TOUCHED | {COLOURS}


def test_every_generation_has_facts_and_a_maker() -> None:
    assert tuple(MAKERS) == NAMES == get_args(Dataplane)


def config(directory: Path, **more: Any) -> HostConfig:
    given: dict[str, Any] = {
        "run": "r", "node": "h1", "role": "host", "dataplane": "fastpath", "datapath_type": "netdev",
        "underlay_ip": "172.16.0.1", "underlay_prefixlen": 16, "node_dir": str(directory),
        "control_address": "unix:control", "openflow_address": "tcp:127.0.0.1:6653", **more,
    }  # fmt: skip
    return HostConfig(**given)


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[FastpathPlane]:
    """A host of an engine generation that resumes, so that nothing runs yet."""
    given = config(tmp_path, resume=True, batch=(3, 5), vm_priority=False)
    made = make(given, Ovs(tmp_path), CheckpointWriter())
    assert isinstance(made.plane, FastpathPlane)
    assert made.routes.status()["routes"] == 0
    yield made.plane
    made.plane.close()


def test_an_engine_generation_is_made_as_configured(engines: FastpathPlane) -> None:
    memories = engines._datapath.memories
    assert [int(m.ctl[control.BATCH]) for m in memories] == [3, 5]
    assert [int(m.ctl[control.PRIORITY]) for m in memories] == [0, 0]
    assert memories[control.EGRESS].host[host.IP] == memories[control.INGRESS].host[host.IP] == 0xAC100001
    assert (engines.checkpoint_source.peers(), list(engines.checkpoint_source.flow_keys())) == ({}, [])


def carried(plane: FastpathPlane) -> tuple[Any, ...]:
    """The state of a plane that concerns its VMs."""
    rows = plane._datapath.egress.ports
    return dict(plane._ports), dict(plane._by_ofport), dict(plane._waiting or {}), rows[:, ports.RATE].any()


def test_a_vm_that_cannot_be_carried_leaves_nothing(engines: FastpathPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    before = carried(engines)
    with open("/dev/null", "rb") as null:
        for fd in (None, null.fileno()):
            with pytest.raises(InputError, match="VM blue-1: the "):
                engines.check_attach("blue-1", fd, None)
        with pytest.raises(InputError, match="the uplink: the descriptor cannot be polled"):
            engines.set_uplink(null.fileno())

    def no_more(_fd: int) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(os, "dup", no_more)
        with pytest.raises(OSError, match="Too many"):
            engines.attach("blue-1", "vp100", 100, 0, rate=1_000_000)
    assert carried(engines) == before


def test_a_host_has_room_for_so_many_vms(engines: FastpathPlane) -> None:
    reader, writer = os.pipe()
    for port in range(ports.FIRST_TAP, ports.COUNT):
        engines._ports[f"blue-{port}"] = port
    with pytest.raises(RunError, match="a host has room for"):
        engines.check_attach("red-1", reader, None)
    for fd in (reader, writer):
        os.close(fd)


def test_a_host_that_resumes_keeps_the_last_uplink_only(engines: FastpathPlane) -> None:
    (reader, writer), (second, second_writer) = os.pipe(), os.pipe()
    engines.set_uplink(writer)
    engines.set_uplink(second_writer)
    os.close(writer)
    assert os.read(reader, 1) == b""  # no copy is left
    assert engines._waiting is not None
    os.close(engines._waiting.pop(ports.UPLINK))
    for fd in (reader, second, second_writer):
        os.close(fd)


def test_who_makes_a_generation_is_asked_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, str]] = []
    makers = {name: lambda parts, name=name: made.append((name, parts.config.node)) for name in NAMES}
    monkeypatch.setattr(generations, "MAKERS", makers)
    for name in NAMES:
        make(config(tmp_path, dataplane=name), Ovs(tmp_path), CheckpointWriter())
    assert made == [(name, "h1") for name in NAMES]
