"""`hoverboard model`: shows the programming model of a run, and changes it while the run is up (docs/models.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from console import runs
from console.show.json_output import print_json
from console.verbs.options import Json, Run, RunBefore, resolve_model
from hoverboard.contract.errors import counted
from hoverboard.contract.models import MODELS, choices

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import ModelShown

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
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        done = client.set_model(model)
    if as_json:
        print_json(done)
    else:
        print(f"model {done['model']} instead of {done['from']}, after {done['seconds']:.1f} s")


@app.command("show")
def model_show(run: Run = None, as_json: Json = False) -> None:
    """Show the programming model of a run, what it has decided, and the number of flows of each node."""
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
        "offload_threshold_bps": control.get("offload_threshold_bps"),
        "offload_idle_expiry_s": control.get("offload_idle_expiry_s"),
        "report_interval_s": control.get("report_interval_s"),
    }
    if as_json:
        print_json(shown)
        return
    for line in shown_lines(shown):
        print(line)


def shown_lines(shown: ModelShown) -> Iterator[str]:
    """The lines of `model show`: the work of the model, its decisions so far, and the flows of each switch."""
    yield f"model {shown['model']}" + (f", changing: {shown['switching']}" if shown["switching"] else "")
    facts = MODELS.get(shown["model"] or "")
    if facts is not None:
        yield f"  {facts.summary}"
    if shown["offloads"] or (facts is not None and facts.offloads):
        yield f"  {counted(shown['offloads'] or 0, 'VM pair')} with a direct path: hoverboard offloads{_limits(shown)}"
    if facts is not None and facts.answers:
        yield f"  {counted(shown['lookups'] or 0, 'question')} of hosts with an answer now"
    for name, count in shown["flows"].items():
        down = ", left out of default routes" if name in (shown["hoverboards_down"] or ()) else ""
        yield f"  {name}: {counted(count, 'flow')}{down}"


def _limits(shown: ModelShown) -> str:
    """The conditions on which a pair gets a direct path, and loses it again."""
    from console.show.tables import rate

    threshold, idle, interval = (
        shown["offload_threshold_bps"], shown["offload_idle_expiry_s"], shown["report_interval_s"]
    )  # fmt: skip
    if threshold is None or idle is None or interval is None:
        return ""
    return f" (from {rate(threshold)} in {interval:g} s; without traffic for {idle:g} s it goes)"
