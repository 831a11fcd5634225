"""Which run a command means, and whether its caller may touch it. Says so before anything is tried."""

from __future__ import annotations

import os
import sys

from hoverboard.contract.errors import MachineError, RunError


def need_root(verb: str) -> None:
    """MachineError unless the caller is root."""
    if os.geteuid() != 0:
        raise MachineError(
            f"`hoverboard {verb}` works on network namespaces, which needs root",
            next_step=f"run it as: sudo hoverboard {verb} ...",
        )


def choose(given: str | None, runs: list[str]) -> str:
    """The run that is meant: the one given, or the only one there is; RunError otherwise."""
    if given is not None:
        return given
    if len(runs) == 1:
        return runs[0]
    if not runs:
        raise RunError("no run is up", next_step="start one with: hoverboard up")
    raise RunError(f"{len(runs)} runs are up: {', '.join(runs)}", next_step="say which with --run NAME")


def live(given: str | None) -> str:
    """The run that is meant among those that are up."""
    from topologies.client.run_client import live_runs

    mention_orphans()
    return choose(given, live_runs() if given is None else [])


def mention_orphans() -> None:
    """Say on stderr which runs of the state directory nobody holds or finds any more, and how to end them."""
    from topologies.client import orphans

    if found := orphans.find(everywhere=False):
        names = ", ".join(str(one) for one in found)
        print(f"hoverboard: orphaned: {names}; end with: hoverboard down --orphans", file=sys.stderr)
