"""Programming models from files: `path.py:Class`, a subclass of `ProgrammingModel` (docs/models.md has an example)."""

from __future__ import annotations

from controllers.vmc.model import ProgrammingModel
from hoverboard.contract.errors import InputError
from hoverboard.contract.plugins import load_class

_EXAMPLE = "write a file with `class Mine(GatewayModel)`, and name it as mine.py:Mine (see docs/models.md)"


def load_model(reference: str, where: str) -> ProgrammingModel:
    """The model of `reference`, "/path/file.py:Class" or "/path/file.py" with one model in it; its name is `reference`.

    Raises:
        InputError: the file cannot be read or run, has no such model, or the model cannot be made.
    """
    kind = load_class(reference, ProgrammingModel, where, noun="programming model", next_step=_EXAMPLE)
    try:
        model: ProgrammingModel = kind()
    except Exception as error:  # a user's code may raise anything
        raise InputError(
            f"{kind.__name__}() raised {error!r}", where=reference, next_step="make it without arguments"
        ) from error
    model.name = reference
    return model
