"""Options and arguments that several verbs share. Those of one verb stand in its own file.

The name of a run stands after the verb or before it, or in the environment variable HOVERBOARD_RUN. The nearest to the
verb counts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from console import rootless, runs
from hoverboard.contract.errors import InputError
from hoverboard.contract.models import MODELS, choices

RUN_VARIABLE = "HOVERBOARD_RUN"
_PLACES = f"It may also stand before the verb, or in {RUN_VARIABLE}."


def _keep_for_verb(context: typer.Context, run: str | None) -> str | None:
    """Keep the `--run` that stands before a verb, for the verb."""
    if run is not None:
        context.ensure_object(dict)["run"] = run
    return run


def _typed_run(context: typer.Context, run: str | None) -> str | None:
    """The run that the command line names: after the verb, or before it."""
    return run or _before(context)


def _named_run(context: typer.Context, run: str | None) -> str | None:
    """The run that the command line names, or else the environment."""
    return _typed_run(context, run) or environment_run()


def _before(context: typer.Context) -> str | None:
    found: Any = context.find_object(dict) or {}
    return found.get("run")


def environment_run() -> str | None:
    """The run that the environment names; None: none."""
    return os.environ.get(RUN_VARIABLE) or None


def check_run_before(context: typer.Context) -> None:
    """Check that the verb which follows has a `--run`, if one stands before it.

    Raises:
        InputError: it has none.
    """
    commands: Any = getattr(context.command, "commands", {})
    verb = context.invoked_subcommand
    if _before(context) is not None and verb in commands and not runs.takes_run(commands[verb]):
        raise InputError(f"`{verb}` is for no run", where="--run", next_step="leave --run out")


RunBefore = Annotated[
    str | None,
    typer.Option("--run", metavar="NAME", callback=_keep_for_verb, help="Name of the run; as good as after the verb."),
]
Run = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar="NAME",
        callback=_named_run,
        help=f"Name of the run. May be left out when only one is up. {_PLACES}",
    ),
]
NewRun = Annotated[
    str | None,
    typer.Option(
        "--run", metavar="NAME", callback=_named_run, help=f"Name of the run. Default: that of the topology. {_PLACES}"
    ),
]
TypedRun = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar="NAME",
        callback=_typed_run,
        help=f"Name of the run. May be left out when only one is up. {_PLACES}",
    ),
]
DemoRun = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar="NAME",
        callback=_named_run,
        help=f"First part of the names of its runs. Default: demo. {_PLACES}",
    ),
]


def _become_ordinary(context: typer.Context, asked: bool) -> bool:
    """Give root up before anything else is done, if that is asked."""
    if asked and not context.resilient_parsing:
        rootless.become_ordinary()
    return asked


Rootless = Annotated[
    bool,
    typer.Option(
        rootless.OPTION,
        callback=_become_ordinary,
        is_eager=True,
        help="As root: become the user who called sudo, or one without an account (docs/rootless.md).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Node = Annotated[str, typer.Argument(metavar="NODE", help="A host, a Hoverboard or a VM.")]


def resolve_model(model: str | None) -> str | None:
    """The name of a programming model as typed; a file gets its absolute path.

    Raises:
        typer.BadParameter: it names neither a shipped model nor a class in a file.
    """
    if model is None or model in MODELS:
        return model
    from hoverboard.contract.plugins import absolute, file_of

    if file_of(model) is None:
        raise typer.BadParameter(f"{model!r} is not one of {choices()}, and it is no FILE.py:Class.")
    return absolute(model, Path())
