"""Runs one point of programming n VMs on h hosts in a separate process, with a time limit."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.programming.point import Point
from hoverboard.contract.errors import MeasurementError
from topologies.processes.launcher import python

_TIMEOUT = 600.0  # seconds; a point that takes longer is too large


def run_point(point: Point) -> dict[str, Any]:
    """Measure one point in a separate process.

    Raises:
        MeasurementError: the process failed, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="hb") as directory:
        request = Path(directory) / "request"
        point.cluster.write_request(request)
        try:
            done = subprocess.run(
                python("experiments.programming.point", str(request), json.dumps(asdict(point))),
                capture_output=True, text=True, timeout=_TIMEOUT, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise MeasurementError(
                f"the switches are not programmed after {_TIMEOUT:g} s",
                where=str(point),
                next_step="measure a smaller size",
            ) from None
    if done.returncode != 0:
        raise MeasurementError(done.stderr.strip()[-2000:], where=str(point), next_step="read the error above")
    measured: dict[str, Any] = json.loads(done.stdout)
    return {**asdict(point), **measured}
