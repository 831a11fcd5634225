"""Reaches the holder of a run, starts one in the background, takes a run down: for the command line.

This module must import nothing heavy: every command pays for it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hoverboard.contract.errors import HoverboardError, RunError
from hoverboard.contract.plugins import absolute
from hoverboard.rpc.client import Client
from hoverboard.rpc.errors import error_from_json
from topologies.processes import ledger
from topologies.processes.launcher import python
from topologies.processes.phases import PhaseEvent, Progress
from topologies.processes.process_table import LinuxProcesses
from topologies.processes.run_directory import RunDirectory, RunLock, existing, is_held, run_names, state_dir

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import AddedVM, Applied, ModelChange, Ready
    from hoverboard.contract.documents import Offload, Status
    from hoverboard.contract.node_documents import Flows, Node


_SHUTDOWN_TIMEOUT = 30.0


class _HolderClient(Client):
    peer = "the holder"


class RunClient:
    """RPC to the holder of a run; one request at a time.

    Args:
        run: name of the run.
        state: the state directory; default: HOVERBOARD_STATE_DIR, or /run/hoverboard.
        timeout: seconds for a request.

    Raises:
        RunError: there is no such run, or its holder does not answer.
    """

    def __init__(self, run: str, *, state: Path | None = None, timeout: float = 60.0) -> None:
        self.directory = existing(run, state)
        self.timeout = timeout
        self._client = _HolderClient(self.directory.socket)
        try:
            self._client.connect(0.0)
        except RunError as error:
            dead = not is_held(self.directory)
            raise RunError(
                f"the holder of run {run!r} {'has died' if dead else 'does not answer'}",
                where=str(self.directory.socket),
                next_step=f"take the run down with: hoverboard down --run {run}",
            ) from error

    def __enter__(self) -> RunClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def call(self, method: str, /, **params: Any) -> Any:
        """Send one request; an error that the holder reports is raised here, with its own type."""
        return self._client.call(method, timeout=self.timeout, **params)

    def status(self) -> Status:
        """The run, as `hoverboard status --json` shows it."""
        return cast("Status", self.call("status"))

    def node_status(self, node: str) -> Node:
        """One node, as `hoverboard status NODE --json` shows it."""
        return cast("Node", self.call("node_status", node=node))

    def flows(self, node: str) -> Flows:
        """The flows of a server: {"node", "openflow": [line], "entries": [flow-table entry]}."""
        return cast("Flows", self.call("flows", node=node))

    def offloads(self) -> list[Offload]:
        """VM pairs that are offloaded now."""
        return list(self.call("offloads"))

    def pid_of(self, node: str) -> int:
        """Pid of the process that keeps the namespaces of a node, for `mnexec -a`."""
        return int(self.call("pid_of", name=node))

    def add_vm(self, network: str, name: str | None = None, host: str | None = None) -> AddedVM:
        """Add a VM; return {"name", "network", "ip", "host", "mac"} when its gateway answers."""
        return cast("AddedVM", self.call("add_vm", network=network, name=name, host=host))  # tour: vm 1

    def remove_vm(self, name: str) -> None:
        """Remove a VM."""
        self.call("remove_vm", name=name)

    def set_model(self, model: str) -> ModelChange:
        """Change to another programming model; return {"model", "from", "seconds"} when it is done."""
        return cast("ModelChange", self.call("set_model", model=absolute(model, Path())))

    def apply(self, *, text: str, source: str, name: str, base: str, dry_run: bool) -> Applied:
        """Change the run to the topology file with this text; return the plan (`topologies.run.apply.apply`).

        Args:
            text: the YAML text of the file.
            source: see `topologies.spec.schema.parse`.
            name: see there.
            base: see there.
            dry_run: only plan.
        """
        given = {"text": text, "source": source, "name": name, "base": base}
        return cast("Applied", self.call("apply", **given, dry_run=dry_run))

    def shutdown(self) -> None:
        """Request that the holder takes the run down; it does so after its reply."""
        self.call("shutdown")


def start_detached(
    file: str | Path,
    *,
    run: str,
    model: str | None = None,
    dataplane: str | None = None,
    scheduling: str | None = None,
    offload_policy: str | None = None,
    control: Mapping[str, object] | None = None,
    progress: Progress | None = None,
) -> Ready:
    """Start a holder in the background, and wait until its run is up.

    Ctrl-C takes the run down and waits for that.

    Args:
        file: path of the topology file, or name of a shipped topology.
        run: name of the run.
        model: instead of the topology's.
        dataplane: instead of the topology's, for all servers.
        scheduling: instead of the topology's.
        offload_policy: instead of the topology's.
        control: arguments of `topologies.cluster.control_processes.ControlLayout.of`.
        progress: called as phases of the start advance.

    Returns:
        {"run", "phases", "seconds"}.

    Raises:
        HoverboardError: the error of the holder; nothing of the run is left.
    """
    reader, writer = os.pipe()
    command = python("topologies.run.holder", run, str(file), "--report", str(writer))
    options: dict[str, object] = {
        "model": model,
        "dataplane": dataplane,
        "scheduling": scheduling,
        "offload-policy": offload_policy,
    }
    options |= {name.replace("_", "-"): value for name, value in (control or {}).items()}
    for option, value in options.items():
        if value is not None:
            command += [f"--{option}", str(value)]
    with tempfile.TemporaryFile() as errors, os.fdopen(reader, encoding="utf-8") as lines:
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                pass_fds=(writer,), start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(writer)
        try:
            ready = _follow(lines, progress)
        except KeyboardInterrupt:
            down(run, missing_ok=True)
            raise
        finally:
            child.wait()  # it has forked the holder, and ends at once
        if ready is None:
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
            what = f"the holder ended: {last[0]}" if last else "the holder ended and wrote no log"
            raise RunError(what, where=run, next_step="check the machine with: hoverboard doctor")
        return ready


def _follow(lines: Iterable[str], progress: Progress | None) -> Ready | None:
    for line in lines:
        message = json.loads(line)
        if "error" in message:
            raise error_from_json(message["error"])
        if "ready" in message:
            return cast("Ready", message["ready"])
        if progress is not None:
            progress(PhaseEvent(**message["progress"]))
    return None


def down(run: str, *, state: Path | None = None, missing_ok: bool = False) -> None:
    """Take a run down: through its holder, or by its ledger when the holder is dead.

    It is safe to repeat, and to call from several processes at once.

    Args:
        run: name of the run.
        state: the state directory; default: HOVERBOARD_STATE_DIR, or /run/hoverboard.
        missing_ok: do nothing when there is no such run.

    Raises:
        RunError: there is no such run, or a process did not end.
    """
    directory = RunDirectory.of(run, state)
    if missing_ok and not directory.path.exists():
        return
    if not directory.path.exists() or (not directory.ledger.exists() and not is_held(directory)):
        _remove_empty(directory)
        if missing_ok:
            return
        existing(run, state)
    lock = _take_lock(directory)
    if lock is None:
        return  # another process took the run down
    try:
        if directory.ledger.exists():
            ledger.sweep(directory)
        else:
            ledger.remove_tree(directory)
    finally:
        lock.release()


def _remove_empty(directory: RunDirectory) -> None:
    """Remove a directory with no file but a lock: a start that crashed before it had a ledger leaves that."""
    if directory.path.is_dir() and {entry.name for entry in directory.path.iterdir()} <= {"lock"}:
        lock = RunLock.try_take(directory, create=True)
        if lock is not None:
            ledger.remove_tree(directory)
            lock.release()


def _take_lock(directory: RunDirectory) -> RunLock | None:
    """Take the lock of a run; end its holder first, if it lives. None when the run is gone."""
    steps: list[tuple[float, Callable[[], None]]] = [
        (0.2, lambda: None),  # another process may release the lock just now
        (_SHUTDOWN_TIMEOUT, lambda: _ask_holder(directory)),
        (_SHUTDOWN_TIMEOUT, lambda: _signal_holder(directory, signal.SIGTERM)),
        (5.0, lambda: _signal_holder(directory, signal.SIGKILL)),
    ]
    for timeout, step in steps:
        step()
        deadline = time.monotonic() + timeout
        while True:
            try:
                lock = RunLock.try_take(directory, create=False)
            except FileNotFoundError:
                return None
            if lock is not None:
                return lock
            if time.monotonic() > deadline:
                break
            select.select([], [], [], 0.01)
    raise RunError(
        f"the holder of run {directory.run!r} does not end", where=str(directory.lock),
        next_step="find its pid with `fuser` on that file, end it, then repeat `hoverboard down`",
    )  # fmt: skip


def _ask_holder(directory: RunDirectory) -> None:
    try:
        with RunClient(directory.run, state=directory.path.parent, timeout=5.0) as client:
            client.shutdown()
    except HoverboardError:
        return  # it does not answer: the next step sends a signal


def _signal_holder(directory: RunDirectory, number: signal.Signals) -> None:
    processes = LinuxProcesses()
    for record in ledger.live_processes(ledger.Ledger(directory), processes):
        if record.kind == "holder" and record.process.pid != os.getpid():
            processes.send(record.process, number)


@dataclass(frozen=True)
class DeadRun:
    """A run without a holder.

    Attributes:
        run: its name.
        path: of its directory.
        processes: what still runs of it.
    """

    run: str
    path: str
    processes: tuple[str, ...]


def dead_runs(state: Path | None = None) -> list[DeadRun]:
    """Runs without a holder, and what still runs of them; for `hoverboard doctor`."""
    base = state or state_dir()
    found = []
    for name in run_names(base):
        directory = RunDirectory.of(name, base)
        if is_held(directory):
            continue
        records = ledger.live_processes(ledger.Ledger(directory), LinuxProcesses())
        found.append(DeadRun(name, str(directory.path), tuple(record.what for record in records)))
    return found


def live_runs(state: Path | None = None) -> list[str]:
    """Names of the runs that have a holder, sorted."""
    base = state or state_dir()
    return [name for name in run_names(base) if is_held(RunDirectory.of(name, base))]
