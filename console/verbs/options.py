"""Options and arguments that several verbs share. Those of one verb stand in its own file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hoverboard.contract.models import MODELS, choices

Run = Annotated[
    str | None, typer.Option("--run", metavar="NAME", help="Name of the run. May be left out when only one is up.")
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
