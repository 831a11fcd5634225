"""`hoverboard model`: which programming model a run has, and another one while it runs (docs/models.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console import runs
from hoverboard.contract.models import MODELS, choices
from hoverboard.contract.plugins import absolute, file_of

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import ModelShown


def named(model: str | None) -> str | None:
    """A model as typed, by a name that holds in any directory; refused at once when there can be none."""
    if model is None or model in MODELS:
        return model

    if file_of(model) is None:
        raise typer.BadParameter(f"{model!r} is not one of {choices()}, and not a FILE.py:Class.")
    return absolute(model, Path())


Run = Annotated[str | None, typer.Option("--run", metavar="NAME", help="Which run; not needed when one is up.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = typer.Typer(help="The programming model of a run.", no_args_is_help=True)


def _print(document: Any) -> None:
    print(json.dumps(document, indent=2))


@app.command("set")
def model_set(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", callback=named, help=f"{choices()}, or FILE.py:Class (docs/models.md).")
    ],
    run: Run = None,
    as_json: Json = False,
) -> None:
    """Change the programming model of a running testbed; established flows lose no packet."""
    runs.need_root("model set")
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        done = client.set_model(model)
    if as_json:
        _print(done)
    else:
        print(f"model {done['model']} instead of {done['from']}, after {done['seconds']:.1f} s")


@app.command("show")
def model_show(run: Run = None, as_json: Json = False) -> None:
    """The programming model of a run, and what each server holds because of it."""
    runs.need_root("model show")
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
        _print(shown)
        return
    print(f"model {shown['model']}" + (f", changing: {shown['switching']}" if shown["switching"] else ""))
    for name, count in shown["flows"].items():
        down = ", left out of default routes" if name in (shown["hoverboards_down"] or ()) else ""
        print(f"  {name}: {count} flows{down}")
