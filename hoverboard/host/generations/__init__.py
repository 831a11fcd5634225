"""Makes the dataplane that a host's configuration asks for; no other module names the classes.

A new generation is a row of contract.generations, a module with its plane, and a line of MAKERS.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from types import MappingProxyType

from hoverboard.contract.entities import Dataplane as Name
from hoverboard.contract.generations import facts
from hoverboard.fastpath.engine.datapath import Datapath, OwnEngineThread
from hoverboard.fastpath.memory import control
from hoverboard.host.checkpointing.checkpoint import CheckpointWriter
from hoverboard.host.control.host_client import HostConfig
from hoverboard.host.coprocessing.coprocessors import CoprocessorConfig
from hoverboard.host.generations.fastpath import FastpathPlane
from hoverboard.host.generations.host_dataplane import HostDataplane
from hoverboard.host.generations.ovs import OvsPlane
from hoverboard.host.generations.pre import PrePlane
from hoverboard.host.generations.shared_engines import SharedEngineProcess, shared_memory
from hoverboard.host.telemetry.capture import Answers
from hoverboard.host.underlay.datagrams import Datagrams, EngineDatagrams, KernelDatagrams, underlay_socket
from hoverboard.host.underlay.route_exchange import RouteExchange
from hoverboard.vswitch.ovs import Ovs
from hoverboard.vswitch.switch_questions import OvsQuestions


@dataclass(frozen=True)
class MadeDataplane:
    """The dataplane of a host, and the route exchange that its packets go to."""

    plane: HostDataplane
    routes: RouteExchange


class _Parts:
    """Arguments from which every generation is made."""

    def __init__(self, config: HostConfig, switch: Ovs, checkpoint_writer: CheckpointWriter) -> None:
        self.config = config
        self.switch = switch
        self.checkpoint_writer = checkpoint_writer
        self.questions = OvsQuestions(switch)
        self.local_ip = IPv4Address(config.underlay_ip)
        self.directory = Path(config.node_dir)

    def routes(self, datagrams: Datagrams) -> RouteExchange:
        """The route exchange, which sends by the generation's own datagrams."""
        return RouteExchange(self.switch, self.questions, self.local_ip, datagrams, self.config.role)


def make(config: HostConfig, switch: Ovs, checkpoint_writer: CheckpointWriter) -> MadeDataplane:
    """Make the dataplane of a host, of the generation that `config` names.

    `switch` is the node's Open vSwitch. The dataplane notifies `checkpoint_writer` of changes that the next process of
    this host has to know.
    """
    return MAKERS[config.dataplane](_Parts(config, switch, checkpoint_writer))


def _engines(parts: _Parts) -> MadeDataplane:
    config, answers = parts.config, Answers()
    datapath = _datapath(config, parts.local_ip, answers)
    routes = parts.routes(EngineDatagrams(datapath, parts.local_ip))
    plane = FastpathPlane(
        parts.switch, parts.questions, parts.local_ip, parts.directory, datapath, answers, routes,
        parts.checkpoint_writer, _coprocessors(config), vmm=facts(config.dataplane).vmm, resuming=config.resume,
        shared=config.engines is not None,
    )  # fmt: skip
    return MadeDataplane(plane, routes)


def _processes(parts: _Parts) -> MadeDataplane:
    uplink, datagrams = parts.config.uplink_device, KernelDatagrams(underlay_socket(parts.local_ip))
    assert uplink is not None
    routes = parts.routes(datagrams)
    plane = PrePlane(parts.switch, parts.questions, parts.local_ip, parts.directory, uplink, datagrams, routes)
    return MadeDataplane(plane, routes)


def _switch(parts: _Parts) -> MadeDataplane:
    datagrams = KernelDatagrams(underlay_socket(parts.local_ip))
    routes = parts.routes(datagrams)
    return MadeDataplane(OvsPlane(parts.switch, parts.local_ip, datagrams, routes), routes)


MAKERS: Mapping[Name, Callable[[_Parts], MadeDataplane]] = MappingProxyType(
    {
        "pre": _processes,
        "ovs": _switch,
        "ovs-offload": _switch,
        "fastpath-vmm": _engines,
        "fastpath": _engines,
    }
)


def _datapath(config: HostConfig, local_ip: IPv4Address, answers: Answers) -> Datapath:
    """The engines of a host, in a thread of their own or in the shared process, as its configuration says."""
    if config.engines is None:
        datapath = Datapath(OwnEngineThread(config.scheduling), local_ip=local_ip, answers=answers)
    else:
        memory_fd = shared_memory(config.node)
        home = SharedEngineProcess(Path(config.engines), memory_fd)
        datapath = Datapath(home, memory_fd, local_ip=local_ip, answers=answers)
    for memory, size in zip(datapath.memories, config.batch, strict=True):
        memory.ctl[control.BATCH] = size  # the engines do not run yet
        memory.ctl[control.PRIORITY] = config.vm_priority
    return datapath


def _coprocessors(config: HostConfig) -> CoprocessorConfig | None:
    given = config.coprocessors
    if given is None:
        return None

    def announce(path: Path) -> None:
        """Write the path into the run's ledger, in one write, before the cgroup is made."""
        fd = os.open(given["ledger"], os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, json.dumps({"record": "cgroup", "path": str(path)}).encode() + b"\n")
        finally:
            os.close(fd)

    return CoprocessorConfig.read(given, config.run, config.node, announce)
