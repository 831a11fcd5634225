"""The programming models by name: shipped ones are modules here, others are classes in files (paper section 3.3).

The rest of the control plane, and the layers above, get their models only from here.
"""

from __future__ import annotations

from importlib import import_module

from controllers.vmc.model import ProgrammingModel
from hoverboard.contract.checks.class_shape import ShapeFault, methods_of, shape_fault
from hoverboard.contract.errors import InputError
from hoverboard.contract.models import NAMES, choices
from hoverboard.contract.plugins import file_of, load_class, user_code

_EXAMPLE = "write a file with `class Mine(GatewayModel)`, and name it as mine.py:Mine (see docs/models.md)"


def _shipped(name: str) -> ProgrammingModel:
    """The model of module NAME, which is declared with `shipped=NAME`."""
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    kinds = (kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, ProgrammingModel))
    return next(kind for kind in kinds if kind.name == name)()


MODELS: dict[str, ProgrammingModel] = {name: _shipped(name) for name in NAMES}


def model_named(name: str, *, where: str = "--model") -> ProgrammingModel:
    """The model of this name, or of this file: "/path/file.py:Class".

    Raises:
        InputError: the model or file does not exist, or its class cannot be made.
    """
    if name in MODELS:
        return MODELS[name]
    found = file_of(name)
    if found is None:
        step = f"use one of {choices()}, or FILE.py:Class"
        raise InputError(f"unknown programming model {name!r}", where=where, next_step=step)
    kind = load_class(name, ProgrammingModel, where, noun="programming model", next_step=_EXAMPLE)
    fault = model_fault(kind)
    if fault is not None:
        place = name if fault.line is None else f"{found[0]}:{fault.line}"
        raise InputError(fault.what, where=place, next_step="give it the form that it has in ProgrammingModel")
    with user_code(f"{kind.__name__}()", found[0], next_step="give it an `__init__` without arguments"):
        model: ProgrammingModel = kind()
    model.name = name
    return model


def model_fault(kind: type[ProgrammingModel]) -> ShapeFault | None:
    """The fault of a model's class: a method that cannot be called, or a fact that is not a bool; None: no fault."""
    for fact in ("offloads", "answers", "learns", "relays"):
        if not isinstance(getattr(kind, fact), bool):
            return ShapeFault(f"{kind.__name__}.{fact} is {getattr(kind, fact)!r}, and neither True nor False")
    return shape_fault(kind, methods_of(ProgrammingModel, items=True), ProgrammingModel)
