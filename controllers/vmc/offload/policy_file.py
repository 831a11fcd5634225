"""Loads offload policies from files: `path.py:Class`, a subclass of `OffloadPolicy` (example: docs/models.md)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from controllers.vmc.offload.policy import OffloadPolicy, OffloadSettings
from hoverboard.contract.checks.class_shape import ShapeFault, methods_of, shape_fault
from hoverboard.contract.errors import InputError
from hoverboard.contract.plugins import file_of, load_class, user_code
from hoverboard.contract.wire import fabric_pb2 as pb

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


def changed(settings: OffloadSettings, order: pb.OffloadSettings) -> OffloadSettings:
    """The settings with those of an order.

    Raises:
        InputError: a value is out of range, or two do not go together.
    """
    for name in ("threshold_bps", "keep_bps", "minimum_lifetime", "idle_expiry"):
        if not 0 <= getattr(order, name) < float("inf"):
            what = f"{getattr(order, name)} is no possible value"
            raise InputError(what, where=f"SetOffload.{name}", next_step="give a number from 0")
    if order.keep_bps and order.keep_bps >= order.threshold_bps:
        what = f"keep_bps {order.keep_bps:g} is not lower than threshold_bps {order.threshold_bps:g}"
        raise InputError(what, where="SetOffload.keep_bps", next_step="give a lower rate")
    return replace(
        settings, threshold_bps=order.threshold_bps, keep_bps=order.keep_bps, minimum_lifetime=order.minimum_lifetime,
        idle_expiry=order.idle_expiry, budget=order.budget,
    )  # fmt: skip


def find_policy(reference: str) -> type[OffloadPolicy]:
    """The class of `reference`: "path.py:Class", or "path.py" of a file with one policy.

    Raises:
        InputError: the file cannot be read or run, has no such policy, or the policy cannot be called.
    """
    kind = load_class(reference, OffloadPolicy, noun="offload policy", next_step=_EXAMPLE)
    fault = policy_fault(kind)
    if fault is not None:
        path, _ = file_of(reference) or (Path(reference), "")
        where = reference if fault.line is None else f"{path}:{fault.line}"
        raise InputError(fault.what, where=where, next_step="write `def decide(self, host, candidates, now)`, "
                         "which returns a Decision (see docs/models.md)")  # fmt: skip
    return kind


def policy_fault(kind: type[OffloadPolicy]) -> ShapeFault | None:
    """The fault of a policy's class: no `decide`, or a method that cannot be called; None: no fault."""
    return shape_fault(kind, methods_of(OffloadPolicy, "decide", items=False), OffloadPolicy)
