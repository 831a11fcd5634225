"""The programming models (paper 3.3): one table of facts, so that no other module lists or compares names.

A new model is a row here and a class in controllers/vmc/models/. A model from a file, `FILE.py:Class`, has no row: its
class has the facts as attributes. docs/models.md describes each model.
"""

from __future__ import annotations

from dataclasses import dataclass

# A class in a file, path.py:Class, or path.py if the file has one class (contract.plugins); for editors.
FILE_PATTERN = r"^.+\.py(:[A-Za-z_]\w*)?$"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Facts about a programming model, for all code outside the model.

    Attributes:
        offloads: busy VM pairs get flows for the direct path, so that usage reports matter.
        answers: hosts ask the controller, by packet-in, about unknown addresses.
        learns: hosts may install flows themselves (Kind.LEARNED), which the controller leaves alone.
        relays: Hoverboards carry packets, so that at least one is required.
        summary: what the model does, for `hoverboard model show`.
    """

    offloads: bool = False
    answers: bool = False
    learns: bool = False
    relays: bool = False
    summary: str = ""

    @property
    def scoped(self) -> bool:
        """Whether it works with regions. With two control planes, a host's question would get two answers."""
        return not (self.answers or self.learns)


MODELS: dict[str, ModelFacts] = {
    "preprogrammed": ModelFacts(summary="each host has the routes to all VMs of its networks"),
    "on-demand": ModelFacts(answers=True, summary="a host asks the controller for each address that it does not know"),
    "gateway": ModelFacts(relays=True, summary="all traffic between hosts goes over a Hoverboard"),
    "hoverboard": ModelFacts(
        relays=True,
        offloads=True,
        summary="traffic between hosts goes over a Hoverboard, until a VM pair sends enough for a direct path",
    ),  # fmt: skip
    "active-learning": ModelFacts(
        relays=True,
        learns=True,
        summary="traffic between hosts goes over a Hoverboard, until the host has asked it for a direct route",
    ),  # fmt: skip
}
NAMES = tuple(MODELS)
DEFAULT_MODEL = "hoverboard"


def choices(*, relays: bool | None = None, scoped: bool | None = None) -> str:
    """The names for a message, separated by commas: of all models, or of those with the given facts."""
    return ", ".join(
        name for name, facts in MODELS.items() if relays in (None, facts.relays) and scoped in (None, facts.scoped)
    )
