"""Old path of `python -m hoverboard.fastpath.engine.compose`; goes with the next version."""

from __future__ import annotations

import runpy
import warnings

if __name__ == "__main__":
    warnings.warn(
        "write `python -m hoverboard.fastpath.engine.compose`: this path of version 0.1 goes with the next version",
        DeprecationWarning,
        stacklevel=1,
    )
    runpy.run_module("hoverboard.fastpath.engine.compose", run_name="__main__", alter_sys=True)
