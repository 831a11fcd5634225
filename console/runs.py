"""Finds the run that a command is for, and goes where it is, before anything is done."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hoverboard.contract.errors import MachineError, RunError


def need_root(what: str) -> None:
    """Check that the caller is root, of the machine or of namespaces; raise MachineError otherwise."""
    if os.geteuid() != 0:
        raise MachineError(
            f"{what} needs root, or namespaces of your own", next_step="start it with: hoverboard python -m MODULE"
        )


def takes_run(command: Any) -> bool:
    """Whether a command of the command line has a `--run`, or a command below it has one."""
    below = getattr(command, "commands", {}).values()
    return any(map(takes_run, below)) if below else any(option.name == "run" for option in command.params)


def choose(given: str | None, runs: list[str]) -> str:
    """The given run, or else the only one of `runs`.

    Raises:
        RunError: no name is given, and not exactly one run is up.
    """
    if given is not None:
        return given
    if len(runs) == 1:
        return runs[0]
    if not runs:
        raise RunError("no run is up", next_step=_start_one())
    raise RunError(f"{len(runs)} runs are up: {', '.join(runs)}", next_step="name one with --run NAME")


def _start_one() -> str:
    """How to get a run; an ordinary user may have meant one of root's, whose names all may see."""
    step = "start one with: hoverboard up"
    if os.geteuid() == 0 or os.environ.get("HOVERBOARD_STATE_DIR"):
        return step
    from topologies.processes.run_directory import DEFAULT_STATE_DIR

    try:
        names = sorted(one for one in os.listdir(DEFAULT_STATE_DIR) if not one.startswith("."))
    except OSError:
        names = []
    return f"{step}; root's are for root: {', '.join(names)}" if names else step


def live(given: str | None) -> str:
    """The given run, or else the only one that is up. Orphans are mentioned on stderr."""
    from topologies.client.run_client import live_runs

    mention_orphans()
    return find(given, live_runs)


def entered(given: str | None) -> str:
    """As `live`; and this process is in the run's namespaces: an ordinary user's command starts once more there."""
    from console import rootless

    name = live(given)
    rootless.enter_run(name)
    return name


def find(given: str | None, names: Callable[[Path], list[str]]) -> str:
    """The given run, or else the only one. Later lookups are in its state directory: a user may have two.

    Args:
        given: its name.
        names: lists the runs of a state directory.
    """
    from topologies.processes.run_directory import state_dirs

    places = state_dirs()
    if len(places) == 1:
        return choose(given, names(places[0]) if given is None else [])
    found = {name: place for place in reversed(places) for name in names(place)}
    chosen = choose(given, sorted(found))
    _use(found.get(chosen, places[0]))
    return chosen


def _use(place: Path) -> None:
    os.environ["HOVERBOARD_STATE_DIR"] = str(place)


def mention_orphans() -> None:
    """Name on stderr the runs whose holder died or whose directory is gone, and the command that ends them."""
    from console import rootless
    from topologies.client import orphans

    if rootless.goes_on():
        return  # it has named those that it saw from outside
    if found := orphans.find(everywhere=False):
        names = ", ".join(str(one) for one in found)
        print(f"hoverboard: orphaned: {names}; end with: hoverboard down --orphans", file=sys.stderr)
