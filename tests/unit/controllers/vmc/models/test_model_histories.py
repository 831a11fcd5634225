"""Programming models: whatever the entities and whatever happened, packets go where intent allows.

For random sequences of changes every model delivers exactly the pairs that the intent allows and that
are joined, never across tenants; incremental programs equal programs computed from nothing.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.controllers.vmc.models.model_history import (
    HOSTS,
    MODELS,
    POLICY_STEPS,
    PREFIXES,
    STEPS,
    begin,
    check,
    settle,
    step,
)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions=st.lists(STEPS, max_size=30))
def test_any_history(model: str, actions: list[tuple[Any, ...]]) -> None:
    history = begin(model)
    for action in actions:
        step(history, action)
    check(history)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions=st.lists(st.one_of(POLICY_STEPS, POLICY_STEPS, STEPS), min_size=2, max_size=12), ipv6=st.booleans())
def test_any_policy_among_plugged_vms(model: str, actions: list[tuple[Any, ...]], ipv6: bool) -> None:
    history = begin(model, ipv6)
    for number, slot in enumerate([("blue", 2), ("blue", 3), ("blue", 4), ("blue", 5), ("green", 2), ("green", 3)]):
        for kind in ("vm", "bind", "port"):
            step(history, (kind, slot, HOSTS[number % len(HOSTS)]))
    step(history, ("tag", ("blue", 2), ("web",)))
    step(history, ("tag", ("blue", 3), ("web", "db")))
    step(history, ("route", ("blue", 4), PREFIXES[1], 1))
    for action in actions:
        step(history, action)
    check(history)


_CHANGES = st.tuples(st.just("model"), st.sampled_from(MODELS), st.booleans())


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions=st.lists(st.one_of(STEPS, _CHANGES), max_size=30))
def test_any_history_with_changes_of_the_model(model: str, actions: list[tuple[Any, ...]]) -> None:
    history = begin(model)
    for action in actions:
        step(history, action)
    settle(history.world)
    check(history)
