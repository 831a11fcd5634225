"""Makes tables of the documents that `--json` prints. All functions but `show` are pure."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from console.plain_text import plain, unfiltered
from console.show.link_rows import link_rows
from hoverboard.contract.errors import counted

if TYPE_CHECKING:
    from hoverboard.contract import change_documents as changes
    from hoverboard.contract import documents
    from hoverboard.contract import node_documents as nodes


Percentile = Literal["p50_us", "p90_us", "p99_us", "p99.9_us"]


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    """A plain table. A column whose name starts with "#" is aligned to the right."""
    made = Table(title=plain(title), box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        made.add_column(column.lstrip("#"), justify="right" if column.startswith("#") else "left")
    for row in rows:
        made.add_row(*(escape(plain(str(cell))) for cell in row))
    return made


def rate(bps: float | None) -> str:
    """A rate with its unit; the value is in bit/s."""
    if bps is None:
        return "-"
    for unit, size in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if bps >= size:
            return f"{bps / size:.2f} {unit}"
    return f"{bps:.0f} bit/s"


def milliseconds(value: float | None) -> str:
    """A round trip as text; the value is in milliseconds."""
    return "-" if value is None else f"{value:.3f} ms"


def _state(server: documents.Server) -> str:
    """The state of a node, and who programs it if that is not our control plane."""
    state = server.get("state", "up")
    return f"{state}, {server['program']}" if "program" in server else state


def status(document: documents.Status) -> list[Table]:
    """The tables of a run."""
    hosts = [*document["hosts"], *document["hoverboards"]]
    heading = f"run {document['run']}: {document.get('state', 'up')}, model {document['model']}"
    made = [
        table(
            heading,
            ("node", "dataplane", "datapath", "state", "VMs"),
            (
                (
                    server["name"], server["dataplane"], server["datapath_type"], _state(server),
                    _abbreviate(server["vms"]) if "vms" in server else "Hoverboard",
                )
                for server in hosts
            ),
        )
    ]  # fmt: skip
    made += [
        table(
            f"network {network['name']}: VNI {network['vni']}, {network['subnet']}, "
            f"{counted(len(network['vms']), 'VM')}",
            ("VM", "address", "host"),
            ((vm["name"], _addresses(vm), vm["host"]) for vm in network["vms"]),
        )
        for network in document["networks"]
    ]
    if document.get("cpu"):
        made.append(
            table(
                "CPU by VM",
                ("VM", "host", "#fast path", "#VMM", "#coprocessor", "#guest"),
                (
                    (
                        row["vm"], row["host"], _seconds(row["fastpath_seconds"]), _seconds(row.get("vmm_seconds")),
                        _seconds(row["coprocessor_seconds"]), _seconds(row["guest_seconds"]),
                    )
                    for row in document["cpu"]
                ),
            )
        )  # fmt: skip
    if "control" in document:
        made.append(control_plane(document["control"]))
    if document.get("control", {}).get("processes"):
        made.append(control(document["control"]))
    if document.get("wan"):
        between = " and ".join(document["wan"]["regions"])
        made.append(table(f"WAN between {between}", ("what", "value"), link_rows(document["wan"])))
    made += [
        table(f"uplink of {server['name']}", ("what", "value"), link_rows(server["uplink"]))
        for server in hosts
        if "uplink" in server
    ]
    if document.get("control", {}).get("planes"):
        made.append(planes(document["control"]["planes"]))
    made.append(counters(document["counters"]))
    if document.get("dropped_by"):
        made.append(dropped_by(document["dropped_by"]))
    if document.get("supervision", {}).get("processes"):
        made.append(supervision(document["supervision"]))
    return made


def rootless(document: documents.Status) -> str:
    """The line about an ordinary user's run: what it does without, and what follows."""
    lacks = "; ".join(f"{one['what']} ({one['consequence']})" for one in document["without"])
    return plain(f"rootless: in namespaces of your own, without {lacks}")


def control_plane(document: documents.Control) -> Table:
    """The state of the control plane, its restarts, and its offload policy with the last error."""
    rows: list[tuple[str, object]] = [("state", document["state"])]
    if "error" in document:
        rows.append(("", document["error"].partition("\n")[0]))
    if "pid" in document:
        rows += [("pid", or_dash(document["pid"])), ("restarts", document["restarts"])]
    policy = document.get("offload_policy")
    if policy is not None:
        rows.append(("offload threshold", rate(policy["threshold_bps"])))
        rows.append(("offload policy", policy["policy"] or "built-in"))
        if policy["errors"]:
            rows.append(("errors of the policy", policy["errors"]))
            rows.append(("its last error", policy["last_error"]))
    return table("control plane", ("what", "value"), rows)


