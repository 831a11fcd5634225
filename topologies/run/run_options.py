"""Options of `hoverboard up` and of `Testbed`: those that replace what a topology file says, and checks of all.

Reads the files of a model or an offload policy, and nothing else. It starts and makes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from hoverboard.contract.entities import Dataplane, Scheduling
from hoverboard.contract.errors import InputError
from hoverboard.contract.generations import NAMES
from topologies.changes.offload_change import with_offload
from topologies.cluster.control_processes import ControlLayout
from topologies.cluster.region_checks import check_regions
from topologies.processes.run_directory import RunDirectory
from topologies.spec.topology import Model, Topology, check_enforced, check_model


def with_options(
    topology: Topology,
    *,
    model: Model | None = None,
    dataplane: Dataplane | None = None,
    scheduling: Scheduling | None = None,
    offload_policy: str | None = None,
    offload_threshold: str | None = None,
) -> Topology:
    """The topology with these in place of what it says; None: as it says.

    Args:
        topology: it stays as it is.
        model: a programming model by name, or FILE.py:Class.
        dataplane: the generation of all hosts.
        scheduling: the scheduling of the engines.
        offload_policy: FILE.py:Class; a relative path is taken from the current directory; or "built-in".
        offload_threshold: a rate such as "100kbit".

    Raises:
        InputError: a file has no such class, or the values do not go together.
    """
    for where, value, known in (("dataplane", dataplane, NAMES), ("scheduling", scheduling, get_args(Scheduling))):
        if value is not None and value not in known:
            raise InputError(f"{value!r} is no {where}", where=where, next_step=f"use one of: {', '.join(known)}")
    if model is not None:
        topology = replace(topology, model=check_model(topology, model))
    if offload_policy is not None or offload_threshold is not None:
        topology = with_offload(topology, {"policy": offload_policy, "threshold": offload_threshold})
    if dataplane is not None:
        topology = topology.with_dataplane(dataplane)
    if scheduling is not None:
        topology = replace(topology, scheduling=scheduling)
    check_enforced(topology)
    return topology


def check_start(topology: Topology, layout: ControlLayout, directory: RunDirectory) -> None:
    """Check that a run of this topology can start, as far as the machine does not decide that.

    Args:
        topology: with the options of `with_options`.
        layout: of the control plane.
        directory: of the run; it need not exist.

    Raises:
        InputError: the layout does not fit the topology, or the path of a socket of the run is too long.
    """
    if not isinstance(layout, ControlLayout):  # a program may pass anything
        raise InputError(
            f"{layout!r} is no layout of the control plane", where="control", next_step="give ControlLayout.of(..)"
        )
    if topology.wan is not None:
        check_regions(topology, layout)
    directory.check_socket_paths([server.name for server in topology.servers], etcd=layout.store == "etcd")
