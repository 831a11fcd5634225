"""A finding of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "missing", "degraded"]


@dataclass(frozen=True)
class Line:
    """One finding.

    Attributes:
        name: what was checked.
        state: `ok`; `missing`; `degraded` (it works, or is replaced, but something is lost).
        detail: what was found: a version, a number, or the kernel's error.
        consequence: what follows from it; empty when nothing does.
        required: the testbed does not run without it. If it is missing, the exit code is not 0.
    """

    name: str
    state: State
    detail: str
    consequence: str = ""
    required: bool = False
