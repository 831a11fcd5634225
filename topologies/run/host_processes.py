"""Starts host processes and the link element: the nursery forks them; each is in the ledger before it runs.

The nursery (`hoverboard.host.nursery`) is one warm process per run. A forked child waits until it is recorded.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from hoverboard.contract.errors import RunError
from hoverboard.contract.generations import facts
from hoverboard.host.control.host_client import COMPILED_CODE, COMPILING, HostClient, HostConfig, NurseryClient
from hoverboard.host.link.link_client import LinkClient
from topologies.emulation.nodes import Server
from topologies.processes.deadlines import wait_for, wait_sockets
from topologies.processes.failed_logs import last_lines
from topologies.processes.launcher import Launcher, end_of, python
from topologies.processes.process_table import Process, cpu_seconds, start_time
from topologies.processes.run_directory import RunDirectory
from topologies.spec.topology import UNDERLAY, Topology, shared_fields

_NURSERY_TIMEOUT = 60.0  # without work of the nursery
_COMPILE_TIMEOUT = 1800.0  # a first start, with nothing in the cache, compiles the fast path
_NOTE_INTERVAL = 1.0  # seconds
_CONNECT_TIMEOUT = 1.0  # to a process that listens already
_HOST_TIMEOUT = 60.0
_SECRET_BYTES = 32


def _linked(link: Path, socket: Path) -> str:
    """The OpenFlow address of `socket`, through `link`: ovs-vswitchd connects only to sockets in its run directory."""
    link.symlink_to(socket)
    return f"unix:{link}"


def _openflow(server: Server, link: Path, socket: Path) -> str:
    """OpenFlow address of a node's controller: our front end at `socket`, or the external program of the topology."""
    kind, _, place = (server.spec.controller or f"unix:{socket}").partition(":")
    if kind == "unix":
        return _linked(link, Path(place))
    return f"{kind}:{place}"


def _log_of(server: Server) -> Path:
    return server.directory / "host.log"


