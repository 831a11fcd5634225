"""`hoverboard doctor`: shows what this machine has and lacks for Hoverboard."""

from __future__ import annotations

import typer

from console.verbs.options import Json


def doctor(as_json: Json = False) -> None:
    """Show what this machine has, what it lacks, and what follows from that."""
    from console.doctor.doctor import print_doctor

    raise typer.Exit(print_doctor(as_json))
