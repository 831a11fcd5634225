"""A run without machinery: its directory, lock and threads are real; network, control plane and hosts are made up."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hoverboard.contract.errors import RunError
from topologies.cluster.control_processes import ControlLayout
from topologies.processes.process_table import LinuxProcesses
from topologies.processes.run_directory import RunDirectory, RunLock
from topologies.run.run import Run
from topologies.spec import schema
from topologies.spec.topology import Topology, VMSpec, to_entities

TOPOLOGY = schema.from_keys(
    {"hosts": 2, "networks": [{"name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "vms": 2}]}, name="made-up"
)


class Nic:
    """The NIC of a VM; remembers when it is plugged in."""

    def __init__(self, world: World, spec: VMSpec) -> None:
        self.vm, self.host = SimpleNamespace(name=spec.name), SimpleNamespace(name=spec.host)
        self._world = world

    def plug(self, client: Any = None) -> None:
        if self.vm.name in self._world.unpluggable:
            raise RunError(f"{self.host.name} does not answer")
        self._world.done.append(("plug", self.vm.name))


class World:
    """A run of two hosts and two VMs that is up.

    Attributes:
        done: what was made, plugged, dropped, sent or ended, in order.
        unpluggable: VMs whose host does not take them.
        entities: the intent, as it was sent.
        refuses: the error of the fabric manager for each change; None: it accepts it.
        known: the VMs whose names nodes know, after each change.
        disk_full: names cannot be written.
    """

    def __init__(self, state: Path) -> None:
        self.done: list[tuple[str, str]] = []
        self.unpluggable: set[str] = set()
        self.refuses: Exception | None = None
        self.known: list[list[str]] = []
        self.disk_full = False
        self.directory = RunDirectory.of("made-up", state)
        lock = RunLock.try_take(self.directory, create=True)
        assert lock is not None
        self.run = run = Run(self.directory, lock, TOPOLOGY, ControlLayout(), "netdev")
        run.cluster.close()
        self.nics: dict[str, Nic] = {}
        self.entities = {(one.TYPE, one.name): one for one in to_entities(TOPOLOGY)}
        made_up: dict[str, Any] = {
            "network": SimpleNamespace(
                files=SimpleNamespace(follow=self._follow),
                nics=self.nics, make_node=self._record("node"), make_nic=self._make_nic, drop_vm=self._drop,
                unplug_vm=lambda name: None, end_vms=lambda names: [self._drop(name) for name in names],
                node=lambda name: SimpleNamespace(pid=len(name)), close=lambda: self.done.append(("close", "network")),
            ),
            "cluster": SimpleNamespace(
                entities=self.entities, set_offload=self._set_offload,
                upsert=self._request("upsert"), remove=self._request("remove"), withdraw=self._record("withdraw"),
                client=SimpleNamespace(diff=lambda remove: [self._request("forget")(one) for one in remove]),
                program_state=lambda: SimpleNamespace(joined=2), wait_joined=lambda *_: True,
                close=lambda: self.done.append(("close", "cluster")),
            ),
            "hosts": SimpleNamespace(start_vmm=lambda *_: None, close=lambda: self.done.append(("close", "hosts"))),
        }  # fmt: skip
        for name, one in made_up.items():
            setattr(run, name, one)
        run.launcher.ledger.create(LinuxProcesses())
        run.finish_start()

    def _set_offload(self, topology: Topology) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.done.append(("offload", str(topology.offload_threshold)))

    def _follow(self, topology: Topology) -> None:
        if self.disk_full:
            raise OSError(errno.ENOSPC, "no space left")
        self.known.append([vm.name for vm in topology.vms])

    def _record(self, verb: str) -> Any:
        return lambda spec: self.done.append((verb, spec.name))

    def _request(self, verb: str) -> Any:
        def request(entity: Any) -> None:
            if self.refuses is not None:
                raise self.refuses
            self.done.append((verb, entity.name))
            if verb == "upsert":
                self.entities[entity.TYPE, entity.name] = entity
            elif verb == "remove":
                self.entities.pop((entity.TYPE, entity.name), None)

        return request

    def _make_nic(self, spec: VMSpec) -> Nic:
        self.nics[spec.name] = Nic(self, spec)
        return self.nics[spec.name]

    def _drop(self, name: str) -> None:
        if self.nics.pop(name, None) is not None:
            self.done.append(("drop", name))

    def names(self) -> list[str]:
        """VMs that there should be."""
        return [vm.name for vm in self.run.topology.vms]
