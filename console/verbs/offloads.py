"""`hoverboard offloads`: lists the VM pairs whose traffic goes host to host (paper section 3.3.1)."""

from __future__ import annotations

from console import runs
from console.show.json_output import print_json
from console.verbs.options import Json, Run


def offloads(run: Run = None, as_json: Json = False) -> None:
    """List the VM pairs whose traffic goes host to host instead of over a Hoverboard."""
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        document = client.offloads()
    if as_json:
        print_json(document)
        return
    from console.show import tables

    tables.show([tables.offloads(document)])
