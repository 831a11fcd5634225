"""Tables of `hoverboard experiment`: experiments, parameters, verdicts, and two runs compared. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from console.show.tables import table

if TYPE_CHECKING:
    from rich.table import Table

    from experiments.frame.experiment import ClaimVerdict
    from experiments.frame.parameters import Parameter
    from experiments.sweeps.comparison import Compared
    from hoverboard.contract.experiment_documents import ListedExperiment


def experiments(documents: Iterable[ListedExperiment]) -> Table:
    """The experiments, one row each."""
    return table(
        "experiments",
        ("name", "source", "what is measured", "#minutes"),
        ((one["name"], one["source"], one["measures"], f"{one['minutes']:g}") for one in documents),
    )


def parameters(several: Iterable[Parameter]) -> Table:
    """The parameters of an experiment."""
    return table(
        "parameters (--set NAME=VALUE)",
        ("name", "default", "unit", "what", "allowed"),
        ((one.name, one.shown(), one.unit or "-", one.what, one.allowed()) for one in several),
    )


def verdicts(name: str, several: Sequence[ClaimVerdict], repetitions: int) -> Table:
    """The paper's claims, each with what was measured and a verdict."""
    from experiments.sweeps.report import verdict_word

    return table(
        name,
        ("claim", "paper", "here", "#here / paper", "verdict", "why"),
        (
            (
                one.claim,
                one.paper,
                one.ours,
                "" if one.ratio is None else f"{one.ratio:.2g}",
                verdict_word(one.result, repetitions),
                one.why,
            )
            for one in several
        ),
    )


def compared(several: Iterable[Compared]) -> Table:
    """Two runs side by side."""
    return table(
        "medians of A and B",
        ("metric", "labels", "#A", "#B", "unit", "#B / A", "quartiles apart"),
        (
            (
                one.metric, ", ".join(f"{name}={value}" for name, value in one.labels.items()) or "-",
                f"{one.a.median:.4g} (n={one.a.n})", f"{one.b.median:.4g} (n={one.b.n})", one.unit,
                "-" if one.ratio is None else f"{one.ratio:.2f}", "yes" if one.apart else "no",
            )
            for one in several
        ),
    )  # fmt: skip
