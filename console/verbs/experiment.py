"""`hoverboard experiment`: lists, runs, reports and compares scripted experiments (docs/experiments.md)."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from console import guard, runs
from hoverboard.contract.errors import InputError

if TYPE_CHECKING:
    from experiments.frame.experiment import ClaimVerdict
    from experiments.frame.progress import Progress
    from experiments.sweeps.folder import Folder
    from experiments.sweeps.runner import Plan
    from hoverboard.contract.experiment_documents import ListedExperiment

app = typer.Typer(help="The paper's evaluation, and experiments of your own.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_ALL = "all"


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One of them, with its parameters.")] = None,
    as_json: Json = False,
) -> None:
    """Which experiments there are; of one, what may be set."""
    from experiments.sweeps import discovery

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
        print(json.dumps(documents, indent=2))
        return
    from console.show import experiment_tables, tables

    tables.show([experiment_tables.experiments(documents)])
    if name is not None:
        tables.show([experiment_tables.parameters(found[0].parameters)])


@app.command("run")
def run(
    name: Annotated[
        str, typer.Argument(metavar="NAME|all|FILE.py[:CLASS]", help="Which; `all`: every one of the list.")
    ],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="Set a parameter; may be repeated.")
    ] = None,
    sweep: Annotated[
        Path | None, typer.Option("--sweep", metavar="FILE", help="YAML, a line a parameter: NAME: [VALUE, VALUE].")
    ] = None,
    repeat: Annotated[int | None, typer.Option("--repeat", metavar="N", help="How often each point.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of everything that is random.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Default results/NAME-DATE.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="For a first look: small and once.")] = False,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="tcp://HOST:PORT", help="Of a Dask cluster: measure on its workers."),
    ] = None,
    pin: Annotated[
        Literal["auto", "off"],
        typer.Option("--pin", help="auto: data planes get CPUs of their own, where there are enough."),
    ] = "auto",
    as_json: Json = False,
) -> None:
    """Run an experiment on testbeds of its own, and write its report."""
    if scheduler is None:
        runs.need_root("experiment run")
    if resume and out is None:
        raise InputError("nothing says what to resume", where="--resume", next_step="add --out DIR")
    if name == _ALL and (settings or sweep):
        raise InputError("all experiments have no parameter in common", where=_ALL, next_step="run one by its name")
    plans = _plans(name, settings or [], sweep, repeat, seed, quick, pin == "auto")
    folder = out if out is not None else Path("results") / f"{Path(name).stem}-{datetime.now():%Y%m%d-%H%M%S}"
    paths = [folder / plan.experiment.name for plan in plans] if name == _ALL else [folder]
    measured = _run if scheduler is None else partial(_share, scheduler)
    done = measured(list(zip(plans, paths, strict=True)), resume, folder)
    if name == _ALL:
        from experiments.sweeps import report

        (folder / report.SUMMARY).write_text(report.overview([one for one, _ in done]), encoding="utf-8")
    _tell(done, as_json)


def _plans(
    name: str, settings: Sequence[str], sweep: Path | None, repeat: int | None, seed: int, quick: bool, pin: bool
) -> list[Plan]:
    from experiments.frame import parameters
    from experiments.sweeps import discovery, runner

    loops: dict[str, list[Any]] = {}
    if sweep is not None:
        if not sweep.is_file():
            raise InputError("there is no such file", where=str(sweep), next_step="give a YAML file")
        named, loops = runner.parse_sweep(sweep.read_text(), str(sweep))
        if named not in (None, name):
            raise InputError(
                f"the sweep is of {named}, not of {name}", where=str(sweep), next_step=f"run {named} with it"
            )
    names = list(discovery.catalogue()) if name == _ALL else [name]
    given = parameters.assignments(settings)
    plans = [runner.Plan(discovery.find(one), _where(one), given, loops, repeat, quick, seed, pin) for one in names]
    for plan in plans:
        plan.variations()  # bad values are told of before anything is brought up
    return plans


def _where(name: str) -> str:
    from hoverboard.contract.plugins import absolute

    return absolute(name, Path.cwd())


def _run(several: Sequence[tuple[Plan, Path]], resume: bool, out: Path) -> list[tuple[Folder, list[ClaimVerdict]]]:
    """One after the other, on testbeds that they share: each point is measured alone."""
    from console.show.progress import StepProgress
    from experiments.sweeps import runner
    from experiments.sweeps.bench import TestbedBench

    first, _ = several[0]
    with guard.ended_by_signals(), StepProgress() as progress:
        share = 0.0

        def shown(what: str, part: float) -> None:
            nonlocal share
            share = part
            progress(what, part)

        bench = TestbedBench(
            quick=first.quick, seed=first.seed, say=lambda what: progress(what, share), pinning=first.pinning()
        )
        with contextlib.closing(bench):
            return _each(
                several, out, shown, lambda plan, path, step: runner.run(
                    plan, path, bench, step, resume=resume and path.exists()
                ),
            )  # fmt: skip


def _share(
    scheduler: str, several: Sequence[tuple[Plan, Path]], resume: bool, out: Path
) -> list[tuple[Folder, list[ClaimVerdict]]]:
    """One after the other, each on all machines of a cluster."""
    from console.show.progress import StepProgress
    from experiments.sweeps import cluster
    from experiments.sweeps.dask_cluster import DaskCluster

    with (
        guard.ended_by_signals(),
        StepProgress() as progress,
        contextlib.closing(DaskCluster(scheduler)) as machines,
    ):
        return _each(
            several, out, progress, lambda plan, path, step: cluster.run(
                plan, path, machines, step, resume=resume and path.exists()
            ),
        )  # fmt: skip


def _each(
    several: Sequence[tuple[Plan, Path]], out: Path, progress: Progress, run: Callable[[Plan, Path, Progress], Folder]
) -> list[tuple[Folder, list[ClaimVerdict]]]:
    """Run one after the other, and write the report of each as it ends."""
    from experiments.sweeps import report

    done: list[tuple[Folder, list[ClaimVerdict]]] = []
    try:
        for plan, path in several:
            folder = run(plan, path, lambda what, part: progress(what, (len(done) + part) / len(several)))
            done.append((folder, report.write(folder)))
    except KeyboardInterrupt:
        print(f"what was measured is in {out}; add --resume --out {out} to go on", file=sys.stderr)
        raise
    return done


@app.command("worker")
def worker(
    scheduler: Annotated[str, typer.Argument(metavar="tcp://HOST:PORT", help="The Dask scheduler's address.")],
) -> None:
    """Measure for others: join a Dask cluster as a worker, until interrupted."""
    runs.need_root("experiment worker")
    from experiments.sweeps import dask_cluster

    dask_cluster.serve(scheduler, lambda what: print(what, flush=True))


@app.command("report")
def report_(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of runs.")],
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE.md", help="All runs as one page; figures go into FILE/ beside it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build reports again from raw data; nothing is measured."""
    from experiments.sweeps import discovery, report, reproduction
    from experiments.sweeps.folder import RUN, Folder

    found = []
    for path in folders:
        if not (path / RUN).exists() and (several := sorted(one.parent for one in path.glob(f"*/{RUN}"))):
            done = [(Folder(one), report.write(Folder(one))) for one in several]
            (path / report.SUMMARY).write_text(report.overview([one for one, _ in done]), encoding="utf-8")
            found += done
        else:
            found.append((Folder(path), report.write(Folder(path))))
    if markdown is not None:
        reproduction.write([one for one, _ in found], markdown, list(discovery.catalogue()))
    _tell(found, as_json)


