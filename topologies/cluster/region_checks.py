"""Checks that the control planes of two regions can have a layout, a model and policies (paper section 3.5).

`up --check` uses them too, so this module starts nothing and imports no gRPC.
"""

from __future__ import annotations

from controllers.vmc.models import model_named
from hoverboard.contract.errors import InputError
from hoverboard.contract.models import choices
from topologies.cluster.control_processes import ControlLayout
from topologies.spec.region_scopes import check_same_region
from topologies.spec.topology import Topology, to_entities


def check_regions(topology: Topology, layout: ControlLayout) -> None:
    """Check that a topology with a WAN can have control planes of this layout.

    Raises:
        InputError: the layout, the model or the policies of the topology do not work with regions.
    """
    if layout.processes:
        raise InputError(
            "with regions, each control plane is one process", where="--control-plane",
            next_step="leave the option out, or use a topology without `wan`",
        )  # fmt: skip
    if not model_named(topology.model).facts().scoped:
        raise InputError(
            f"model {topology.model} does not work with `wan`", where="--model",
            next_step=f"use one of: {choices(scoped=True)}",
        )  # fmt: skip
    check_same_region(to_entities(topology))
