"""Any change of any program: afterwards each cached entry does what the switch would do, or is gone."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from hoverboard.vswitch.monitor import parse_event
from tests.cached_answers import learn, wrong_answers
from tests.random_programs import ProgramChange, RandomFlow, RandomPacket, stories
from tests.unit.hoverboard.flow_miss_oracle import Oracle
from tests.unit.hoverboard.host.slowpath.openflow_model import ModelSwitch


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories())
def test_entries_after_a_change_of_a_random_program(
    handler: Oracle,
    story: tuple[list[RandomFlow], list[RandomPacket], list[ProgramChange]],
) -> None:
    program, found, changes = story
    handler.forget(list(handler.cached))
    switch = ModelSwitch(program)
    handler.switch.answer = switch.answer
    learn(handler, found)
    assert wrong_answers(handler, found) == []
    for change in changes:
        events = [parse_event(line) for line in switch.apply(change)]
        handler.revalidate([event for event in events if event is not None])
        assert wrong_answers(handler, found) == [], change.line()
