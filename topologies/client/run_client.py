"""What the command line does with runs: reach a holder, start one in the background, take a run down.

Imports nothing heavy: every command pays for it.
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
    """RPC to the holder of a run; one request at a time. RunError when there is no such run or no holder.

    Args:
        timeout: seconds for a request.
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
                f"run {run!r} {'has died' if dead else 'does not answer'}",
                where=str(self.directory.socket),
                next_step=f"clean up with: hoverboard down --run {run}",
            ) from error

    def __enter__(self) -> RunClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def call(self, method: str, /, **params: Any) -> Any:
        """One request; raises what the holder reports, as the error it is."""
        return self._client.call(method, timeout=self.timeout, **params)

    def status(self) -> Status:
        """The run, as `hoverboard status --json` shows it."""
        return cast("Status", self.call("status"))

    def node_status(self, node: str) -> Node:
        """One node, as `hoverboard status NODE --json` shows it."""
        return cast("Node", self.call("node_status", node=node))

    def flows(self, node: str) -> Flows:
        """{"node", "openflow": [line], "entries": [flow-table entry]}."""
        return cast("Flows", self.call("flows", node=node))

    def offloads(self) -> list[Offload]:
        """VM pairs that go host to host now."""
        return list(self.call("offloads"))

    def pid_of(self, node: str) -> int:
        """Pid whose namespaces are the node's: what `mnexec -a` takes."""
        return int(self.call("pid_of", name=node))

    def add_vm(self, network: str, name: str | None = None, host: str | None = None) -> AddedVM:
        """Add a VM; its {name, network, ip, host, mac} once its gateway answers."""
        return cast("AddedVM", self.call("add_vm", network=network, name=name, host=host))

    def remove_vm(self, name: str) -> None:
        """Remove a VM."""
        self.call("remove_vm", name=name)

    def set_model(self, model: str) -> ModelChange:
        """Go over to another programming model: {"model", "from", "seconds"} once that is done."""
        return cast("ModelChange", self.call("set_model", model=absolute(model, Path())))

    def apply(self, *, text: str, source: str, name: str, base: str, dry_run: bool) -> Applied:
        """Have the run be what the topology file with this text says; the plan (`topologies.run.apply.apply`)."""
        given = {"text": text, "source": source, "name": name, "base": base}
        return cast("Applied", self.call("apply", **given, dry_run=dry_run))

    def shutdown(self) -> None:
        """Ask the holder to take the run down; it does so after the reply."""
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
    """Start a holder in the background and wait until its run is up; {"run", "phases", "seconds"}.

    Args:
        control: arguments of `topologies.cluster.control_processes.ControlLayout.of`.

    Raises what went wrong there; then nothing is left of it. Ctrl-C ends the holder and waits for it.
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
            child.wait()  # it has forked: the holder is nobody's child
        if ready is None:
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:] or ["it left no word"]
            raise RunError(f"the holder ended: {last[0]}", where=run, next_step="see `hoverboard doctor`")
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
    """Take a run down: its holder does it if it lives, else it is done from the ledger.

    Safe to repeat and to race: a run that somebody else takes down in the meantime is down.

    Raises:
        RunError: there is no such run (unless `missing_ok`), or something survived.
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
        return  # it went down by another hand
    try:
        if directory.ledger.exists():
            ledger.sweep(directory)
        else:
            ledger.remove_tree(directory)
    finally:
        lock.release()


def _remove_empty(directory: RunDirectory) -> None:
    """A crash before the ledger began leaves a lock file at most."""
    if directory.path.is_dir() and {entry.name for entry in directory.path.iterdir()} <= {"lock"}:
        lock = RunLock.try_take(directory, create=True)
        if lock is not None:
            ledger.remove_tree(directory)
            lock.release()


def _take_lock(directory: RunDirectory) -> RunLock | None:
    """The lock of a run whose holder is gone, having ended the holder if need be; None when the run is gone."""
    steps: list[tuple[float, Callable[[], None]]] = [
        (0.2, lambda: None),  # somebody else may just be finishing
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
        next_step="find it with `fuser` on that file and end it, then take the run down again",
    )  # fmt: skip


def _ask_holder(directory: RunDirectory) -> None:
    try:
        with RunClient(directory.run, state=directory.path.parent, timeout=5.0) as client:
            client.shutdown()
    except HoverboardError:
        return  # it does not answer: signals are next


def _signal_holder(directory: RunDirectory, number: signal.Signals) -> None:
    processes = LinuxProcesses()
    for record in ledger.live_processes(ledger.Ledger(directory), processes):
        if record.kind == "holder" and record.process.pid != os.getpid():
            processes.send(record.process, number)


@dataclass(frozen=True)
class DeadRun:
    """What a run that died has left behind."""

    run: str
    path: str
    processes: tuple[str, ...]


def dead_runs(state: Path | None = None) -> list[DeadRun]:
    """Runs that nobody holds any more, with what still runs of them; for `hoverboard doctor`."""
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
    """Names of the runs that somebody holds."""
    base = state or state_dir()
    return [name for name in run_names(base) if is_held(RunDirectory.of(name, base))]
