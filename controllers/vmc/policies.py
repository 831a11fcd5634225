"""Offload policies from files: `path.py:Class`, a subclass of `OffloadPolicy` (docs/models.md has an example).

The one place that runs a user's code in the control plane; what is wrong with the file is told in full.
"""

from __future__ import annotations

import importlib.util
import traceback
from pathlib import Path

from controllers.vmc.offload import OffloadPolicy, OffloadSettings
from hoverboard.contract.errors import InputError

_EXAMPLE = "write a file with `class Mine(OffloadPolicy)`, and name it as mine.py:Mine (see docs/models.md)"


def load_policy(reference: str | None, settings: OffloadSettings) -> OffloadPolicy:
    """The policy that `reference`, "path.py:Class", names; the built-in one for None.

    Raises:
        InputError: there is no such file or class, or it cannot be made.
    """
    if reference is None:
        return OffloadPolicy(settings)
    kind = find_policy(reference)
    try:
        return kind(settings)
    except Exception as error:  # a user's code may raise anything
        raise InputError(
            f"{kind.__name__}(settings) raised {error!r}",
            where=reference,
            next_step="take OffloadSettings, as the base does",
        ) from error


def find_policy(reference: str) -> type[OffloadPolicy]:
    """The class of `reference`, "path.py:Class" or "path.py" with one policy in it.

    Raises:
        InputError: the file cannot be read or run, or has no such policy.
    """
    name, _, wanted = reference.partition(".py:") if ".py:" in reference else (reference, "", "")
    path = Path(name + ".py" if wanted else name)
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"there is no policy file {path.name!r}", where=reference, next_step=_EXAMPLE)
    spec = importlib.util.spec_from_file_location(f"offload_policy_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        line = next((f", line {frame.lineno}" for frame in reversed(traceback.extract_tb(error.__traceback__))
                     if frame.filename == str(path)), "")  # fmt: skip
        raise InputError(
            f"the policy file raised {type(error).__name__}: {error}", where=f"{path}{line}", next_step="correct it"
        ) from error
    found = {
        name: one
        for name, one in vars(module).items()
        if isinstance(one, type) and issubclass(one, OffloadPolicy) and one is not OffloadPolicy
    }
    if wanted and wanted not in found:
        what = "is not a subclass of OffloadPolicy" if hasattr(module, wanted) else "is not in it"
        raise InputError(f"class {wanted!r} {what}", where=reference, next_step=_EXAMPLE)
    if not wanted and len(found) != 1:
        names = ", ".join(sorted(found)) or "none"
        raise InputError(f"one policy has to be named; the file has {names}", where=reference, next_step=_EXAMPLE)
    return found[wanted] if wanted else next(iter(found.values()))
