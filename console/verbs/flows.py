"""`hoverboard flows`: shows the OpenFlow flows of a switch, and the flow table of its dataplane."""

from __future__ import annotations

from typing import Annotated

import typer

from console import runs
from console.show.json_output import print_json
from console.verbs.options import Json, Run
from hoverboard.contract.errors import counted


def flows(
    node: Annotated[str, typer.Argument(metavar="NODE", help="A host or a Hoverboard: a VM has no switch.")],
    run: Run = None,
    as_json: Json = False,
) -> None:
    """Show the OpenFlow flows of a switch, and the flow table with what each entry carried."""
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        document = client.flows(node)
    if as_json:
        print_json(document)
        return
    from console.show import flow_tables, tables

    tables.show([flow_tables.entries(document)])
    for line in flow_tables.notes(document):
        print(line)
    print(f"OpenFlow: {counted(len(document['openflow']), 'flow')}")
    for line, purpose in zip(document["openflow"], document["purposes"], strict=True):
        print(f"  {line}  # {purpose}")
