"""Reaches the holder of a run, starts one in the background, takes a run down: for the command line.

This module must import nothing heavy: every command pays for it.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hoverboard.contract.errors import RunError
from hoverboard.contract.plugins import absolute
from topologies.client import holder_start, lost_runs, user_runs
from topologies.processes import failed_logs, ledger, marks
from topologies.processes.launcher import python
from topologies.processes.phases import Progress
from topologies.processes.process_table import LinuxProcesses, Process
from topologies.processes.run_directory import RunDirectory, RunLock, existing, is_held, run_names, state_dir

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import AddedVM, Applied, ModelChange, OffloadChange, Ready, RemovedVM
    from hoverboard.contract.documents import Offload, Status
    from hoverboard.contract.node_documents import Flows, Node, Wiring
    from hoverboard.contract.openflow.flow_names import NamesDocument
    from topologies.spec.schema import TopologyText


_SHUTDOWN_TIMEOUT = 30.0


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
        self._client = lost_runs.HolderClient(self.directory.socket)
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
        """The run, as `hoverboard status --json` shows it. Pids are those that the caller sees."""
        return cast("Status", self._translated(self.call("status")))

    def node_status(self, node: str) -> Node:
        """One node, as `hoverboard status NODE --json` shows it. Pids are those that the caller sees."""
        return cast("Node", self._translated(self.call("node_status", node=node)))

    def _translated(self, document: Any) -> Any:
        first = user_runs.first_of(self.directory)
        return document if first is None or not first.visible else user_runs.translated(document, user_runs.pids(first))

    def flows(self, node: str) -> Flows:
        """The flows of a node, as `hoverboard flows NODE --json` shows them."""
        return cast("Flows", self.call("flows", node=node))

    def flow_names(self) -> NamesDocument:
        """The names of networks and firewall rules, for the words about drops in a capture."""
        return cast("NamesDocument", self.call("flow_names"))

    def offloads(self) -> list[Offload]:
        """VM pairs that are offloaded now."""
        return list(self.call("offloads"))

    def pid_of(self, node: str) -> int:
        """Pid of the process that keeps the namespaces of a node, for `mnexec -a`."""
        return int(self.call("pid_of", name=node))

    def wiring(self) -> Wiring:
        """The nodes and the links between them, as Mininet's verbs need them."""
        return cast("Wiring", self.call("wiring"))

    def add_vm(self, network: str, name: str | None = None, host: str | None = None, **values: Any) -> AddedVM:
        """Add a VM; return its document when its gateway answers.

        Args:
            network: name of the network.
            name: default: the network's name with the next number.
            host: default: the host with the fewest VMs.
            values: ip, ip6, tags and rate, as `topologies.changes.placement.plan_vm` takes them.
        """
        return cast("AddedVM", self.call("add_vm", network=network, name=name, host=host, **values))  # tour: vm 1

    def remove_vm(self, name: str) -> RemovedVM:
        """Remove a VM; return the names that match nothing because of that."""
        return cast("RemovedVM", self.call("remove_vm", name=name))

    def set_model(self, model: str) -> ModelChange:
        """Change to another programming model; return {"model", "from", "seconds"} when it is done."""
        return cast("ModelChange", self.call("set_model", model=absolute(model, Path())))

    def set_offload(self, **values: Any) -> OffloadChange:
        """Change the offload policy and its settings (`topologies.changes.offload_change.OffloadValues`)."""
        policy = values.get("policy")
        if policy is not None:
            values["policy"] = absolute(policy, Path())
        return cast("OffloadChange", self.call("set_offload", **values))

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
    file: str | Path | TopologyText,
    *,
    run: str,
    model: str | None = None,
    dataplane: str | None = None,
    scheduling: str | None = None,
    offload_policy: str | None = None,
    offload_threshold: str | None = None,
    control: Mapping[str, object] | None = None,
    progress: Progress | None = None,
    last_chance: Callable[[], None] = lambda: None,
) -> Ready:
    """Start a holder in the background, and wait until its run is up.

    Ctrl-C takes the run down and waits for that.

    Args:
        file: path of the topology file, name of a shipped topology, or the text of a file.
        run: name of the run.
        model: instead of the topology's.
        dataplane: instead of the topology's, for all nodes.
        scheduling: instead of the topology's.
        offload_policy: instead of the topology's.
        offload_threshold: instead of the topology's, such as "100kbit".
        control: arguments of `topologies.cluster.control_processes.ControlLayout.of`.
        progress: called as phases of the start advance.
        last_chance: called when the run is up; what it raises takes the run down.

    Returns:
        {"run", "phases", "seconds"}.

    Raises:
        HoverboardError: the error of the holder; nothing of the run is left.
    """
    from topologies.spec import schema

    given = schema.read(file) if isinstance(file, str | Path) else file
    options: dict[str, object] = {
        "model": model,
        "dataplane": dataplane,
        "scheduling": scheduling,
        "offload-policy": offload_policy,
        "offload-threshold": offload_threshold,
    }
    options |= {name.replace("_", "-"): value for name, value in (control or {}).items()}
    words = [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]
    return holder_start.start(
        lambda report: python("topologies.run.holder", run, "--report", str(report), *words),
        {**given, "base": str(given["base"].absolute())},
        run=run, progress=progress, last_chance=last_chance,
    )  # fmt: skip