def control(document: documents.Control) -> Table:
    """The processes of a control plane that has one process per role."""
    known: dict[int | None, documents.Controller] = {one["pid"]: one for one in document.get("controllers", ())}
    title = "processes of the control plane"
    if "store" in document:
        title += f": {counted(document['partitions'], 'partition')}, {document['store']} store"
    return table(
        title,
        ("process", "#pid", "state", "#restarts", "master", "#term", "#switches"),
        (
            (
                one["name"], one["pid"], one["state"], one["restarts"],
                *_mastership(known.get(one["pid"])),
            )
            for one in document["processes"]
        ),
    )  # fmt: skip


def _mastership(controller: documents.Controller | None) -> tuple[object, object, object]:
    """Cells of a controller: whether it is master, its term, its number of switches."""
    if controller is None:
        return "", "-", "-"
    return "master" if controller["master"] else "", or_dash(controller["term"]), or_dash(controller["switches"])


def planes(rows: Iterable[documents.Plane]) -> Table:
    """The control planes of regions."""
    return table(
        "control planes",
        ("region", "scope", "state", "#pid", "#restarts", "#VMs", "#flows", "#offloads"),
        (
            (one["region"], one["scope"], one["state"], one["pid"], one["restarts"],
             *(or_dash(one.get(key)) for key in ("vms", "flows", "offloads")))
            for one in rows
        ),
    )  # fmt: skip


def or_dash(value: object) -> object:
    """The value, or "-" for None."""
    return "-" if value is None else value


def supervision(document: documents.Supervision) -> Table:
    """Processes that died, with their state and their restarts."""
    return table(
        f"{counted(document['restarts'], 'restart')} of {counted(document['watched'], 'process', 'processes')}",
        ("process", "node", "state", "#restarts", "last", "last death"),
        (
            (row["what"], row["server"] or "", row["state"], row["restarts"], row["last"] or "", _death(row))
            for row in document["processes"]
        ),
    )


def _death(row: documents.Supervised) -> str:
    """Time and reason of the last death."""
    return f"{row['died_at']}: {row['why'] or 'reason unknown'}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _addresses(vm: documents.Addresses) -> str:
    return ", ".join(vm[key] for key in ("ip", "ip6") if vm.get(key))


def _abbreviate(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names)})" if len(names) > most else "")


def counters(document: documents.Counters) -> Table:
    """Counters. Drops by reason come last; `dropped_by` has those that an OpenFlow flow decided in words."""
    flat = {key: value for key, value in document.items() if not isinstance(value, Mapping)}
    for key, group in document.items():
        if isinstance(group, Mapping) and key != "drops_by_flow":
            flat |= {f"{key}: {reason}": count for reason, count in group.items()}
    return table("counters", ("counter", "#value"), flat.items())


def dropped_by(rows: Iterable[documents.DroppedBy]) -> Table:
    """Drops that OpenFlow flows decided, with the rule or the flow that did."""
    return table(
        "dropped by", ("reason", "cause", "#packets"), ((row["reason"], row["cause"], row["packets"]) for row in rows)
    )


def node(document: nodes.Node) -> list[Table]:
    """The tables of one node."""
    plain = {key: value for key, value in document.items() if not isinstance(value, (dict, list))}
    made = [table(f"node {document.get('node', '')}", ("what", "value"), plain.items())]
    if document["role"] == "vm" or document["role"] == "fabric" or document["state"] == "unreachable":
        return made
    if document["vports"]:
        made.append(
            table(
                "virtual ports", ("VM", "vport", "#OpenFlow port"),
                ((port["vm"], port["vport"], port["ofport"]) for port in document["vports"]),
            )
        )  # fmt: skip
    if document["vms"]:
        made += _vm_tables(document["vms"])
    made.append(counters(document["counters"]))
    if document["dropped_by"]:
        made.append(dropped_by(document["dropped_by"]))
    if document["rates"]:
        made.append(rates(document["rates"]))
    made.append(table("flow table", ("what", "#value"), document["flow_table"].items()))
    return made


