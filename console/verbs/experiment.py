"""`hoverboard experiment`: lists, runs, reports and compares scripted experiments (docs/experiments.md)."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.show.json_output import print_json
from console.verbs import experiment_run
from console.verbs.experiment_run import print_reports
from console.verbs.options import Json
from hoverboard.contract.errors import InputError

if TYPE_CHECKING:
    from experiments.frame.experiment import ClaimVerdict
    from experiments.sweeps.folder import Folder

app = typer.Typer(help="Run the paper's evaluation, or your own experiments.", no_args_is_help=True)


@app.command("list")
def list_(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show one experiment with its parameters.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the experiments, or show the parameters of one."""
    from experiments.sweeps import discovery
    from hoverboard.contract.experiment_documents import ListedExperiment

    found = [discovery.find(name)] if name is not None else list(discovery.catalogue().values())
    documents: list[ListedExperiment] = [
        {
            "name": one.name,
            "title": one.title,
            "source": one.source,
            "measures": one.measures,
            "minutes": one.minutes,
            "repeat": one.repeat,
            "parameters": {
                item.name: {"default": item.default, "unit": item.unit, "what": item.what, "allowed": item.allowed()}
                for item in one.parameters
            },
        }
        for one in found
    ]
    if as_json:
        print_json(documents)
        return
    from console.show import experiment_tables, tables

    tables.show([experiment_tables.experiments(documents)])
    if name is not None:
        tables.show([experiment_tables.parameters(found[0].parameters)])


app.command("run")(experiment_run.run)
app.command("worker")(experiment_run.worker)


@app.command("certificates")
def certificates(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is not there yet.")],
) -> None:
    """Make certificates for a Dask cluster. Copy the folder to each of its machines."""
    from experiments.sweeps import cluster_keys

    keys = cluster_keys.make(folder.absolute())
    print(f"{keys.folder}: certificates for one cluster; copy the folder to each machine, for your eyes only")
    print(f"scheduler, with its machine's address: {shlex.join(keys.scheduler('ADDRESS'))}")


@app.command("report")
def report_(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of runs.")],
    markdown: Annotated[
        Path | None,
        typer.Option(
            "--markdown",
            metavar="FILE.md",
            help="Also write all runs as one page. Its figures go into FILE/ beside it.",
        ),
    ] = None,
    trust_code: Annotated[
        bool,
        typer.Option("--trust-code", help="Run the experiment's own file, which a folder names. Read it first."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Rebuild reports from raw data. Nothing is measured."""
    from hoverboard.contract.plugins import FileNotRunError, without_running_files

    try:
        with contextlib.nullcontext() if trust_code else without_running_files():
            print_reports(_write_reports(folders, markdown), as_json)
    except FileNotRunError as error:
        raise InputError(
            "the report needs the experiment's own file, and a folder of results may come from anybody",
            where=str(error),
            next_step="read that file; if you trust it, add --trust-code",
        ) from None


def _write_reports(folders: list[Path], markdown: Path | None) -> list[tuple[Folder, list[ClaimVerdict]]]:
    from experiments.frame import results_place
    from experiments.sweeps import discovery, report, reproduction
    from experiments.sweeps.folder import RUN, Folder
    from hoverboard.safe_files import write_file

    found = []
    for path in folders:
        with results_place.writing(path, lambda: "make room, or copy the folder to a place that can be written"):
            if not (path / RUN).exists() and (several := sorted(one.parent for one in path.glob(f"*/{RUN}"))):
                done = [(Folder(one), report.write(Folder(one))) for one in several]
                write_file(path, report.SUMMARY, report.overview([one for one, _ in done]))
                found += done
            else:
                found.append((Folder(path), report.write(Folder(path))))
    if markdown is not None:
        with results_place.writing(markdown, lambda: "make room, or give another FILE.md"):
            reproduction.write([one for one, _ in found], markdown, list(discovery.catalogue()))
    return found


@app.command("compare")
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of a run.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of another run of the same experiment.")],
    as_json: Json = False,
) -> None:
    """Compare two runs: medians of what both measured, and the ratio B / A."""
    from dataclasses import asdict

    from experiments.sweeps import comparison
    from experiments.sweeps.folder import Folder

    a, b = Folder(first), Folder(second)
    names = a.document()["experiment"], b.document()["experiment"]
    if names[0] != names[1]:
        raise InputError(
            f"these are runs of {names[0]} and {names[1]}", where="compare", next_step="give two runs of one experiment"
        )
    found = comparison.compare(a.table(), b.table())
    if note := comparison.different_privileges(a.document()["record"], b.document()["record"]):
        print(f"note: {note}", file=sys.stderr)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    from console.show import experiment_tables, tables

    tables.show([experiment_tables.compared(found)])
