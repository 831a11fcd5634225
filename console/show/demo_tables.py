"""Tables of `hoverboard demo`: the path of the flow, what was measured, and the checks. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.show.tables import milliseconds, rate, table
from hoverboard.contract.errors import counted

if TYPE_CHECKING:
    from rich.table import Table

    from hoverboard.contract import experiment_documents as documents


def demo(summary: documents.Demo) -> list[Table]:
    """All tables of a demonstration."""
    generations = summary["generations"]
    ratios = summary["ratios"]
    heads = [f"#{generation['dataplane']}" for generation in generations]
    rows: list[list[object]] = []
    for index, measured in enumerate(generations[0]["throughput"]):
        streams = measured["streams"]
        values = [rate(generation["throughput"][index]["bps"]) for generation in generations]
        better = ratios.get("throughput", {}).get(str(streams))
        rows.append([f"TCP, {counted(streams, 'stream')}", *values, times(better)])
    trips = [generation["latency_ms"] for generation in generations]
    direct = [milliseconds(one["direct"]["median"]) for one in trips]
    relayed = [milliseconds(one["hoverboard"]["median"]) for one in trips]
    rows.append(["round trip, direct (median)", *direct, times(ratios.get("latency_direct"))])
    rows.append(["round trip, over the Hoverboard (median)", *relayed, times(ratios.get("latency_hoverboard"))])
    rows.append(["pings lost", *(f"{one['lost']} of {one['sent']}" for one in map(_pings, generations)), ""])
    checks = [("passed" if check["ok"] else "FAILED", check["name"], check["detail"]) for check in summary["checks"]]
    return [
        path_table(generations[0]),
        table("VM to VM on two hosts, offloaded", ("", *heads, "#fastpath is better by"), rows),
        table("checks", ("", "what", "seen"), checks),
    ]


def _pings(generation: documents.DemoGeneration) -> documents.Pings:
    return generation["pings"]


def times(ratio: float | None) -> str:
    """A ratio as text."""
    return "-" if ratio is None else f"{ratio:.1f} x"


def path_table(generation: documents.DemoGeneration) -> Table:
    """The path of one flow, second by second."""
    path = generation["path"]
    offloaded_at = path["offloaded_at"]
    rows = []
    before: documents.PathPoint = {"at": 0.0, "hoverboard_bytes": 0, "direct_bytes": 0}
    for second in whole_seconds(path["points"]):
        relayed = second["hoverboard_bytes"] - before["hoverboard_bytes"]
        direct = second["direct_bytes"] - before["direct_bytes"]
        lasted = max(second["at"] - before["at"], 1e-9)
        event = ""
        if offloaded_at is not None and before["at"] < offloaded_at <= second["at"]:
            event = f"offloaded at {offloaded_at:.2f} s"
        rows.append(
            (f"{before['at']:.1f} - {second['at']:.1f} s", rate(8 * relayed / lasted), rate(8 * direct / lasted), event)
        )
        before = second
    return table(
        f"path of {path['src']} -> {path['dst']} on {generation['dataplane']}",
        ("time", "#over the Hoverboard", "#direct", ""),
        rows,
    )


def whole_seconds(points: list[documents.PathPoint]) -> list[documents.PathPoint]:
    """The first point after each whole second, and the last point."""
    chosen = []
    due = 1.0
    for point in points:
        if point["at"] >= due:
            chosen.append(point)
            due = float(int(point["at"]) + 1)
    if points and (not chosen or chosen[-1] is not points[-1]):
        chosen.append(points[-1])
    return [point for point in chosen if point["at"] > 0]
