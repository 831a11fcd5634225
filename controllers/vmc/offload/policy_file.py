"""Loads offload policies from files: `path.py:Class`, a subclass of `OffloadPolicy` (example: docs/models.md)."""

from __future__ import annotations

from pathlib import Path

from controllers.vmc.offload.policy import OffloadPolicy, OffloadSettings
from hoverboard.contract.plugins import file_of, load_class, user_code

_EXAMPLE = "write a file with `class Mine(OffloadPolicy)`, and name it as mine.py:Mine (see docs/models.md)"


def load_policy(reference: str | None, settings: OffloadSettings) -> OffloadPolicy:
    """Load the policy that `reference`, "path.py:Class", names; None: the built-in policy.

    Raises:
        InputError: the file or class does not exist, or the policy cannot be made.
    """
    if reference is None:
        return OffloadPolicy(settings)
    kind = find_policy(reference)
    path, _ = file_of(reference) or (Path(reference), "")
    step = "let `__init__` take OffloadSettings, like OffloadPolicy"
    with user_code(f"{kind.__name__}(settings)", path, where=reference, next_step=step):
        return kind(settings)


def find_policy(reference: str) -> type[OffloadPolicy]:
    """The class of `reference`: "path.py:Class", or "path.py" of a file with one policy.

    Raises:
        InputError: the file cannot be read or run, or has no such policy.
    """
    return load_class(reference, OffloadPolicy, noun="offload policy", next_step=_EXAMPLE)
