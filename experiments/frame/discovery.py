"""Which experiments there are: the catalogue's by name, anybody's by the path of its file."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

from experiments import catalog
from experiments.frame.experiment import Experiment
from hoverboard.contract.errors import InputError


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
    """An experiment by its name, or by the path of a Python file that has one.

    Raises:
        InputError: there is none; says which there are, or what is wrong with the file.
    """
    if name.endswith(".py") or "/" in name:
        return _from_file(Path(name))
    known = catalogue()
    if name not in known:
        raise InputError(
            f"there is no experiment {name}", where=name, next_step=f"there are: {', '.join(known)}; or give a file"
        )
    return known[name]


def _from_file(path: Path) -> Experiment:
    if not path.is_file():
        raise InputError("there is no such file", where=str(path), next_step="give the path of a Python file")
    name = f"experiment_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(
            f"the file cannot be loaded: {type(error).__name__}: {error}",
            where=str(path),
            next_step="run it with python to see where",
        ) from error
    found = _of(module)
    if len(found) != 1:
        raise InputError(
            f"the file has {len(found)} experiments",
            where=str(path),
            next_step="one class derived from experiments.frame.experiment.Experiment, with points() and measure()",
        )
    return found[0]()
