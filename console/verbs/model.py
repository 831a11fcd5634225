"""`hoverboard model`: shows the programming model of a run, and changes it while the run is up (docs/models.md)."""

from __future__ import annotations

from typing import Annotated

import typer

from console import runs
from console.show.json_output import print_json
from console.verbs.options import Json, Run, RunBefore, resolve_model
from hoverboard.contract.models import choices

app = typer.Typer(help="Show or change the programming model of a run.", no_args_is_help=True)


@app.callback()
def _group(run: RunBefore = None) -> None:
    """Declare the option that may stand before the verb."""


@app.command("set")
def model_set(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", callback=resolve_model, help=f"{choices()}, or FILE.py:Class (docs/models.md)."
        ),
    ],
    run: Run = None,
    as_json: Json = False,
) -> None:
    """Change the programming model of a run. Established flows lose no packet."""
    runs.need_root("model set")
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        done = client.set_model(model)
    if as_json:
        print_json(done)
    else:
        print(f"model {done['model']} instead of {done['from']}, after {done['seconds']:.1f} s")


@app.command("show")
def model_show(run: Run = None, as_json: Json = False) -> None:
    """Show the programming model of a run, and how many flows each host and Hoverboard has."""
    runs.need_root("model show")
    from hoverboard.contract.change_documents import ModelShown
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        control = client.status()["control"]
    shown: ModelShown = {
        "model": control.get("model"),
        "switching": control.get("switching"),
        "offloads": control.get("offloads"),
        "lookups": control.get("lookups"),
        "hoverboards_down": control.get("hoverboards_down"),
        "flows": {name: switch["flows"] for name, switch in control.get("switches", {}).items()},
    }
    if as_json:
        print_json(shown)
        return
    print(f"model {shown['model']}" + (f", changing: {shown['switching']}" if shown["switching"] else ""))
    for name, count in shown["flows"].items():
        down = ", left out of default routes" if name in (shown["hoverboards_down"] or ()) else ""
        print(f"  {name}: {count} flows{down}")
