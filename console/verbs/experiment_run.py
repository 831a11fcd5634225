"""`hoverboard experiment run` measures; `experiment worker` measures for a run that another machine started.

Both are described in docs/experiments.md.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from console import guard, rootless
from console.show.json_output import print_json
from console.verbs.options import Json, Rootless
from hoverboard.contract.errors import InputError, counted
from hoverboard.text_files import read_text

if TYPE_CHECKING:
    from experiments.frame.experiment import ClaimVerdict, Sample
    from experiments.frame.progress import Progress
    from experiments.sweeps.cluster_keys import ClusterKeys
    from experiments.sweeps.folder import Folder
    from experiments.sweeps.runner import Plan

_ALL = "all"
Tls = Annotated[
    Path | None,
    typer.Option("--tls", metavar="DIR", help="Certificates of the cluster (`experiment certificates`)."),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Take tcp://. All users of that network can then run code on the workers."),
]


def run(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|all|FILE.py[:CLASS]", help="Name or file of an experiment. `all`: each one of the list."
        ),
    ],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="Set a parameter. May be repeated.")
    ] = None,
    sweep: Annotated[
        Path | None,
        typer.Option("--sweep", metavar="FILE", help="YAML file with one line per parameter: NAME: [VALUE, VALUE]."),
    ] = None,
    repeat: Annotated[int | None, typer.Option("--repeat", metavar="N", help="Measure each point N times.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all random choices.")] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the results. Default: results/NAME-DATE.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the results in --out: measure only what is missing.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Take a first look: fewer and smaller points, each once.")
    ] = False,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="tls://HOST:PORT", help="Measure on the workers of this Dask cluster."),
    ] = None,
    tls: Tls = None,
    insecure: Insecure = False,
    pin: Annotated[
        Literal["auto", "off"],
        typer.Option("--pin", help="auto: each data plane gets its own CPUs, if there are enough."),
    ] = "auto",
    rootless_: Rootless = False,
    as_json: Json = False,
) -> None:
    """Run an experiment on new testbeds, and write its report."""
    if scheduler is None:
        rootless.enter_new()
    from experiments.frame import results_place

    if resume and out is None:
        raise InputError("--resume needs the folder with the results", where="--resume", next_step="add --out DIR")
    if name == _ALL and (settings or sweep):
        raise InputError(
            "--set and --sweep work for one experiment only", where=_ALL, next_step="run one experiment by its name"
        )
    plans = _make_plans(name, settings or [], sweep, repeat, seed, quick, pin == "auto")
    folder = out if out is not None else Path("results") / f"{Path(name).stem}-{datetime.now():%Y%m%d-%H%M%S}"
    results_place.check_folder(folder, results_place.ALL_MIB if name == _ALL else results_place.RUN_MIB)
    paths = [folder / plan.experiment.name for plan in plans] if name == _ALL else [folder]
    run_plans = _run_here if scheduler is None else partial(_run_on_cluster, scheduler, tls, insecure)
    done = run_plans(list(zip(plans, paths, strict=True)), resume, folder)
    if name == _ALL:
        from experiments.sweeps import report
        from hoverboard.safe_files import write_file

        with results_place.writing(folder, lambda: f"make room, then: hoverboard experiment report {folder}"):
            write_file(folder, report.SUMMARY, report.overview([one for one, _ in done]))
    print_reports(done, as_json)


def _make_plans(
    name: str, settings: Sequence[str], sweep: Path | None, repeat: int | None, seed: int, quick: bool, pin: bool
) -> list[Plan]:
    from experiments.frame import parameters
    from experiments.sweeps import discovery, runner

    loops: dict[str, list[Any]] = {}
    if sweep is not None:
        text = read_text(sweep, "sweep", pipe=True, next_step="give a YAML file")
        named, loops = runner.parse_sweep(text, str(sweep))
        if named not in (None, name):
            raise InputError(
                f"this sweep is for {named}, not for {name}", where=str(sweep), next_step=f"run {named} with it"
            )
    names = list(discovery.catalogue()) if name == _ALL else [name]
    given = parameters.assignments(settings)
    plans = [
        runner.Plan(discovery.find(one), _absolute_name(one), given, loops, repeat, quick, seed, pin) for one in names
    ]
    for plan in plans:
        plan.variations()  # rejects bad values before anything is brought up
    return plans


def _absolute_name(name: str) -> str:
    from hoverboard.contract.plugins import absolute

    return absolute(name, Path.cwd())


def _run_here(several: Sequence[tuple[Plan, Path]], resume: bool, out: Path) -> list[tuple[Folder, list[ClaimVerdict]]]:
    """Run plans one after the other on shared testbeds, so that each point is measured alone."""
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
            return _run_each(
                several, out, shown, lambda plan, path, step: runner.run(
                    plan, path, bench, step, resume=resume and path.exists()
                ),
            )  # fmt: skip


def _run_on_cluster(
    scheduler: str,
    tls: Path | None,
    insecure: bool,
    several: Sequence[tuple[Plan, Path]],
    resume: bool,
    out: Path,
) -> list[tuple[Folder, list[ClaimVerdict]]]:
    """Run plans one after the other, each on all machines of a cluster."""
    from console.show.progress import StepProgress
    from experiments.sweeps import cluster
    from experiments.sweeps.dask_cluster import DaskCluster

    with (
        guard.ended_by_signals(),
        StepProgress() as progress,
        contextlib.closing(DaskCluster(scheduler, _keys(tls), insecure=insecure)) as machines,
    ):
        return _run_each(
            several, out, progress, lambda plan, path, step: cluster.run(
                plan, path, machines, step, resume=resume and path.exists()
            ),
        )  # fmt: skip


def _run_each(
    several: Sequence[tuple[Plan, Path]], out: Path, progress: Progress, run: Callable[[Plan, Path, Progress], Folder]
) -> list[tuple[Folder, list[ClaimVerdict]]]:
    """Run plans one after the other, and write the report of each when it ends."""
    from experiments.frame import results_place
    from experiments.sweeps import report

    done: list[tuple[Folder, list[ClaimVerdict]]] = []
    try:
        for plan, path in several:
            with results_place.writing(path, lambda: f"make room; what was measured is there, {_continue(out)}"):
                folder = run(plan, path, lambda what, part: progress(what, (len(done) + part) / len(several)))
            with results_place.writing(path, partial(_report_again, plan, path)):
                done.append((folder, report.write(folder)))
    except KeyboardInterrupt:
        print(f"results so far are in {out}; {_continue(out)}", file=sys.stderr)
        raise
    return done


def _continue(out: Path) -> str:
    return f"to continue, add --resume --out {out}"


def _report_again(plan: Plan, path: Path) -> str:
    from hoverboard.contract.plugins import file_of

    trust = "" if file_of(plan.where) is None else " --trust-code"
    return f"make room; all points are measured, so then: hoverboard experiment report {path}{trust}"


def _keys(tls: Path | None) -> ClusterKeys | None:
    from experiments.sweeps.cluster_keys import ClusterKeys

    return None if tls is None else ClusterKeys(tls.absolute())


def worker(
    scheduler: Annotated[str, typer.Argument(metavar="tls://HOST:PORT", help="Address of the Dask scheduler.")],
    tls: Tls = None,
    insecure: Insecure = False,
) -> None:
    """Join a Dask cluster as a worker, and measure until interrupted."""
    from experiments.sweeps import dask_cluster

    dask_cluster.serve(scheduler, lambda what: print(what, flush=True), _keys(tls), insecure=insecure)


_MOST_ERRORS = 5


def failure_lines(failed: Sequence[Sample]) -> Iterator[str]:
    """The number of failed samples, and each error once, with the labels of the first sample that it ended."""
    if not failed:
        return
    yield f"{counted(len(failed), 'sample')} failed:"
    by_error: dict[str, list[Sample]] = {}
    for one in failed:
        by_error.setdefault(one.error, []).append(one)
    for error, several in list(by_error.items())[:_MOST_ERRORS]:
        labels = ", ".join(f"{name}={value}" for name, value in several[0].labels.items())
        more = f" and {len(several) - 1} more" if len(several) > 1 else ""
        yield f"  {error} [{several[0].metric}{' ' * bool(labels)}{labels}{more}]"
    if len(by_error) > _MOST_ERRORS:
        yield f"  and {counted(len(by_error) - _MOST_ERRORS, 'other error')}: see the report"


def print_reports(done: Sequence[tuple[Folder, Sequence[ClaimVerdict]]], as_json: bool) -> None:
    """Print the verdicts and the report of each experiment."""
    from dataclasses import asdict

    from experiments.sweeps.report import REPORT

    failed = {str(folder.path): len(folder.table().failed()) for folder, _ in done}
    if as_json:
        document = [
            {
                "folder": str(folder.path),
                "failed": failed[str(folder.path)],
                "errors": list(dict.fromkeys(one.error for one in folder.table().failed())),
                "verdicts": [asdict(one) for one in verdicts],
            }
            for folder, verdicts in done
        ]
        print_json(document)
    else:
        from console.show import experiment_tables, tables

        for folder, verdicts in done:
            if verdicts:
                about = folder.document()
                tables.show([experiment_tables.verdicts(about["experiment"], verdicts, about["repeat"])])
            for line in failure_lines(folder.table().failed()):
                print(line)
            if failed[str(folder.path)]:
                print(f"to measure them again: experiment run with --resume --out {folder.path}")
            print(f"report: {folder.path / REPORT}")
    if any(not len(folder.table()) or failed[str(folder.path)] == len(folder.table()) for folder, _ in done):
        raise typer.Exit(1)
