"""Finds the run that a command is for, and checks that its caller is root, before anything is done."""

from __future__ import annotations

import os
import sys
from typing import Any

from hoverboard.contract.errors import MachineError, RunError


def need_root(verb: str) -> None:
    """Check that the caller is root; raise MachineError otherwise."""
    if os.geteuid() != 0:
        raise MachineError(
            f"`hoverboard {verb}` needs root, because it uses network namespaces",
            next_step=f"run it as: sudo hoverboard {verb} ...",
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
        raise RunError("no run is up", next_step="start one with: hoverboard up")
    raise RunError(f"{len(runs)} runs are up: {', '.join(runs)}", next_step="name one with --run NAME")


def live(given: str | None) -> str:
    """The given run, or else the only one that is up. Orphans are mentioned on stderr."""
    from topologies.client.run_client import live_runs

    mention_orphans()
    return choose(given, live_runs() if given is None else [])


def mention_orphans() -> None:
    """Name on stderr the runs whose holder died or whose directory is gone, and the command that ends them."""
    from topologies.client import orphans

    if found := orphans.find(everywhere=False):
        names = ", ".join(str(one) for one in found)
        print(f"hoverboard: orphaned: {names}; end with: hoverboard down --orphans", file=sys.stderr)
