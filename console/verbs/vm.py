"""`hoverboard vm`: adds, removes and lists the VMs of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from console import runs
from console.show.json_output import print_json
from console.show.notices import show_warnings
from console.verbs.options import Json, Run, RunBefore

app = typer.Typer(help="Add, remove and list the VMs of a run.", no_args_is_help=True)


@app.callback()
def _group(run: RunBefore = None) -> None:
    """Declare the option that may stand before the verb."""


@app.command("add")
def vm_add(
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="The virtual network.")],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Name of the VM. Default: the next free name.")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="HOST", help="Host of the VM. Default: the host with the fewest VMs."),
    ] = None,
    ip: Annotated[
        str | None, typer.Option("--ip", metavar="ADDRESS", help="Its address. Default: the first free one.")
    ] = None,
    ip6: Annotated[
        str | None,
        typer.Option("--ip6", metavar="ADDRESS|none", help="Its IPv6 address. Default: the first free one."),
    ] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option("--tags", metavar="TAG,...", help="Its tags, for firewall rules. May be given several times."),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option("--rate", metavar="RATE", help="Most that it sends, such as 100mbit. Default: as its network."),
    ] = None,
    run: Run = None,
    as_json: Json = False,
) -> None:
    """Add a VM, and return when its gateway answers."""
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        added = client.add_vm(
            network, name, host, ip=ip, ip6=False if ip6 == "none" else ip6, tags=_split(tags), rate=rate
        )
    if as_json:
        print_json(added)
    else:
        limit = f", at most {added['rate_bps']} bit/s" if added["rate_bps"] is not None else ""
        tags_text = f", tags {', '.join(added['tags'])}" if added["tags"] else ""
        print(f"added {added['name']}: {added['ip']} on {added['host']}{limit}{tags_text}")


def _split(tags: list[str] | None) -> list[str]:
    """The tags of all options: each has one or several, with commas in between."""
    return [tag.strip() for given in tags or () for tag in given.split(",") if tag.strip()]


@app.command("remove")
def vm_remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The VM.")], run: Run = None, as_json: Json = False
) -> None:
    """Remove a VM."""
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        done = client.remove_vm(name)
    if as_json:
        print_json(done)
    else:
        print(f"removed {name}")
    show_warnings(done["warnings"])


@app.command("list")
def vm_list(run: Run = None, as_json: Json = False) -> None:
    """List the VMs of a run."""
    from hoverboard.contract.change_documents import ListedVM
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        networks = client.status()["networks"]
    found: list[ListedVM] = [{**vm, "network": network["name"]} for network in networks for vm in network["vms"]]
    if as_json:
        print_json(found)
        return
    from console.show import tables

    tables.show([tables.vms(found)])
