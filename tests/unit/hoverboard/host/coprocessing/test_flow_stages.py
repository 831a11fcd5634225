"""The words of a flow-table entry that say what is done with its packets beside forwarding them."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from hoverboard.fastpath.memory import entries
from hoverboard.host.coprocessing.flow_stages import (
    MOST_CHAINS,
    MOST_EVERY,
    NO_STAGES,
    FlowStages,
    StageWords,
    no_stages,
    stage_words,
)


@pytest.mark.parametrize(
    ("flow_stages", "stages"),
    [
        (NO_STAGES, 0),
        (FlowStages(7), 0),
        (FlowStages(7, True), entries.STAGE_COPROCESSOR),
        (FlowStages(7, False, 1), entries.STAGE_SAMPLE),
        (FlowStages(7, True, 8), entries.STAGE_COPROCESSOR | entries.STAGE_SAMPLE),
    ],
)
def test_stages_are_diverted_packets_and_samples(flow_stages: FlowStages, stages: int) -> None:
    assert flow_stages.stages == stages


def test_one_vms_part_stands_alone() -> None:
    assert stage_words(FlowStages(7, True, 8)) == StageWords(entries.STAGE_COPROCESSOR | entries.STAGE_SAMPLE, 7, 8)
    assert stage_words(NO_STAGES) == StageWords() == StageWords(0, 0, 0)


def test_the_receivers_part_stands_above_the_senders() -> None:
    both = stage_words(FlowStages(7, True), FlowStages(9, False, 3))
    assert both == StageWords(
        entries.STAGE_COPROCESSOR | entries.STAGE_SAMPLE << entries.STAGE_NEXT, 7 | 9 << 16, 3 << 16
    )
    most = stage_words(FlowStages(MOST_CHAINS, True, MOST_EVERY), FlowStages(MOST_CHAINS, True, MOST_EVERY))
    assert (most.chain, most.sample) == (0xFFFFFFFF, 0xFFFFFFFF), "they fill the entry's words"


def test_hosts_without_coprocessors_do_nothing() -> None:
    assert no_stages("egress", 100, IPv4Address("10.0.0.3"), 7, None) == NO_STAGES