@app.command("compare")
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of a run.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of another run of the same experiment.")],
    as_json: Json = False,
) -> None:
    """Two runs side by side: medians of what both measured, B over A."""
    from dataclasses import asdict

    from experiments.sweeps import comparison
    from experiments.sweeps.folder import Folder

    a, b = Folder(first), Folder(second)
    names = a.document()["experiment"], b.document()["experiment"]
    if names[0] != names[1]:
        raise InputError(
            f"these are runs of {names[0]} and {names[1]}", where="compare", next_step="give two of the same experiment"
        )
    found = comparison.compare(a.table(), b.table())
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=2))
        return
    from console.show import experiment_tables, tables

    tables.show([experiment_tables.compared(found)])


def _tell(done: Sequence[tuple[Folder, Sequence[ClaimVerdict]]], as_json: bool) -> None:
    from dataclasses import asdict

    from experiments.sweeps.report import REPORT

    failed = {str(folder.path): len(folder.table().failed()) for folder, _ in done}
    if as_json:
        document = [
            {
                "folder": str(folder.path),
                "failed": failed[str(folder.path)],
                "verdicts": [asdict(one) for one in verdicts],
            }
            for folder, verdicts in done
        ]
        print(json.dumps(document, indent=2))
    else:
        from console.show import experiment_tables, tables

        for folder, verdicts in done:
            if verdicts:
                tables.show([experiment_tables.verdicts(folder.document()["experiment"], verdicts)])
            if failed[str(folder.path)]:
                print(f"{failed[str(folder.path)]} samples failed; the report says why")
            print(f"report: {folder.path / REPORT}")
    if any(not len(folder.table()) or failed[str(folder.path)] == len(folder.table()) for folder, _ in done):
        raise typer.Exit(1)
