"""The requests that other processes can send to the holder of a run (`topologies.client.run_client.RunClient`).

A table of functions: the types of their parameters are checked by `hoverboard.rpc`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from topologies.run import plane_changes, status, vm_changes, wiring
from topologies.run.run import Run, State
from topologies.spec import schema

if TYPE_CHECKING:
    from hoverboard.contract import documents
    from hoverboard.contract.change_documents import AddedVM, Applied, ModelChange, OffloadChange, RemovedVM
    from hoverboard.contract.node_documents import Flows, Node
    from hoverboard.contract.openflow.flow_names import NamesDocument
    from hoverboard.rpc.answering import Methods

MODEL_TIMEOUT = 60.0  # seconds


class Held(Protocol):
    """The holder's object, a `Testbed`, as far as requests need it."""

    @property
    def state(self) -> State:
        """ "starting", "up", "stopping" or "down"."""

    def current_run(self) -> Run:
        """The run; RunError when it is down."""

    def status(self) -> documents.Status:
        """The status of the run, even when it is down."""

    def change_to(self, given: schema.TopologyText, *, dry_run: bool) -> Applied:
        """Change the run to a topology file, or only plan that."""

    def down(self) -> None:
        """Take everything down."""


def requests(held: Held) -> Methods:
    """The requests by name."""

    def node_status(node: str) -> Node:
        return status.node_status(held.current_run(), node)

    def flows(node: str) -> Flows:
        return status.flows(held.current_run(), node)

    def flow_names() -> NamesDocument:
        return status.flow_names(held.current_run()).document()

    def offloads() -> list[documents.Offload]:
        return held.current_run().cluster.offloads()

    def pid_of(name: str) -> int:
        return int(held.current_run().network.node(name).pid)

    def add_vm(
        network: str,
        name: str | None = None,
        host: str | None = None,
        ip: str | None = None,
        ip6: str | Literal[False] | None = None,
        tags: Sequence[str] = (),
        rate: str | None = None,
    ) -> AddedVM:
        vm = vm_changes.add_vm(held.current_run(), network, name, host, ip=ip, ip6=ip6, tags=tags, rate=rate)
        return status.vm_document(vm)

    def remove_vm(name: str) -> RemovedVM:
        found = vm_changes.remove_vm(held.current_run(), name)
        return {"removed": name, "warnings": [one.document() for one in found]}

    def set_model(model: str) -> ModelChange:
        return plane_changes.set_model(held.current_run(), model, MODEL_TIMEOUT)

    def set_offload(
        threshold: str | None = None,
        policy: str | None = None,
        keep: str | None = None,
        min_lifetime: str | None = None,
        idle_expiry: str | None = None,
        budget: int | None = None,
    ) -> OffloadChange:
        return plane_changes.set_offload(
            held.current_run(),
            {
                "threshold": threshold, "policy": policy, "keep": keep, "min_lifetime": min_lifetime,
                "idle_expiry": idle_expiry, "budget": budget,
            },
        )  # fmt: skip

    def apply(text: str, source: str, name: str, base: str, dry_run: bool) -> Applied:
        return held.change_to({"text": text, "source": source, "name": name, "base": Path(base)}, dry_run=dry_run)

    def shutdown() -> bool:
        """Take the run down in the background, after the reply; the client waits for the lock of the directory."""
        threading.Thread(target=held.down, name="shutdown").start()
        return True

    return {
        "ping": lambda: {"pid": os.getpid(), "state": held.state},
        "status": held.status,
        "node_status": node_status,
        "flows": flows,
        "flow_names": flow_names,
        "offloads": offloads,
        "pid_of": pid_of,
        "add_vm": add_vm,
        "remove_vm": remove_vm,
        "set_model": set_model,
        "set_offload": set_offload,
        "apply": apply,
        "wiring": lambda: wiring.wiring(held.current_run()),
        "shutdown": shutdown,
    }
