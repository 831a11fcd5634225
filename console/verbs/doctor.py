"""`hoverboard doctor`: what this machine has and lacks."""

from __future__ import annotations

import typer

from console.verbs.options import Json


def doctor(as_json: Json = False) -> None:
    """What this machine has, lacks, and what follows from it."""
    from console.doctor.doctor import print_doctor

    raise typer.Exit(print_doctor(as_json))
