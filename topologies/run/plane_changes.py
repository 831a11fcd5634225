"""Changes what the control plane of a run decides, while packets flow: the programming model and the offload policy."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from hoverboard.contract.plugins import without_running_files
from topologies.changes.offload_change import OffloadValues, offload_difference, with_offload
from topologies.run.run import Run
from topologies.spec.topology import check_model

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import ModelChange, OffloadChange


def set_model(run: Run, model: str, timeout: float) -> ModelChange:
    """Change to another programming model; return when it is done.

    Raises:
        InputError: there is no such model, or the topology cannot run it.
        RunError: the change did not complete in time.
    """
    with run.changing():
        wanted = check_model(run.topology, model)
        begin, before = time.monotonic(), run.cluster.set_model(wanted, timeout)
        run.replace_topology(lambda running: replace(running, model=wanted))
        return {"model": wanted, "from": before, "seconds": round(time.monotonic() - begin, 3)}


def set_offload(run: Run, values: OffloadValues) -> OffloadChange:
    """Change the offload policy and its settings; offloads that are there stay.

    The file of a policy that is named again is read again.

    Raises:
        InputError: a value is wrong, two do not go together, or the policy's class cannot be used.
        RunError: the control plane does not answer.
    """
    with run.changing():
        before = run.topology
        with without_running_files():
            wanted = with_offload(before, values, is_up=True)
        if wanted != before or values.get("policy") is not None:
            run.cluster.set_offload(wanted)
            run.replace_topology(
                lambda running: replace(running, offload_threshold=wanted.offload_threshold, offload=wanted.offload)
            )
        return {"run": run.name, "changed": offload_difference(before, wanted), "model": wanted.model}
