"""Old path of `python -m hoverboard.fastpath.engine.warm`, for one version."""

from __future__ import annotations

import runpy
import warnings

if __name__ == "__main__":
    warnings.warn(
        "write `python -m hoverboard.fastpath.engine.warm`: the next version removes this path of version 0.1",
        DeprecationWarning,
        stacklevel=1,
    )
    runpy.run_module("hoverboard.fastpath.engine.warm", run_name="__main__", alter_sys=True)
