"""`hoverboard latency`: measures how long packets stay inside the engines of a node."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from console import guard, runs
from console.show.json_output import print_json
from console.show.progress import print_progress
from console.verbs.options import Json, Node, Run


def latency(
    node: Node,
    seconds: Annotated[float, typer.Option("--seconds", min=0.0, help="Sample for this many seconds.")] = 5.0,
    every: Annotated[int, typer.Option("--every", min=1, metavar="N", help="Follow one packet in N.")] = 64,
    run: Run = None,
    as_json: Json = False,
) -> None:
    """Measure how long packets stay inside the engines of a node, from receive to transmit.

    One packet is followed at a time.
    """
    from hoverboard.host.control.host_client import HostClient
    from topologies.client import inspect
    from topologies.client.run_client import RunClient

    with RunClient(runs.entered(run)) as client:
        place = inspect.find(client, node, None)
    inspect.check_has_engines(place)
    host = HostClient(place.socket)
    with contextlib.closing(host), guard.ended_by_signals():
        inspect.compile_debug_engine(host, print_progress)
        found = inspect.latency(host, seconds, every)
    if as_json:
        print_json({"node": place.node, **found})
        return
    from console.show import tables

    tables.show([tables.latency({"node": place.node, **found})])
