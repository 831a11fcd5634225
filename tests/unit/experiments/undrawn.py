"""Figures that are kept instead of written: what is in them can be read back, and nothing has to be drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from experiments import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """From now on figures go here, by name; their files hold a word."""
    found: dict[str, Figure] = {}

    def write(figure: Figure, stem: Path) -> None:
        stem.parent.mkdir(parents=True, exist_ok=True)
        found[stem.name] = figure
        for ending in (".png", ".svg"):
            stem.with_suffix(ending).write_text("undrawn")

    monkeypatch.setattr(figures, "write", write)
    monkeypatch.setattr(figures, "inline_svg", lambda figure, name: f'<svg id="{name}"></svg>')
    return found
