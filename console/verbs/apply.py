"""`hoverboard apply`: changes a run to match a topology file (docs/fabric-manager.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console import runs, unprivileged
from console.show.json_output import print_json
from console.show.link_rows import link_lines
from console.show.notices import show_warnings
from console.show.offload import offload_lines
from console.verbs.options import Json, Run

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import Applied

_TIMEOUT = 600.0  # seconds; a file may add many VMs


def apply(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A topology file, a pipe, or the name of a shipped one.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    run: Run = None,
    as_json: Json = False,
) -> None:
    """Change a run to match FILE: VMs, networks, firewalls, load balancers, routes, rates, links and offload policy."""
    from topologies.client.run_client import RunClient
    from topologies.spec import schema

    given = schema.read(file)
    if dry_run and (code := unprivileged.checked(lambda: schema.parse(**given), only_files=True)):
        raise typer.Exit(code)
    with RunClient(runs.live(run), timeout=_TIMEOUT) as client:
        plan = client.apply(
            text=given["text"], source=given["source"], name=given["name"], base=str(given["base"].absolute()),
            dry_run=dry_run,
        )  # fmt: skip
    if as_json:
        print_json(plan)
        show_warnings(plan["warnings"])
    else:
        show(plan, dry_run=dry_run)


def show(plan: Applied, *, dry_run: bool) -> None:
    """Print a plan, and whether it was applied."""
    from console.show import tables

    show_warnings(plan["warnings"])
    lines = list(_plan_lines(plan))
    for line in lines:
        print(line)
    if plan["switches"]:
        touched = (
            (name, flows["added"], flows["changed"], flows["removed"]) for name, flows in plan["switches"].items()
        )
        print(f"switches touched: {len(plan['switches'])}")
        tables.show([tables.table("flows", ("switch", "#added", "#changed", "#removed"), touched)])
    for plane in plan.get("planes", ()):
        if plane["version"] is None:
            print(
                f"the {plane['scope']} {plane['region']} control plane does not answer; it gets the change when it does"
            )
    if not lines:
        print(f"run {plan['run']!r} matches the file: nothing to do")
    elif dry_run:
        print(f"dry run: nothing was changed in run {plan['run']!r}")
    else:
        print(f"applied to run {plan['run']!r}, now at version {plan['version']}, in {plan['seconds']:.2f} s")


def _plan_lines(plan: Applied) -> Iterator[str]:
    for entity in plan["added"]:
        yield f"+ {entity['type']} {entity['name']}{_parameters(entity)}"
    for change in plan["changed"]:
        fields = ", ".join(
            f"{name}: {_value(value['from'])} -> {_value(value['to'])}" for name, value in change["fields"].items()
        )
        yield f"~ {change['type']} {change['name']}  {fields}"
    for entity in plan["removed"]:
        yield f"- {entity['type']} {entity['name']}"
    yield from offload_lines(plan["offload"])
    yield from link_lines(plan["links"])
    vms = plan["vms"]
    if vms["build"]:
        places = (f"{vm['name']} on {vm['host']}" for vm in vms["build"])
        yield f"VMs to build: {_abbreviate(places)}"
    if vms["remove"]:
        yield f"VMs to remove: {_abbreviate(vms['remove'])}"
    for vm in vms["alter"]:
        rate = "no limit" if vm["rate_bps"] is None else f"{vm['rate_bps']} bit/s"
        shared = ", ".join(vm["shared_addresses"]) or "none"
        yield f"VM to alter: {vm['name']}, rate {rate}, shared addresses {shared}"


def _parameters(entity: Mapping[str, Any]) -> str:
    shown = [
        f"{key}={','.join(map(_ports, value)) if key == 'ports' else _value(value)}"
        for key, value in entity.items()
        if key not in ("type", "name")
    ]
    return f"  {' '.join(shown)}" if shown else ""


def _ports(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}-{pair[1]}"


def _value(value: Any) -> str:
    return ",".join(map(_value, value)) if isinstance(value, list) else str(value)


def _abbreviate(names: Iterable[str], most: int = 8) -> str:
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
