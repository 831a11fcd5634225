"""`hoverboard prompt`: opens the prompt of a run that is up in the background (docs/prompt.md)."""

from __future__ import annotations

import typer

from console import runs
from console.verbs.options import Run


def prompt(context: typer.Context, run: Run = None) -> None:
    """Open the prompt of a run that another process holds. Leaving it leaves the run up."""
    from console.prompt.run_session import attach
    from topologies.client.run_client import RunClient

    name = runs.entered(run)
    with RunClient(name) as client:
        raise typer.Exit(attach(client, name, context.find_root().command))
