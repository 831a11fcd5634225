"""The programming models (paper 3.3): one table of facts, so that nobody else lists names or compares them.

A new model is a row here and a class in controllers/vmc/models/. A model from a file, `FILE.py:Class`, has no row:
its class has the facts as attributes. docs/models.md says what each model does.
"""

from __future__ import annotations

from dataclasses import dataclass

# A class in a file, path.py:Class, or path.py where it holds one (contract.plugins): for editors.
FILE_PATTERN = r"^.+\.py(:[A-Za-z_]\w*)?$"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What everybody but the model itself needs to know of a programming model.

    Attributes:
        offloads: busy pairs get flows of their own, so that usage matters.
        answers: hosts ask the controller, by packet-in, about addresses that they do not know.
        learns: hosts may put flows in themselves (Kind.LEARNED), which then are left alone.
        relays: Hoverboards carry packets, so that there has to be one.
    """

    offloads: bool = False
    answers: bool = False
    learns: bool = False
    relays: bool = False

    @property
    def scoped(self) -> bool:
        """Whether it goes with regions: a host's question would have an answer from each of two control planes."""
        return not (self.answers or self.learns)


MODELS: dict[str, ModelFacts] = {
    "preprogrammed": ModelFacts(),
    "on-demand": ModelFacts(answers=True),
    "gateway": ModelFacts(relays=True),
    "hoverboard": ModelFacts(relays=True, offloads=True),
    "active-learning": ModelFacts(relays=True, learns=True),
}
NAMES = tuple(MODELS)
DEFAULT_MODEL = "hoverboard"


def choices(*, relays: bool | None = None, scoped: bool | None = None) -> str:
    """The names for a message, comma between them: of all models, or of those with these facts."""
    return ", ".join(
        name for name, facts in MODELS.items() if relays in (None, facts.relays) and scoped in (None, facts.scoped)
    )
