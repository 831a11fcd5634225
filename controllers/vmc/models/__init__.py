"""The programming models by name, one class each (paper section 3.3).

The one place where the rest of the control plane gets a model from.
"""

from __future__ import annotations

from controllers.vmc.model import ProgrammingModel
from controllers.vmc.models.active_learning import ActiveLearningModel
from controllers.vmc.models.gateway import GatewayModel
from controllers.vmc.models.hoverboard import HoverboardModel
from controllers.vmc.models.on_demand import OnDemandModel
from controllers.vmc.models.preprogrammed import PreprogrammedModel
from hoverboard.contract.errors import InputError

_ALL: tuple[ProgrammingModel, ...] = (
    PreprogrammedModel(),
    OnDemandModel(),
    GatewayModel(),
    HoverboardModel(),
    ActiveLearningModel(),
)
MODELS: dict[str, ProgrammingModel] = {model.name: model for model in _ALL}


def model_named(name: str, *, where: str = "--model") -> ProgrammingModel:
    """The model of this name.

    Raises:
        InputError: there is none.
    """
    try:
        return MODELS[name]
    except KeyError:
        raise InputError(
            f"unknown programming model {name!r}", where=where, next_step=f"use one of {', '.join(sorted(MODELS))}"
        ) from None
