"""`hoverboard flows`: shows the OpenFlow flows of a switch, and the flow table of its dataplane."""

from __future__ import annotations

from typing import Annotated

import typer

from console import runs
from console.show.json_output import print_json
from console.verbs.options import Json, Run


def flows(
    node: Annotated[str, typer.Argument(metavar="NODE", help="A host or a Hoverboard: a VM has no switch.")],
    run: Run = None,
    as_json: Json = False,
) -> None:
    """Show the OpenFlow flows of a switch, and the flow table with what each entry carried."""
    runs.need_root("flows")
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        document = client.flows(node)
    if as_json:
        print_json(document)
        return
    from console.show import tables

    tables.show([tables.entries(document)])
    print(f"OpenFlow: {len(document['openflow'])} flows")
    for line in document["openflow"]:
        print(f"  {line}")
