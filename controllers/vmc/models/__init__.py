"""The programming models by name: a shipped one has a module here, any other is a class in a file (paper section 3.3).

The one place where the rest of the control plane, and the layers above, get a model from.
"""

from __future__ import annotations

from importlib import import_module

from controllers.vmc.model import ProgrammingModel
from controllers.vmc.models.files import load_model
from hoverboard.contract.errors import InputError
from hoverboard.contract.models import NAMES, choices
from hoverboard.contract.plugins import file_of


def _shipped(name: str) -> ProgrammingModel:
    """The model of module NAME, which declares it by `shipped=NAME`."""
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    kinds = (kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, ProgrammingModel))
    return next(kind for kind in kinds if kind.name == name)()


MODELS: dict[str, ProgrammingModel] = {name: _shipped(name) for name in NAMES}


def model_named(name: str, *, where: str = "--model") -> ProgrammingModel:
    """The model of this name, or of this file: "/path/file.py:Class".

    Raises:
        InputError: there is none, or the file is wrong.
    """
    if name in MODELS:
        return MODELS[name]
    if file_of(name):
        return load_model(name, where)
    raise InputError(
        f"unknown programming model {name!r}", where=where, next_step=f"use one of {choices()}, or FILE.py:Class"
    )
