"""Starts host processes: forked from one warmed nursery, recorded while they wait, then let go."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Literal

from hoverboard.contract.errors import HoverboardError, RunError
from hoverboard.host.client import HostConfig, NurseryClient
from topologies.launcher import Launcher
from topologies.nodes import Server
from topologies.processes import Process, start_time
from topologies.rundir import RunDirectory
from topologies.topology import UNDERLAY

_NURSERY_TIMEOUT = 90.0  # a first start compiles the fast path
_HOST_TIMEOUT = 60.0


class HostProcesses:
    """The nursery of a run and the host processes from it."""

    def __init__(
        self, directory: RunDirectory, launcher: Launcher, datapath_type: Literal["netdev", "system"]
    ) -> None:
        self._directory = directory
        self._launcher = launcher
        self._datapath_type: Literal["netdev", "system"] = datapath_type
        self._log = directory.logs / "nursery.log"
        self._client = NurseryClient(directory.nursery)
        self._lock = threading.Lock()  # the client takes one request at a time
        self._nursery: subprocess.Popen[bytes] | None = None

    def start_nursery(self) -> None:
        """Start the warmed parent; `wait_nursery` says when it is warm."""
        self._nursery = self._launcher.start(
            [sys.executable, "-m", "hoverboard.host.nursery", "--socket", str(self._directory.nursery)],
            "nursery", "nursery", log=self._log,
        )  # fmt: skip

    def wait_nursery(self) -> None:
        """Wait until the nursery forks host processes."""
        try:
            self._client.connect(_NURSERY_TIMEOUT)
        except HoverboardError as error:
            raise RunError(
                f"the nursery of host processes does not serve ({error.what})",
                where=str(self._log), next_step="read that log file",
            ) from error  # fmt: skip

    def start(self, server: Server, control_address: str, openflow_address: str) -> None:
        """Start the host process of a server, and wait until it has configured its switch."""
        spec = server.spec
        config = HostConfig(
            run=self._directory.run,
            node=spec.name,
            role=spec.role,
            dataplane=spec.dataplane,
            datapath_type=self._datapath_type,
            underlay_ip=str(spec.underlay_ip),
            underlay_prefixlen=UNDERLAY.prefixlen,
            node_dir=str(server.directory),
            control_address=control_address,
            openflow_address=openflow_address,
            uplink_device=server.uplink_device,
        )
        with self._lock:
            pid = self._client.spawn(config, server.pid)
            started = start_time(pid)
            if started is None:
                raise RunError(f"the host process of {spec.name} died at once", where=str(self._log))
            self._launcher.ledger.record_process(Process(pid, started), f"host process of {spec.name}", "host")
            # The sweep makes `closing` before it reads the ledger: either it sees the record, or we see this.
            if self._directory.closing.exists():
                raise RunError(f"run {self._directory.run!r} is being taken down")
            self._client.release(pid)
        server.host_pid = pid
        server.client.wait_ready(_HOST_TIMEOUT)

    def close(self) -> None:
        """Close the connection: children that were not released yet exit."""
        self._client.close()