class HostProcesses:
    """The nursery of a run, and the host processes that it forks.

    Attributes:
        engines: with scheduling "compacting", the process that runs the engines of all hosts; else None.
        links: the link element; None while no link needs it.
        link_client: the client of the link element.
    """

    def __init__(
        self,
        directory: RunDirectory,
        launcher: Launcher,
        datapath_type: Literal["netdev", "system"],
        topology: Topology,
    ) -> None:
        self._directory = directory
        self._launcher = launcher
        self._datapath_type: Literal["netdev", "system"] = datapath_type
        self._scheduling = topology.scheduling
        self._topology = topology
        self._log = directory.logs / "nursery.log"
        self._client = NurseryClient(directory.nursery)
        self._lock = threading.Lock()  # NurseryClient takes one request at a time
        self._nursery: subprocess.Popen[bytes] | None = None
        self._configs: dict[str, HostConfig] = {}
        self.engines: Process | None = None
        self.links: Process | None = None
        self.link_client = LinkClient(directory.links)

    def start_nursery(self) -> None:
        """Start the nursery; `wait_nursery` waits until it is warm."""
        self._nursery = self._launcher.start(
            python("hoverboard.host.nursery", "--socket", str(self._directory.nursery)),
            "nursery", "nursery", log=self._log,
        )  # fmt: skip

    @property
    def nursery_pid(self) -> int | None:
        """Pid of the nursery; None before its start."""
        return None if self._nursery is None else self._nursery.pid

    def why_nursery_ended(self) -> str | None:
        """How the nursery has ended; None: it has not, or it was never started."""
        return None if self._nursery is None else end_of(self._nursery)

    def wait_nursery(self, note: Callable[[str], None] = lambda _: None) -> None:
        """Wait until the nursery can fork host processes, as long as it works: it may compile for minutes.

        Args:
            note: called once a second while it compiles, and once if its code is kept in an unusual place.
        """
        begun = noted = time.monotonic()

        # The nursery serves one connection in its life: only our own connection shows whether it serves.
        def connected() -> bool:
            nonlocal noted
            if (now := time.monotonic()) > noted + _NOTE_INTERVAL:
                noted = now
                self._note_compilation(note, now - begun)
            return self._connected()

        wait_for(
            connected, _NURSERY_TIMEOUT, lambda: "the nursery does not serve", where=str(self._log),
            work=lambda: cpu_seconds(self.nursery_pid), longest=_COMPILE_TIMEOUT,
        )  # fmt: skip
        self._note_place(note)

    def _note_place(self, note: Callable[[str], None]) -> None:
        with contextlib.suppress(OSError):
            for line in self._log.read_text(errors="replace").splitlines():
                if line.startswith(COMPILED_CODE):
                    note(line.removeprefix("hoverboard: "))

    def _note_compilation(self, note: Callable[[str], None], seconds: float) -> None:
        if any(line.startswith(COMPILING) for line in last_lines(self._log)):
            note(f"compiling the fast path, once for this version: {seconds:.0f} s so far")

    def _connected(self) -> bool:
        self._check_nursery()
        try:
            self._client.connect(0.0)
        except RunError:
            return False  # it does not listen yet
        return True

    def _check_nursery(self) -> None:
        if self._nursery is None or self._nursery.poll() is not None:
            raise RunError(
                "the nursery of the host processes ended", where=str(self._log), next_step="read that log file"
            )
        # `kill_all` makes `closing` before it reads the ledger: it finds our record there, or we find `closing` here.
        if self._directory.closing.exists():
            raise RunError(
                f"run {self._directory.run!r} is being taken down", next_step="wait until it is down, then bring it up"
            )

    def start(self, server: Server, endpoints: Sequence[tuple[str, Path]]) -> None:
        """Start the host process of a node, and wait until it has configured its switch.

        Args:
            server: the node.
            endpoints: gRPC address and OpenFlow socket of each control plane that programs the node.
        """
        spec = server.spec
        (control_address, openflow), *more = [
            (address, _openflow(server, server.directory / f"controller{number or ''}.sock", socket))
            for number, (address, socket) in enumerate(endpoints)
        ]
        generation = facts(spec.dataplane)
        engines = generation.carrier == "engines"
        config = HostConfig(
            run=self._directory.run,
            node=spec.name,
            # A switch that only answers traces; in the kernel it would take the UDP port of the tunnels.
            datapath_type=self._datapath_type if generation.carrier == "switch" else "netdev",
            underlay_ip=str(spec.underlay_ip),
            underlay_prefixlen=UNDERLAY.prefixlen,
            node_dir=str(server.directory),
            control_address=control_address,
            openflow_address=openflow,
            more_endpoints=tuple(more),
            external=spec.controller is not None,
            neighbours=tuple(str(one.underlay_ip) for one in self._topology.servers if one.name != spec.name),
            uplink_device=server.uplink_device,
            engines=str(self._directory.engines) if self._scheduling == "compacting" and engines else None,
            coprocessors=self._coprocessors() if engines and spec.role == "host" and self._topology.stages else None,
            **shared_fields(spec, HostConfig, but=("underlay_ip",)),
            **shared_fields(self._topology, HostConfig),
        )
        self._configs[spec.name] = config
        self._spawn(server, config)
        try:
            server.client.wait_ready(_HOST_TIMEOUT)
        except RunError as error:
            raise RunError(
                f"the host process of {spec.name} does not get ready: {error.what}", where=str(_log_of(server)),
                next_step="read that log file",
            ) from error  # fmt: skip

    def _spawn(self, server: Server, config: HostConfig) -> None:
        what = f"host process of {server.name}"
        started = self._fork(what, "host", lambda: self._client.spawn(config, server.pid))
        server.host_process = started
        self._wait(what, server.directory / "host.sock", started, _log_of(server))

    def resume(self, server: Server, plug: Callable[[HostClient], None]) -> None:
        """Start a host process in place of one that died; it resumes from the checkpoint of that one.

        The nursery must run.

        Args:
            server: the node.
            plug: sends it the NICs and the uplink that the dead process had.
        """
        self._spawn(server, replace(self._configs[server.name], resume=True))
        client = HostClient(server.directory / "host.sock")
        try:
            client.connect(_CONNECT_TIMEOUT)  # it listens already; if it has died since, nothing will
            client.wait_ready(_HOST_TIMEOUT)
            plug(client)
            client.resume()
        finally:
            client.close()
        dead, server.client = server.client, HostClient(server.directory / "host.sock")
        dead.close()

    def restart_nursery(self) -> None:
        """Start another nursery after one that died; the host processes that it had forked live on."""
        with self._lock:
            self._client.close()
            self._directory.nursery.unlink(missing_ok=True)
            self.start_nursery()
            self.wait_nursery()

    def make_secret(self) -> None:
        """Make the secret of the run: random bytes in a file that only root can read."""
        fd = os.open(self._directory.secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))

    def _coprocessors(self) -> dict[str, Any]:
        topology, directory = self._topology, self._directory
        return {
            "rules": list(topology.stages),
            "regions": topology.stage_regions(),
            "relays": [str(server.underlay_ip) for server in topology.hoverboards],
            "secret": str(directory.secret),
            "ledger": str(directory.ledger),
        }

    def start_vmm(self, server: Server, vm: str) -> None:
        """Start the VMM process of a VM before it is plugged in, on generations where such a process forwards."""
        if facts(server.spec.dataplane).carrier == "processes":
            spawn = partial(self._client.spawn_vmm, server.directory, vm, server.pid)
            self._fork(f"process of VM {vm} on {server.name}", "vmm", spawn)

    def start_engines(self) -> None:
        """Start the process that runs all engines, with scheduling "compacting"; call it before `start`."""
        if self._scheduling != "compacting":
            return
        path, log = self._directory.engines, self._directory.logs / "engines.log"
        what = "engines of all hosts"
        self.engines = self._fork(what, "engines", lambda: self._client.spawn_engines(path, log))
        self._wait(what, path, self.engines, log)

    def start_links(self) -> None:
        """Start the link element, also in place of one that died; it does not serve any link yet."""
        path, log, what = self._directory.links, self._directory.logs / "links.log", "link element"
        self.link_client.close()
        path.unlink(missing_ok=True)
        self.links = self._fork(what, "links", lambda: self._client.spawn_links(path, log))
        self._wait(what, path, self.links, log)

    def _fork(self, what: str, kind: str, spawn: Callable[[], int]) -> Process:
        """Let the nursery fork a process, record it in the ledger, then release it."""
        with self._lock:
            self._check_nursery()
            pid = spawn()
            started = start_time(pid)
            if started is None:
                raise RunError(
                    f"the {what} ended while it was starting", where=str(self._log), next_step="read that log file"
                )
            process = Process(pid, started)
            self._launcher.ledger.record_process(process, what, kind)
            self._check_nursery()
            self._client.release(pid)
        return process

    def _wait(self, what: str, socket: Path, process: Process, log: Path) -> None:
        def alive() -> bool:
            return start_time(process.pid) == process.start

        wait_sockets(f"the {what}", [socket], alive, _HOST_TIMEOUT, log)

    def close(self) -> None:
        """Close our connections; children of the nursery that were not released yet end."""
        self._client.close()
        self.link_client.close()
