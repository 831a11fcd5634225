"""The `hoverboard` command: its verbs and their options. Each verb asks a layer below and shows the answer.

Imports of the layers below stand inside the verbs: `--help` and tab completion must not pay for them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console import guard, runs
from console.verbs import apply, experiment, looking, model, up
from hoverboard.contract.errors import InputError, MachineError

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import ListedVM


app = typer.Typer(
    cls=guard.GuardedGroup,
    help="A testbed that re-creates Google's Andromeda on Mininet and Open vSwitch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
vm_app = typer.Typer(help="Add, remove and list the VMs of a run.", no_args_is_help=True)
app.add_typer(vm_app, name="vm")
app.add_typer(model.app, name="model")
app.add_typer(experiment.app, name="experiment")
app.command()(looking.capture)
app.command()(looking.latency)
app.command()(apply.apply)

Run = Annotated[str | None, typer.Option("--run", metavar="NAME", help="Which run; not needed when one is up.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _dump(document: Any) -> None:
    print(json.dumps(document, indent=2))


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        try:
            print(f"hoverboard {metadata.version('hoverboard')}")
        except metadata.PackageNotFoundError:
            print("hoverboard (not installed: run from a checkout)")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the command itself."""


@app.command()
def demo(
    run: Annotated[str, typer.Option("--run", metavar="NAME", help="Prefix of the names of its runs.")] = "demo",
    generation: Annotated[
        str,
        typer.Option(
            "--generation",
            metavar="NAME,...",
            help="Dataplane generations, by comma; `all`: all that this machine can have.",
        ),  # fmt: skip
    ] = "fastpath,ovs",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where results go; default results/demo-DATE.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show it all: two tenants, a flow that starts on a Hoverboard and is offloaded, two dataplanes, a report."""
    runs.need_root("demo")
    from console.show.progress import StepProgress
    from experiments.demo import demo as experiment
    from experiments.demo import demo_report

    folder = out if out is not None else demo_report.default_folder()
    with guard.ended_by_signals(), StepProgress() as progress:
        result = experiment.run(experiment.demo_spec(run, generation), progress)
        progress("writing the report", 0.99)
        summary = demo_report.write(result, folder)
    if as_json:
        _dump(summary)
    else:
        from console.show import demo_tables, tables

        tables.show(demo_tables.demo(summary))
        if summary["ok"]:
            print("all checks passed: tenants reach themselves and not each other; the flow was offloaded")
        print(f"{summary['seconds']:.0f} s; report: {folder / 'report.html'}")
    if not summary["ok"]:
        raise typer.Exit(1)


app.command()(up.up)


@app.command()
def status(
    node: Annotated[str | None, typer.Argument(metavar="[NODE]", help="One node instead of the run.")] = None,
    run: Run = None,
    as_json: Json = False,
) -> None:
    """What is up: servers, networks, VMs, counters; or one node with its drops by reason."""
    runs.need_root("status")
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        whole = client.status() if node is None else None
        part = client.node_status(node) if node is not None else None
    if as_json:
        _dump(whole or part)
        return
    from console.show import tables

    if whole is not None:
        tables.show(tables.status(whole))
    elif part is not None:
        tables.show(tables.node(part))


@app.command(
    "exec",
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True},
    options_metavar="[--run NAME]",
)
def execute(
    node: Annotated[str, typer.Argument(metavar="NODE", help="A VM, host or Hoverboard.")],
    command: Annotated[list[str], typer.Argument(metavar="-- CMD ...", help="The command and its arguments.")],
    run: Run = None,
) -> None:
    """Run a command in a node, with this terminal; its exit code is ours."""
    runs.need_root("exec")
    given, argv = split_command(command)
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(given or run)) as client:
        pid = client.pid_of(node)
    sys.stdout.flush()
    try:
        os.execvp("mnexec", ["mnexec", "-a", str(pid), *argv])
    except FileNotFoundError:
        raise MachineError("mnexec is not installed", next_step="run `sudo ./bootstrap.sh demo`") from None


def split_command(words: list[str]) -> tuple[str | None, list[str]]:
    """What stands behind NODE: --run between NODE and `--`, if it is there, and the command."""
    run = None
    if "--" in words:
        at = words.index("--")
        if at == 2 and words[0] == "--run":
            run, words = words[1], words[at:]
        elif at == 1 and words[0].startswith("--run="):
            run, words = words[0].removeprefix("--run="), words[at:]
    argv = words[1:] if words[:1] == ["--"] else words
    if not argv:
        raise InputError(
            "there is no command to run", where="exec", next_step="hoverboard exec NODE -- ping -c 3 10.0.0.3"
        )
    return run, argv


@app.command()
def down(
    run: Annotated[str | None, typer.Option("--run", metavar="NAME", help="Which run.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All runs, dead ones too.")] = False,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="Only what runs have left whose holder died, or whose directory is gone.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take a run down, or what a dead one has left; nothing else is touched."""
    runs.need_root("down")
    if everything and (orphans or run is not None):
        other = "--orphans" if orphans else "--run"
        raise InputError(f"{other} and --all exclude each other", where="down", next_step="give one of them")
    if orphans:
        runs.end_orphans(run, as_json)
        return
    from topologies.client import run_client
    from topologies.processes.run_directory import run_names

    try:
        names = run_names() if everything else [runs.choose(run, run_names() if run is None else [])]
        for name in names:
            run_client.down(name, missing_ok=everything)
    finally:
        runs.mention_orphans()
    if as_json:
        _dump({"down": names})
    else:
        print(f"down: {', '.join(names)}" if names else "nothing was up")


@app.command()
def flows(
    node: Annotated[str, typer.Argument(metavar="NODE", help="A host or Hoverboard.")],
    run: Run = None,
    as_json: Json = False,
) -> None:
    """A switch's OpenFlow flows, and its dataplane's flow table with what each entry carried."""
    runs.need_root("flows")
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        document = client.flows(node)
    if as_json:
        _dump(document)
        return
    from console.show import tables

    tables.show([tables.entries(document)])
    print(f"OpenFlow: {len(document['openflow'])} flows")
    for line in document["openflow"]:
        print(f"  {line}")


@app.command()
def offloads(run: Run = None, as_json: Json = False) -> None:
    """VM pairs that have left the Hoverboard and go host to host."""
    runs.need_root("offloads")
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        document = client.offloads()
    if as_json:
        _dump(document)
        return
    from console.show import tables

    tables.show([tables.offloads(document)])


@app.command()
def doctor(as_json: Json = False) -> None:
    """What this machine has, lacks, and what follows from it."""
    from console.doctor.doctor import print_doctor

    raise typer.Exit(print_doctor(as_json))


@vm_app.command("add")
def vm_add(
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="The virtual network.")],
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Default: the next free one.")] = None,
    host: Annotated[str | None, typer.Option("--host", metavar="HOST", help="Default: the emptiest.")] = None,
    run: Run = None,
    as_json: Json = False,
) -> None:
    """Add a VM; returns when its gateway answers."""
    runs.need_root("vm add")
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        added = client.add_vm(network, name, host)
    if as_json:
        _dump(added)
    else:
        print(f"added {added['name']}: {added['ip']} on {added['host']}")


@vm_app.command("remove")
def vm_remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The VM.")], run: Run = None, as_json: Json = False
) -> None:
    """Remove a VM."""
    runs.need_root("vm remove")
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        client.remove_vm(name)
    if as_json:
        _dump({"removed": name})
    else:
        print(f"removed {name}")


@vm_app.command("list")
def vm_list(run: Run = None, as_json: Json = False) -> None:
    """All VMs of a run."""
    runs.need_root("vm list")
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        networks = client.status()["networks"]
    found: list[ListedVM] = [{**vm, "network": network["name"]} for network in networks for vm in network["vms"]]
    if as_json:
        _dump(found)
        return
    from console.show import tables

    tables.show([tables.vms(found)])


def main() -> None:
    """Entry point of the `hoverboard` command."""
    app(prog_name="hoverboard")


if __name__ == "__main__":
    main()