def _vm_tables(vms: Mapping[str, nodes.NodeVM]) -> list[Table]:
    """CPU by VM, and the coprocessors of VMs that have one."""
    busy = {name: one for name, facts in vms.items() if (one := facts["coprocessor"])}
    made = [
        table(
            "CPU by VM",
            ("VM", "#rate limit", "#fast path", "#VMM", "#coprocessor", "#guest", "charged by"),
            (
                (
                    name, rate(facts.get("rate_bps")), _seconds(facts["fastpath_seconds"]),
                    _seconds(facts.get("vmm_seconds")),
                    _seconds(busy[name]["cpu_seconds"] if name in busy else None),
                    _seconds(facts.get("guest_seconds")), busy[name]["account"] if name in busy else "-",
                )
                for name, facts in vms.items()
            ),
        )
    ]  # fmt: skip
    if busy:
        made.append(
            table(
                "coprocessors",
                ("VM", "#packets", "#given back", "#held", "#samples", "#lost", "drops", "stages", "blocked sources"),
                (
                    (
                        name,
                        one["packets"],
                        one["given"],
                        one["held"],
                        one["samples"],
                        one["samples_lost"],
                        _counts(one["drops"]),
                        _stages(one["stages"]),
                        _first_names(one["blocked"]),
                    )
                    for name, one in busy.items()
                ),
            )
        )
    return made


def _first_names(names: list[str], shown: int = 3) -> str:
    """The first names of a list, and the number of the others."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "") or "-"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "-"


def _stages(stages: Mapping[str, Mapping[str, Any]]) -> str:
    """Names of stages, each with its errors."""
    return ", ".join(
        name
        + (f" ({counted(facts['errors'], 'error')}, last: {facts.get('last_error', '')})" if facts["errors"] else "")
        for name, facts in stages.items()
    )


def rates(document: nodes.Rates) -> Table:
    """Rates by port. rx counts what the engines received from the port."""
    return table(
        f"rates over {document['seconds']:.1f} s", ("port", "#rx packet/s", "#rx", "#tx packet/s", "#tx"),
        (
            (name, f"{one['rx_pps']:.0f}", rate(one["rx_bps"]), f"{one['tx_pps']:.0f}", rate(one["tx_bps"]))
            for name, one in document["ports"].items()
        ),
    )  # fmt: skip


def latency(document: nodes.Latency) -> Table:
    """How long sampled packets stayed inside the engines of a node."""
    keys: tuple[Percentile, ...] = ("p50_us", "p90_us", "p99_us", "p99.9_us")
    return table(
        f"time inside the engines of {document['node']}",
        ("engine", "#samples", *(f"#{name.removesuffix('_us')} (us)" for name in keys)),
        (
            (name, one["samples"], *(_microseconds(one.get(key)) for key in keys))
            for name, one in (("egress", document["egress"]), ("ingress", document["ingress"]))
        ),
    )


def _microseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def offloads(document: Iterable[documents.Offload]) -> Table:
    """VM pairs whose traffic goes host to host."""
    rows = list(document)
    now = time.time()
    return table(
        f"offloads: {counted(len(rows), 'VM pair')} host to host",
        ("network", "source", "destination", "from host", "to host", "#since", "#rate"),
        (
            (
                row["network"], row["src"], row["dst"], row["src_host"], row["dst_host"],
                f"{max(0.0, now - row['since']):.1f} s", rate(row["rate_bps"]),
            )
            for row in rows
        ),
    )  # fmt: skip


def vms(document: Iterable[changes.ListedVM]) -> Table:
    """All VMs of a run."""
    rows = list(document)
    return table(
        counted(len(rows), "VM"), ("VM", "network", "address", "host", "#rate limit", "tags"),
        (
            (vm["name"], vm["network"], _addresses(vm), vm["host"], rate(vm["rate_bps"]), ", ".join(vm["tags"]))
            for vm in rows
        ),
    )  # fmt: skip


def show(tables: Iterable[Table]) -> None:
    """Print tables to stdout, 140 columns wide where that is not a terminal."""
    out = unfiltered(sys.stdout)
    console = Console(file=out, soft_wrap=False)
    if not console.is_terminal:
        console = Console(file=out, width=140)
    for made in tables:
        # A title inside the table would be wrapped to the table's width.
        console.print(f"[bold]{escape(str(made.title))}[/bold]")
        made.title = None
        console.print(made)