def down(run: str, *, state: Path | None = None, missing_ok: bool = False) -> None:
    """Take a run down: through its holder, by its ledger when the holder is dead, by its mark when it is lost.

    It is safe to repeat, and to call from several processes at once. The kept logs of a failed start are removed.

    Args:
        run: name of the run.
        state: the state directory; default: HOVERBOARD_STATE_DIR, or /run/hoverboard.
        missing_ok: do nothing when there is no such run.

    Raises:
        RunError: there is no such run, a process did not end, a file stays, or another user can have made the run.
    """
    directory = RunDirectory.of(run, state)
    if directory.path.exists() and not directory.path.is_dir():
        raise directory.not_a_directory()
    directory.check_own()  # before anything is removed, and before the ledger is read: it names a holder, who is ended
    if failed_logs.forget(directory) and not directory.path.exists():
        return
    if missing_ok and not directory.path.exists():
        return
    if (first := user_runs.first_of(directory)) is not None:
        user_runs.down(directory, first)
        return
    if ledger.is_elsewhere(ledger.Ledger(directory)):
        raise RunError(
            f"the processes of run {run!r} are in other namespaces, and its ledger does not name the first one there",
            where=str(directory.ledger), next_step="find them by `lsns --type pid`, and end the first of them",
        )  # fmt: skip
    found = lost_runs.marks_of(directory)
    if not found and not _is_of_a_run(directory):
        _remove_empty(directory)
        if missing_ok:
            return
        if directory.lock.exists():
            ledger.check_removable(directory)
        existing(run, state)
    for mark in found:
        lost_runs.end(mark, force=True)
    lock = _take_lock(directory, [mark.holder for mark in found])
    if lock is None:
        return  # it is down
    try:
        _sweep(directory)
    finally:
        lock.release()


def _is_of_a_run(directory: RunDirectory) -> bool:
    """Whether a directory has a holder, or what a run leaves; a start that crashed leaves only the lock file."""
    names = set(os.listdir(directory.path)) if directory.path.is_dir() else set()
    if is_held(directory) or directory.ledger.name in names:
        return True
    only_lock = names == {directory.lock.name} and directory.lock.is_file()
    return bool(names) and not only_lock and not directory.foreign_entries()


def _sweep(directory: RunDirectory) -> None:
    """End all processes of a run whose lock we hold, and remove its directory."""
    ledger.check_removable(directory)
    mark = ledger.read_mark(directory)
    if mark is not None:
        ledger.kill_all(directory)
        marks.end(mark)  # its ledger may lack a process, if the file was changed by hand
    ledger.remove_tree(directory)


def _remove_empty(directory: RunDirectory) -> None:
    """Remove a directory with no file but a lock: a start that crashed before it had a ledger leaves that."""
    if directory.path.is_dir() and {entry.name for entry in directory.path.iterdir()} <= {"lock"}:
        lock = RunLock.try_take(directory, create=True)
        if lock is not None:
            ledger.remove_tree(directory)
            lock.release()


def _take_lock(directory: RunDirectory, holders: Iterable[Process]) -> RunLock | None:
    """Take the lock of a run; end its holder first, if it lives. None when the run is gone.

    Args:
        directory: the directory of the run.
        holders: its holders, if its ledger does not name them.
    """
    known = _holders(directory) | set(holders)
    steps: list[tuple[float, Callable[[], object]]] = [
        (0.2, lambda: None),  # another process may release the lock just now
        (_SHUTDOWN_TIMEOUT, lambda: lost_runs.request_shutdown(directory.socket)),
        (_SHUTDOWN_TIMEOUT, lambda: _signal(known | _holders(directory), signal.SIGTERM)),
        (5.0, lambda: _signal(known | _holders(directory), signal.SIGKILL)),
    ]
    for timeout, step in steps:
        step()
        deadline = time.monotonic() + timeout
        while True:
            try:
                lock = RunLock.try_take(directory, create=False)
            except FileNotFoundError:
                if not _has_files(directory):
                    return None
                lock = ledger.take_lock(directory)
            if lock is not None:
                return lock
            if time.monotonic() > deadline:
                break
            select.select([], [], [], 0.01)
    raise RunError(
        f"the holder of run {directory.run!r} does not end", where=str(directory.lock),
        next_step="find its pid with `fuser` on that file, end it, then repeat `hoverboard down`",
    )  # fmt: skip


def _has_files(directory: RunDirectory) -> bool:
    try:
        return bool(os.listdir(directory.path))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _holders(directory: RunDirectory) -> set[Process]:
    records = ledger.live_processes(ledger.Ledger(directory), LinuxProcesses())
    return {record.process for record in records if record.kind == "holder"}


def _signal(holders: Iterable[Process], number: signal.Signals) -> None:
    for holder in holders:
        if holder.pid != os.getpid():
            LinuxProcesses().send(holder, number)


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
    """Runs without a holder, and what still runs of them; for `hoverboard doctor`. Lost runs with processes are not."""
    base = state or state_dir()
    found = []
    for name in run_names(base):
        directory = RunDirectory.of(name, base)
        if is_held(directory):
            continue
        if (first := user_runs.first_of(directory)) is not None and not first.visible:
            continue  # in other namespaces than ours: nothing can be said about it here
        records = ledger.live_processes(ledger.Ledger(directory), LinuxProcesses())
        if ledger.missing(directory) is not None and any(record.kind != "holder" for record in records):
            continue  # a lost run: it may still have a holder
        first = user_runs.first_of(directory)
        inside = user_runs.pids(first).values() if records and first is not None and first.visible else ()
        what = [record.what for record in records] if first is None else [f"pid {pid}" for pid in inside]
        found.append(DeadRun(name, str(directory.path), tuple(what)))
    return found


def live_runs(state: Path | None = None) -> list[str]:
    """Names of the runs that have a holder, sorted."""
    base = state or state_dir()
    return [name for name in run_names(base) if is_held(RunDirectory.of(name, base))]
