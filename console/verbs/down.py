"""`hoverboard down`: takes runs down, and removes what dead runs have left (docs/failure.md)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from console import runs
from console.show.json_output import print_json
from console.verbs.options import Json, TypedRun, environment_run
from hoverboard.contract.errors import InputError


def down(
    run: TypedRun = None,
    everything: Annotated[bool, typer.Option("--all", help="Take all runs down, dead ones too.")] = False,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="Remove only orphans: runs whose holder died or whose directory is gone.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take a run down, or remove what a dead run has left. Nothing else is touched."""
    if everything and (orphans or run is not None):
        other = "--orphans" if orphans else "--run"
        raise InputError(f"{other} and --all exclude each other", where="down", next_step="give one of them")
    if orphans:
        _end_orphans(run, as_json)
        return
    from topologies.client import run_client
    from topologies.processes.run_directory import run_names, state_dirs

    try:
        # What is typed names one run; the environment does not keep `--all` and `--orphans` from all others.
        run = run or environment_run()
        if everything:
            names = [name for place in state_dirs() for name in _all_down(place)]
        else:
            names = [runs.find(run, run_names)]
            run_client.down(names[0])
    finally:
        runs.mention_orphans()
    if as_json:
        print_json({"down": names})
    else:
        print(f"down: {', '.join(names)}" if names else "nothing was up")


def _all_down(state: Path) -> list[str]:
    """Take all runs of a state directory down, and forget the logs of failed starts; return the names of the runs."""
    from topologies.client import run_client
    from topologies.processes import failed_logs
    from topologies.processes.run_directory import RunDirectory, run_names

    names = run_names(state)
    for name in names:
        run_client.down(name, state=state, missing_ok=True)
    for name in failed_logs.names(state):
        failed_logs.forget(RunDirectory.of(name, state))
    return names


def _end_orphans(run: str | None, as_json: bool) -> None:
    """Remove what orphans have left: runs whose holder died, or whose directory is gone.

    Args:
        run: only those of this name; None: all.
        as_json: print the names as JSON.
    """
    from topologies.client import orphans

    ended = [orphans.end(one) for one in orphans.find() if run in (None, one.run)]
    for one in ended:
        if one.holder is not None:
            print(
                f"hoverboard: pid {one.holder}, which held {one.run}, also does other work and keeps running",
                file=sys.stderr,
            )
    names = [one.run for one in ended]
    if as_json:
        print_json({"down": names})
    else:
        print(f"down: {', '.join(names)}" if names else "there are no orphans")
