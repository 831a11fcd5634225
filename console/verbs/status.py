"""`hoverboard status`: shows a run, or one of its nodes."""

from __future__ import annotations

from typing import Annotated

import typer

from console import runs
from console.show.json_output import print_json
from console.show.notices import show_warnings
from console.verbs.options import Json, Run


def status(
    node: Annotated[
        str | None, typer.Argument(metavar="[NODE]", help="A host, a Hoverboard or a VM. Default: the whole run.")
    ] = None,
    run: Run = None,
    as_json: Json = False,
) -> None:
    """Show hosts, Hoverboards, networks, VMs and counters of a run, or one node. Hosts have drops by reason."""
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        whole = client.status() if node is None else None
        part = client.node_status(node) if node is not None else None
    if as_json:
        print_json(whole or part)
        return
    from console.show import tables

    if whole is not None:
        tables.show(tables.status(whole))
        if whole["privileges"] == "rootless":
            print(tables.rootless(whole))
        show_warnings(whole["warnings"])
    elif part is not None:
        tables.show(tables.node(part))
