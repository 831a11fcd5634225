"""`hoverboard up`: brings a run up, with a prompt or in the background, or only checks its topology file."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from console import guard, rootless, runs, unprivileged
from console.show.json_output import print_json
from console.show.notices import count_warnings, show_warnings
from console.verbs.options import Json, NewRun, Rootless, resolve_model
from hoverboard.contract.errors import HoverboardWarning, InputError
from hoverboard.contract.generations import Dataplane
from hoverboard.contract.models import choices

if TYPE_CHECKING:
    from topologies.spec.schema import TopologyText

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        callback=resolve_model,
        help=f"Programming model to use instead of the file's: {choices()}, or FILE.py:Class (docs/models.md).",
    ),
]
DataplaneOption = Annotated[
    Dataplane | None,
    typer.Option("--dataplane", help="Dataplane generation of all hosts and Hoverboards, instead of the file's."),
]

SchedulingOption = Annotated[
    Literal["adaptive", "dedicated", "compacting"] | None,
    typer.Option("--scheduling", help="Scheduling of the fast path's engines, to use instead of the file's."),
]

OffloadPolicyOption = Annotated[
    str | None,
    typer.Option("--offload-policy", metavar="FILE.py:CLASS", help="Your own offload policy (docs/models.md)."),
]

OffloadThresholdOption = Annotated[
    str | None,
    typer.Option(
        "--offload-threshold", metavar="RATE",
        help="Offload a VM pair that sends more than this rate, such as 100kbit, instead of the file's.",
    ),
]  # fmt: skip

# One process for each role: docs/control-plane.md.
_NEEDS_PROCESSES = "Needs `--control-plane processes`."
ControlPlaneOption = Annotated[
    Literal["one-process", "processes"] | None,
    typer.Option("--control-plane", help="All roles in one process (default), or one process per role."),
]
PartitionsOption = Annotated[
    int | None,
    typer.Option(
        "--partitions",
        metavar="P",
        help=f"Partitions of the hosts. Each has its own VM controllers. Default: 1. {_NEEDS_PROCESSES}",
    ),
]
ReplicasOption = Annotated[
    int | None,
    typer.Option(
        "--replicas",
        metavar="R",
        help=f"VM controllers per partition. One of them is the master. Default: 3. {_NEEDS_PROCESSES}",
    ),
]
FrontEndsOption = Annotated[
    int | None, typer.Option("--front-ends", metavar="F", help=f"OpenFlow front ends. Default: 1. {_NEEDS_PROCESSES}")
]
StoreOption = Annotated[
    Literal["embedded", "etcd"] | None,
    typer.Option(
        "--store", help=f"Store for elections: embedded in the fabric manager (default), or etcd. {_NEEDS_PROCESSES}"
    ),
]


def up(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="A topology file, a pipe, or the name of a shipped one.")
    ] = "demo",
    run: NewRun = None,
    model: ModelOption = None,
    dataplane: DataplaneOption = None,
    scheduling: SchedulingOption = None,
    offload_policy: OffloadPolicyOption = None,
    offload_threshold: OffloadThresholdOption = None,
    control_plane: ControlPlaneOption = None,
    partitions: PartitionsOption = None,
    replicas: ReplicasOption = None,
    front_ends: FrontEndsOption = None,
    store: StoreOption = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave the run in the background, without a prompt.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Check the file, and start nothing.")] = False,
    linger: Annotated[
        bool, typer.Option("--linger", help="As an ordinary user: the run stays when you log out (docs/rootless.md).")
    ] = False,
    rootless_: Rootless = False,
    as_json: Json = False,
) -> None:
    """Bring a topology up as a run. Without --detach you get a prompt. Leaving it takes the run down."""
    options = {
        "model": model, "dataplane": dataplane, "scheduling": scheduling, "offload_policy": offload_policy,
        "offload_threshold": offload_threshold,
    }  # fmt: skip
    control: dict[str, Any] = {
        "control_plane": control_plane, "partitions": partitions, "replicas": replicas, "front_ends": front_ends,
        "store": store,
    }  # fmt: skip
    if check:
        from topologies.spec.schema import read

        given = read(file)  # once: the check may run twice, and a pipe cannot be read again
        raise typer.Exit(unprivileged.checked(lambda: _print_check(file, given, run, options, control, as_json)))
    if as_json and not detach:
        raise InputError("--json needs --detach", where="up", next_step="add --detach, or leave --json out")
    runs.mention_orphans()
    rootless.enter_new(stay=True, linger=linger)
    from topologies.cluster.control_processes import ControlLayout

    # Faults of options and file show here, before anything is started.
    layout = ControlLayout.of(**control)
    if not detach:
        raise typer.Exit(foreground(file, run, context.find_root().command, control=layout, **options))
    from console.show.progress import PhaseProgress
    from topologies.client.run_client import start_detached
    from topologies.spec import external, schema

    given = schema.read(file)
    topology = schema.parse(**given)
    if dataplane is not None:
        topology = topology.with_dataplane(dataplane)
    name = run or topology.name
    options["offload_policy"] = _absolute(offload_policy)
    with guard.ended_by_signals() as signals:
        with PhaseProgress() as progress:
            ready = start_detached(
                given, run=name, control=control, progress=progress, last_chance=signals.ignore, **options
            )
        _print_notes(external.notes(topology))
        found = [notice.document() for notice in topology.notices]
        show_warnings(found)
        if as_json:
            print_json({**ready, "warnings": found})
        else:
            print(f"run {name!r} is up; end it with: {rootless.command()} down --run {name}")
            if linger:
                print(
                    "it stays when you log out, if the machine allows it: sudo loginctl enable-linger $USER",
                    file=sys.stderr,
                )


def _print_check(
    file: str, given: TopologyText, run: str | None, options: dict[str, Any], control: dict[str, Any], as_json: bool
) -> None:
    """Print whether `Testbed` takes these arguments: its checks, without those of the machine."""
    from hoverboard.contract.change_documents import Checked
    from topologies.cluster.control_processes import ControlLayout
    from topologies.processes.run_directory import RunDirectory
    from topologies.run.run_options import check_start, with_options
    from topologies.spec import external, schema

    layout = ControlLayout.of(**control)
    topology = with_options(schema.parse(**given), **options)
    check_start(topology, layout, RunDirectory.of(run or topology.name))
    _print_notes(external.notes(topology))
    found: Checked = {
        "ok": True,
        "name": topology.name,
        "model": topology.model,
        "hosts": len(topology.hosts),
        "hoverboards": len(topology.hoverboards),
        "networks": len(topology.networks),
        "vms": len(topology.vms),
        "warnings": [notice.document() for notice in topology.notices],
    }
    show_warnings(found["warnings"])
    if as_json:
        print_json(found)
    else:
        verdict = count_warnings(len(found["warnings"])) if found["warnings"] else "fine"
        print(
            f"{file}: {verdict}: {_count(found['hosts'], 'host')}, {_count(found['hoverboards'], 'Hoverboard')}, "
            f"{_count(found['networks'], 'network')}, {_count(found['vms'], 'VM')}, model {topology.model}"
        )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _print_notes(notes: Iterable[str]) -> None:
    """Print on stderr what works on fewer dataplanes than people may expect."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def _absolute(policy: str | None) -> str | None:
    """The absolute path of an offload policy; "built-in" is none."""
    from hoverboard.contract.plugins import absolute

    return None if policy is None else absolute(policy)


def foreground(file: str, run: str | None, command: Callable[..., object], **options: Any) -> int:
    """Bring a run up in this process, hold it until its prompt ends, and take it down.

    Args:
        file: the topology file, or the name of a shipped topology.
        run: the run's name; None: the topology's.
        command: the `hoverboard` command, whose verbs can be typed at the prompt.
        options: those of `Testbed`.
    """
    from console.prompt.run_session import hold
    from console.show.progress import PhaseProgress
    from topologies.run.testbed import Testbed
    from topologies.spec import external

    warnings.simplefilter("ignore", HoverboardWarning)  # they are printed below
    testbed = Testbed(file, run=run, **options)
    with guard.ended_by_signals():
        try:
            with PhaseProgress() as progress:
                testbed.up(progress)
            _print_notes(external.notes(testbed.topology))
            show_warnings(notice.document() for notice in testbed.topology.notices)
            return hold(testbed, command)
        finally:
            try:
                # Writing to a closed terminal fails. The run has to be taken down all the same.
                with contextlib.suppress(OSError):
                    if testbed.state != "down":
                        print(f"taking {testbed.run!r} down", file=sys.stderr)
            finally:
                testbed.down()
