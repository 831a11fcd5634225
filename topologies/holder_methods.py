"""What a run's holder can be asked, by name: the table that `HolderServer` serves."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from hoverboard.rpc.answering import Methods
from topologies import schema, status

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import AddedVM, Applied
    from topologies.testbed import Testbed


def holder_methods(testbed: Testbed) -> Methods:
    """The methods of `topologies.client.RunClient`, answered by a testbed."""

    def add_vm(network: str, name: str | None = None, host: str | None = None) -> AddedVM:
        vm = testbed.add_vm(network, name, host)
        return {"name": vm.name, "network": vm.network, **status.addresses(vm), "host": vm.host, "mac": vm.mac}

    def apply(text: str, source: str, name: str, base: str, dry_run: bool) -> Applied:
        given: schema.Given = {"text": text, "source": source, "name": name, "base": Path(base)}
        return testbed.apply(given, dry_run=dry_run)

    def shutdown() -> bool:
        """Another thread does the work; the caller waits for the run's lock."""
        threading.Thread(target=testbed.down, name="shutdown").start()
        return True

    return {
        "ping": lambda: {"pid": os.getpid(), "state": testbed.state},
        "status": lambda: status.status(testbed),
        "node_status": lambda node: status.node_status(testbed, node),
        "flows": lambda node: status.flows(testbed, node),
        "offloads": testbed.offloads,
        "pid_of": testbed.pid_of,
        "add_vm": add_vm,
        "remove_vm": testbed.remove_vm,
        "set_model": testbed.set_model,
        "apply": apply,
        "shutdown": shutdown,
    }
