"""`hoverboard demo`: shows two tenants, an offload and two dataplane generations, and writes a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console import guard, rootless
from console.show.json_output import print_json
from console.verbs.options import DemoRun, Json, Rootless
from hoverboard.contract.errors import MachineError


def demo(
    run: DemoRun = None,
    generation: Annotated[
        str,
        typer.Option(
            "--generation",
            metavar="NAME,...",
            help="Dataplane generations, separated by commas. `all`: all that this machine supports.",
        ),  # fmt: skip
    ] = "fastpath,ovs",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the results. Default: results/demo-DATE.")
    ] = None,
    rootless_: Rootless = False,
    as_json: Json = False,
) -> None:
    """Show a flow that starts on a Hoverboard and is offloaded, measure two dataplanes, and write a report."""
    rootless.enter_new()
    from console.show.progress import StepProgress
    from experiments.demo import demo as experiment
    from experiments.demo import demo_report
    from experiments.frame import results_place

    folder = out if out is not None else demo_report.default_folder()
    results_place.check_folder(folder, results_place.DEMO_MIB)
    unwritten: MachineError | None = None
    with guard.ended_by_signals(), StepProgress() as progress:
        spec = experiment.demo_spec(run or "demo", generation)
        result = experiment.run(spec, progress, lambda one: demo_report.keep_raw(one, folder))
        progress("writing the report", 0.99)
        summary = demo_report.summarise(result)
        try:
            with results_place.writing(folder, lambda: "make room, or give another --out; stdout has the figures"):
                demo_report.write_files(result, summary, folder)
        except MachineError as error:
            unwritten = error  # what was measured is shown first
    if as_json:
        print_json(summary)
    else:
        from console.show import demo_tables, tables

        tables.show(demo_tables.demo(summary))
        for note in summary["notes"]:
            print(f"note: {note}")
        if summary["ok"]:
            print("all checks passed: VMs reach only VMs of their own tenant, and the flow was offloaded")
        report = folder / "report.html" if unwritten is None else "none"
        print(f"{summary['seconds']:.0f} s; report: {report}")
    if unwritten is not None:
        raise unwritten
    if not summary["ok"]:
        raise typer.Exit(1)
