"""`hoverboard offload`: shows the offload policy of a run, and changes it while the run is up (docs/models.md)."""

from __future__ import annotations

from typing import Annotated

import typer

from console import runs
from console.show.json_output import print_json
from console.show.offload import offload_lines, policy_lines
from console.verbs.options import Json, Run, RunBefore
from hoverboard.contract.errors import InputError, RunError

app = typer.Typer(help="Show or change the offload policy of a run.", no_args_is_help=True)


@app.callback()
def _group(run: RunBefore = None) -> None:
    """Declare the option that may stand before the verb."""


def _option(name: str, metavar: str, text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(name, metavar=metavar, help=text)
    return option


@app.command("set")
def offload_set(
    threshold: Annotated[
        str | None, _option("--threshold", "RATE", "Offload a VM pair that sends more than this, such as 100kbit.")
    ] = None,
    policy: Annotated[
        str | None, _option("--policy", "FILE.py:Class", "Your own policy, or `built-in`. The file is read again.")
    ] = None,
    keep: Annotated[str | None, _option("--keep", "RATE", "An offload that sends more than this is not idle.")] = None,
    min_lifetime: Annotated[
        str | None, _option("--min-lifetime", "TIME", "Time in which no bigger pair displaces an offload.")
    ] = None,
    idle_expiry: Annotated[
        str | None, _option("--idle-expiry", "TIME", "An offload that is idle for so long ends.")
    ] = None,
    budget: Annotated[int | None, _option("--budget", "N", "Most offloads of a host; 0: no limit.")] = None,
    run: Run = None,
    as_json: Json = False,
) -> None:
    """Change the offload policy of a run. Offloads that are there stay, by the new settings."""
    from topologies.client.run_client import RunClient

    given = {
        "threshold": threshold, "policy": policy, "keep": keep, "min_lifetime": min_lifetime,
        "idle_expiry": idle_expiry, "budget": budget,
    }  # fmt: skip
    if all(value is None for value in given.values()):
        raise InputError("nothing to change", where="offload set", next_step="give one of its options; see --help")
    with RunClient(runs.live(run)) as client:
        done = client.set_offload(**given)
        offloads = client.status()["control"].get("offloads") if not as_json else None
    if as_json:
        print_json(done)
        return
    for line in offload_lines(done["changed"]):
        print(line)
    if not done["changed"]:
        print("the policy's file was read again" if policy is not None else "these are the values already")
    print(f"changed run {done['run']!r}; {offloads} VM pairs are offloaded now")


@app.command("show")
def offload_show(run: Run = None, as_json: Json = False) -> None:
    """Show the offload policy of a run, its settings, and its errors."""
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        control = client.status()["control"]
    if "offload_policy" not in control:
        raise RunError(
            "the control plane does not answer", where=control.get("error", ""), next_step="see `hoverboard status`"
        )
    if as_json:
        print_json(control["offload_policy"])
        return
    for line in policy_lines(control["offload_policy"]):
        print(line)
