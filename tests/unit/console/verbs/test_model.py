"""`hoverboard model show` says what the model does and has decided, not counts alone."""

from __future__ import annotations

from typing import Any

import pytest

from console.verbs.model import shown_lines
from hoverboard.contract.models import MODELS

SHOWN: Any = {
    "model": "hoverboard", "switching": None, "offloads": 1, "lookups": 0, "hoverboards_down": ["hv1"],
    "flows": {"h1": 1, "hv1": 23}, "offload_threshold_bps": 20_000.0, "offload_idle_expiry_s": 10.0,
    "report_interval_s": 1.0,
}  # fmt: skip


def lines(**changed: Any) -> list[str]:
    return list(shown_lines({**SHOWN, **changed}))  # type: ignore[typeddict-item]


def test_what_it_does_what_it_has_decided_and_the_flows() -> None:
    assert lines() == [
        "model hoverboard",
        "  traffic between hosts goes over a Hoverboard, until a VM pair sends enough for a direct path",
        "  1 VM pair with a direct path: hoverboard offloads "
        "(from 20.00 kbit/s in 1 s; without traffic for 10 s it goes)",
        "  h1: 1 flow",
        "  hv1: 23 flows, left out of default routes",
    ]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_summary(model: str) -> None:
    assert lines(model=model)[1] == f"  {MODELS[model].summary}"
    assert len(MODELS[model].summary) > 20


def test_questions_of_hosts_and_a_change_that_is_not_done() -> None:
    shown = lines(model="on-demand", offloads=0, lookups=3, switching="confirmations of h2")
    assert shown[0] == "model on-demand, changing: confirmations of h2"
    assert "  3 questions of hosts with an answer now" in shown
    assert not any("offloads" in line for line in shown)


def test_what_is_not_known_is_left_out() -> None:
    shown = lines(model="/root/tagged.py:Tagged", offloads=None, lookups=None, offload_threshold_bps=None, flows={})
    assert shown == ["model /root/tagged.py:Tagged"]
    assert lines(report_interval_s=None)[2] == "  1 VM pair with a direct path: hoverboard offloads"
