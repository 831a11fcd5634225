"""Cluster management (paper section 3.1): tells the fabric manager what there should be.

Keeps the control plane process alive, sends the full update whenever it comes up, and diffs in
between. Knows intent only; what is programmed is the control plane's business.
"""

from __future__ import annotations

import logging
import subprocess
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from controllers.fm.client import FabricClient
from hoverboard.contract.entities import AnyEntity
from hoverboard.contract.errors import HoverboardError, RunError
from topologies.launcher import Launcher, python
from topologies.topology import Model, Topology, to_entities
from topologies.waiting import wait_for, wait_sockets

_log = logging.getLogger(__name__)
_START_TIMEOUT = 30.0
_RESTART_PAUSE = 1.0  # between two tries with a control plane that does not come up


@dataclass(frozen=True, slots=True)
class ProgramState:
    """Servers whose switch has its whole program; VMs there should be; VMs whose vport is known too."""

    programmed: frozenset[str]
    intended: int
    joined: int


class ClusterManager:
    """The control plane's process and what it has been told.

    Attributes:
        address: gRPC address of the fabric manager.
        openflow_socket: where switches find their controller.
        restarts: how often the control plane has been started again.
    """

    def __init__(self, topology: Topology, directory: Path, logs: Path, launcher: Launcher) -> None:
        self._topology = topology
        self._directory = directory
        self._log_file = logs / "control.log"
        self._launcher = launcher
        self._entities: dict[tuple[str, str], AnyEntity] = {
            (entity.TYPE, entity.name): entity for entity in to_entities(topology)
        }
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self.address = f"unix:{directory / 'control.sock'}"
        self.openflow_socket = directory / "of.sock"
        self.client = FabricClient(self.address)
        self.restarts = 0

    def start(self) -> None:
        """Start the control plane; `wait_ready` says when it serves."""
        self._directory.mkdir(exist_ok=True, mode=0o700)
        self._process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        topology, offload = self._topology, self._topology.offload
        return self._launcher.start(
            python(
                "controllers", "--dir", str(self._directory), "--model", topology.model,
                "--threshold", str(topology.offload_threshold), "--report-interval", str(topology.report_interval),
                "--offload-keep", str(offload.keep), "--offload-lifetime", str(offload.min_lifetime),
                "--idle-expiry", str(offload.idle_expiry), "--offload-budget", str(offload.budget),
                "--offload-reports", offload.reports,
                *(("--offload-policy", offload.policy) if offload.policy is not None else ()),
            ),
            "control plane", "control", log=self._log_file,
        )  # fmt: skip

    @property
    def pid(self) -> int | None:
        """Pid of the control plane."""
        return self._process.pid if self._process is not None else None

    def wait_ready(self, timeout: float = _START_TIMEOUT) -> None:
        """Wait until the fabric manager serves; RunError with the log's place otherwise."""
        process = self._process
        assert process is not None
        sockets = [self._directory / "control.sock", self.openflow_socket]
        wait_sockets("the control plane", sockets, lambda: process.poll() is None, timeout, self._log_file)
        self.client.wait_ready(timeout)

    def full_update(self) -> None:
        """Send everything there should be."""
        with self._lock:
            self.client.full_update(list(self._entities.values()))

    def keep(self) -> None:
        """From now on, bring the control plane back when it dies."""
        self._keeper = threading.Thread(target=self._keep, name="cluster-manager", daemon=True)
        self._keeper.start()

    def _keep(self) -> None:
        while True:
            process = self._process
            assert process is not None
            code = process.wait()
            if self._closing.is_set():
                return
            _log.warning("the control plane ended with exit code %s; starting it again", code)
            self._launcher.forget(process)
            self.restarts += 1
            self._process = self._spawn()
            try:
                self.wait_ready()
                self.full_update()
            except HoverboardError as error:
                _log.warning("%s", error)
                self._process.kill()
                if self._closing.wait(_RESTART_PAUSE):
                    return

    def upsert(self, entity: AnyEntity) -> None:
        """Add or change one entity."""
        with self._lock:
            self.client.diff(upsert=[entity])
            self._entities[entity.TYPE, entity.name] = entity

    def remove(self, entity: AnyEntity) -> None:
        """Remove one entity; harmless when it is not there."""
        with self._lock:
            if (entity.TYPE, entity.name) in self._entities:
                # It may be refused: a VM that is the next hop of a route stays.
                self.client.diff(remove=[(entity.TYPE, entity.name)])
                del self._entities[entity.TYPE, entity.name]

    def withdraw(self, entity: AnyEntity) -> None:
        """Take back one entity, whatever the control plane says: one that is away is told by the next full update."""
        with self._lock:
            self._entities.pop((entity.TYPE, entity.name), None)
            try:
                self.client.diff(remove=[(entity.TYPE, entity.name)])
            except HoverboardError as error:
                _log.warning("%s %s is taken back: %s", entity.TYPE, entity.name, error)

    def set_model(self, model: Model, timeout: float) -> str:
        """Go over to another programming model; returns the one before, once that is done."""
        with self._lock:
            before = str(self.client.set_model(model)["from"])
            # A control plane that is started again from now on is to run this one.
            self._topology = replace(self._topology, model=model)

        def done() -> bool:
            status = self.client.status()
            return status.get("model") == model and status.get("switching") is None

        wait_for(done, timeout, lambda: f"waits for {self.client.status().get('switching')}", where="model set")
        return before

    def program_state(self) -> ProgramState:
        """What the control plane has brought to the switches so far."""
        status = self.client.status()
        vms = status.get("vms", {})
        switches = status.get("switches", {})
        return ProgramState(
            frozenset(name for name, switch in switches.items() if switch.get("programmed")),
            int(vms.get("intended", 0)),
            int(vms.get("joined", 0)),
        )

    def wait_joined(self, vms: int, server: str, timeout: float) -> bool:
        """Wait until so many VMs have joined and `server` is programmed; False after `timeout` seconds."""

        def joined() -> bool:
            state = self.program_state()
            return state.joined >= vms and server in state.programmed

        try:
            wait_for(joined, timeout, lambda: f"{vms} VMs have not joined")
        except RunError:
            return False
        return True

    def status(self) -> dict[str, Any]:
        """The control plane's own status."""
        return dict(self.client.status())

    def offloads(self) -> list[dict[str, Any]]:
        """VM pairs that go host to host now."""
        return list(self.client.offloads())

    def close(self) -> None:
        """Stop keeping; the process is the ledger's to end."""
        self._closing.set()
        self.client.close()
