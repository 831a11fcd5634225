"""`hoverboard up`: brings a run up, in the background or behind a prompt, or only looks at its file.

Imports of the layers below stand inside: `--help` must not pay for them.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import typer

from console import guard, runs
from console.show.json_output import print_json
from console.verbs.options import Json, resolve_model
from hoverboard.contract.change_documents import Checked
from hoverboard.contract.errors import InputError
from hoverboard.contract.generations import Dataplane
from hoverboard.contract.models import choices

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        callback=resolve_model,
        help=f"Programming model, instead of the file's: {choices()}, or FILE.py:Class (docs/models.md).",
    ),
]
DataplaneOption = Annotated[
    Dataplane | None,
    typer.Option("--dataplane", help="Dataplane generation of all servers, instead of the file's."),
]

SchedulingOption = Annotated[
    Literal["adaptive", "dedicated", "compacting"] | None,
    typer.Option("--scheduling", help="When the fast path's engines run, instead of what the file says."),
]

OffloadPolicyOption = Annotated[
    str | None,
    typer.Option("--offload-policy", metavar="FILE.py:CLASS", help="An offload policy of your own (docs/models.md)."),
]

# One process for each role: docs/control-plane.md.
ControlPlaneOption = Annotated[
    Literal["one-process", "processes"] | None,
    typer.Option("--control-plane", help="All roles in one process (default), or a process each."),
]
PartitionsOption = Annotated[
    int | None, typer.Option("--partitions", metavar="P", help="Parts of the hosts, with VM controllers each: 1.")
]
ReplicasOption = Annotated[
    int | None, typer.Option("--replicas", metavar="R", help="VM controllers of a partition, one of them master: 3.")
]
FrontEndsOption = Annotated[int | None, typer.Option("--front-ends", metavar="F", help="OpenFlow front ends: 1.")]
StoreOption = Annotated[
    Literal["embedded", "etcd"] | None,
    typer.Option("--store", help="What elections go by: kept by the fabric manager (default), or etcd."),
]


def up(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="A topology file, or a shipped one's name.")] = "demo",
    run: Annotated[str | None, typer.Option("--run", metavar="NAME", help="Name; default: the topology's.")] = None,
    model: ModelOption = None,
    dataplane: DataplaneOption = None,
    scheduling: SchedulingOption = None,
    offload_policy: OffloadPolicyOption = None,
    control_plane: ControlPlaneOption = None,
    partitions: PartitionsOption = None,
    replicas: ReplicasOption = None,
    front_ends: FrontEndsOption = None,
    store: StoreOption = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Hold the run in the background.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Validate the file; start nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Bring a topology up; without --detach, with a prompt."""
    if check:
        _print_check(file, as_json)
        return
    if as_json and not detach:
        raise InputError("--json needs --detach", where="up", next_step="add --detach, or leave --json out")
    runs.need_root("up")
    runs.mention_orphans()
    options = {"model": model, "dataplane": dataplane, "scheduling": scheduling, "offload_policy": offload_policy}
    control: dict[str, Any] = {
        "control_plane": control_plane, "partitions": partitions, "replicas": replicas, "front_ends": front_ends,
        "store": store,
    }  # fmt: skip
    from topologies.cluster.control_processes import ControlLayout

    # Faults of options and file are told here, before anything is started.
    layout = ControlLayout.of(**control)
    if not detach:
        raise typer.Exit(foreground(file, run, context.find_root().command, control=layout, **options))
    from console.show.progress import PhaseProgress
    from topologies.client.run_client import start_detached
    from topologies.spec import external, schema

    topology = schema.load(file)
    if dataplane is not None:
        topology = topology.with_dataplane(dataplane)
    name = run or topology.name
    options["offload_policy"] = _absolute(offload_policy)
    with guard.ended_by_signals(), PhaseProgress() as progress:
        ready = start_detached(
            os.path.abspath(file) if os.path.exists(file) else file, run=name, control=control, progress=progress,
            **options,
        )  # fmt: skip
    _print_notes(external.notes(topology))
    if as_json:
        print_json(ready)
    else:
        print(f"run {name!r} is up; end it with: hoverboard down --run {name}")


def _print_check(file: str, as_json: bool) -> None:
    from topologies.spec import schema

    topology = schema.load(file)
    found: Checked = {
        "ok": True,
        "name": topology.name,
        "model": topology.model,
        "hosts": len(topology.hosts),
        "hoverboards": len(topology.hoverboards),
        "networks": len(topology.networks),
        "vms": len(topology.vms),
    }
    if as_json:
        print_json(found)
    else:
        print(
            f"{file}: fine: {found['hosts']} hosts, {found['hoverboards']} Hoverboards, "
            f"{found['networks']} networks, {found['vms']} VMs, model {topology.model}"
        )


def _print_notes(notes: Iterable[str]) -> None:
    """Say once, beside what is printed, what works less than people may think."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def _absolute(policy: str | None) -> str | None:
    """The policy by a path that holds in any directory."""
    return None if policy is None else os.path.abspath(policy)


def foreground(file: str, run: str | None, command: Callable[..., object], **options: Any) -> int:
    """Hold the run in this process until its prompt ends; `options` are a Testbed's."""
    from console.prompt.run_session import hold
    from console.show.progress import PhaseProgress
    from topologies.run.testbed import Testbed
    from topologies.spec import external

    testbed = Testbed(file, run=run, **options)
    with guard.ended_by_signals():
        try:
            with PhaseProgress() as progress:
                testbed.up(progress)
            _print_notes(external.notes(testbed.topology))
            return hold(testbed, command)
        finally:
            try:
                # A terminal that was closed takes no words; what was started has to go all the same.
                with contextlib.suppress(OSError):
                    if testbed.state != "down":
                        print(f"taking {testbed.run!r} down", file=sys.stderr)
            finally:
                testbed.down()
