"""Programming models from files: `path.py:Class`, a subclass of `ProgrammingModel` (docs/models.md has an example)."""

from __future__ import annotations

import importlib.util
import inspect
import traceback
from pathlib import Path
from types import ModuleType

from controllers.vmc.model import ProgrammingModel
from hoverboard.contract.errors import InputError

_EXAMPLE = "write a file with `class Mine(GatewayModel)`, and name it as mine.py:Mine (see docs/models.md)"


def load_model(reference: str, where: str) -> ProgrammingModel:
    """The model of `reference`, "/path/file.py:Class" or "/path/file.py" with one model in it; its name is `reference`.

    Raises:
        InputError: the file cannot be read or run, has no such model, or the model cannot be made.
    """
    kind = _class_of(reference, where)
    if inspect.isabstract(kind):
        lacking = ", ".join(sorted(kind.__abstractmethods__))
        raise InputError(f"class {kind.__name__} does not say {lacking}", where=reference, next_step=_EXAMPLE)
    try:
        model = kind()
    except Exception as error:  # a user's code may raise anything
        raise InputError(
            f"{kind.__name__}() raised {error!r}", where=reference, next_step="make it without arguments"
        ) from error
    model.name = reference
    return model


def _class_of(reference: str, where: str) -> type[ProgrammingModel]:
    name, _, wanted = reference.rpartition(".py:") if ".py:" in reference else (reference.removesuffix(".py"), "", "")
    path = Path(f"{name}.py")
    if not path.is_file():
        raise InputError(f"there is no model file {path.name!r}", where=f"{where}: {path}", next_step=_EXAMPLE)
    module = _run(path)
    found = {
        kind.__name__: kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, ProgrammingModel) and kind.__module__ == module.__name__
    }
    if wanted in found:
        return found[wanted]
    if wanted:
        what = "is not a subclass of ProgrammingModel" if hasattr(module, wanted) else "is not in it"
        raise InputError(f"class {wanted!r} {what}", where=reference, next_step=_EXAMPLE)
    if len(found) != 1:
        names = ", ".join(sorted(found)) or "none"
        raise InputError(f"one model has to be named; the file has {names}", where=reference, next_step=_EXAMPLE)
    return next(iter(found.values()))


def _run(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"programming_model_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        line = next((f", line {frame.lineno}" for frame in reversed(traceback.extract_tb(error.__traceback__))
                     if frame.filename == str(path)), "")  # fmt: skip
        raise InputError(
            f"the model file raised {type(error).__name__}: {error}", where=f"{path}{line}", next_step="correct it"
        ) from error
    return module
