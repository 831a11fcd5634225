"""Finds experiments: those of the catalogue by name, other ones by the path of their file."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from experiments import catalog
from experiments.frame.experiment import Experiment
from hoverboard.contract.errors import InputError
from hoverboard.contract.plugins import file_of, load_class

_NEXT = "give FILE.py:Class: a class derived from experiments.frame.experiment.Experiment, with points() and measure()"


def _of(module: ModuleType) -> list[type[Experiment]]:
    return [
        one
        for one in vars(module).values()
        if isinstance(one, type)
        and issubclass(one, Experiment)
        and one.__module__ == module.__name__
        and not getattr(one, "__abstractmethods__", None)
    ]


def catalogue() -> dict[str, Experiment]:
    """The experiments that come with Hoverboard, by name, in the paper's order."""
    found = {}
    for module in pkgutil.iter_modules(catalog.__path__):
        for kind in _of(importlib.import_module(f"{catalog.__name__}.{module.name}")):
            found[kind.name] = kind()
    return {name: found[name] for name in sorted(found, key=lambda name: (found[name].order, name))}


def find(name: str) -> Experiment:
    """An experiment by its name, or a user's own by FILE.py or FILE.py:Class.

    Raises:
        InputError: there is no such experiment, or the file is wrong. The error says what to give.
    """
    if file_of(name) is not None or "/" in name:
        kind: type[Experiment] = load_class(name, Experiment, noun="experiment", next_step=_NEXT)
        return kind()
    known = catalogue()
    if name not in known:
        raise InputError(
            f"there is no experiment {name}", where=name, next_step=f"give one of {', '.join(known)}, or a file"
        )
    return known[name]
