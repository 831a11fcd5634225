"""Figures look the same wherever they are drawn: no matplotlibrc of the current directory changes them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DRAWS = """
import matplotlib
from experiments import figures
with figures.style():
    print(*(matplotlib.rcParams[name] for name in ("lines.linewidth", "text.usetex", "svg.fonttype")))
"""
ROOT = Path(__file__).parents[3]


def test_no_file_of_the_current_directory_changes_a_figure(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nlines.linewidth: 40\nsvg.fonttype: path\n")
    done = subprocess.run(
        [sys.executable, "-P", "-c", DRAWS], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    width, tex, fonts = done.stdout.split()
    assert (float(width) < 5, tex, fonts) == (True, "False", "none")
