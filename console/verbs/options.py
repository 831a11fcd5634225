"""Options and arguments that several verbs share. A verb's own stand beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hoverboard.contract.models import MODELS, choices
from hoverboard.contract.plugins import absolute, file_of

Run = Annotated[str | None, typer.Option("--run", metavar="NAME", help="Which run; not needed when one is up.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Node = Annotated[str, typer.Argument(metavar="NODE", help="A host, Hoverboard or VM.")]


def resolve_model(model: str | None) -> str | None:
    """A model as typed, by a name that holds in any directory; refused at once when there can be none."""
    if model is None or model in MODELS:
        return model

    if file_of(model) is None:
        raise typer.BadParameter(f"{model!r} is not one of {choices()}, and not a FILE.py:Class.")
    return absolute(model, Path())
