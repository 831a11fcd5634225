"""The flow table against a dict, and under a reader that never stops."""

from __future__ import annotations

import threading

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hoverboard.fastpath.atomics import load_acquire
from hoverboard.fastpath.compiler import compiled
from hoverboard.fastpath.flowtable import ACT_DROP, Entry, FlowTable, find
from hoverboard.fastpath.layout import CTL_ACK, CTL_EPOCH, CTL_FIVE, CTL_STOP, CTL_TABLE, Memory, allocate
from hoverboard.fastpath.packet import FIVE, mix

# A small pool, so that keys meet, and low entropy in all but one word, so that probes collide.
KEYS = st.builds(
    lambda port, pair, five: (port << 48 | five, 0, 0, 0, pair, 77 if five else 0),
    st.integers(1, 3), st.integers(0, 40), st.integers(0, 1),
)  # fmt: skip


def look_up(memory, key):
    words = np.array(key, np.int64)
    words[0] &= ~FIVE
    five = key[0] & FIVE
    row = find(memory.slots, int(memory.ctl[CTL_TABLE]), memory.keys, words, key[5], five, mix(words, key[5], five))
    return None if row < 0 else int(memory.entry_port[row])


class AgainstDict(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.memory = allocate()
        self.switches = 0
        self.table = FlowTable(self.memory, self.switched)
        self.model = {}

    def switched(self):
        self.switches += 1

    @rule(add=st.dictionaries(KEYS, st.integers(0, 1000), max_size=8), remove=st.sets(KEYS, max_size=8))
    def update(self, add, remove):
        self.table.update([(key, Entry(ACT_DROP, value)) for key, value in add.items()], remove)
        for key in remove:
            self.model.pop(key, None)
        self.model.update(add)

    @invariant()
    def same(self):
        assert len(self.table) == len(self.model)
        assert self.memory.ctl[CTL_FIVE] == sum(key[0] & FIVE for key in self.model)
        for key, value in self.model.items():
            assert look_up(self.memory, key) == value
        self.memory.ctl[CTL_TABLE] ^= 1  # both copies say the same
        for key, value in self.model.items():
            assert look_up(self.memory, key) == value
        self.memory.ctl[CTL_TABLE] ^= 1


AgainstDict.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestAgainstDict = AgainstDict.TestCase


@compiled
def _read_forever(memory: Memory, keys: np.ndarray, wrong: np.ndarray) -> int:
    """An engine's view: every key of a pair must be there, and both must say the same generation."""
    rounds = 0
    epoch = np.int64(0)
    while not memory.ctl[CTL_STOP]:
        asked = load_acquire(memory.ctl, CTL_EPOCH)
        if asked != epoch:
            epoch = asked
            memory.ctl[CTL_ACK] = epoch
        table = memory.ctl[CTL_TABLE]
        first = find(memory.slots, table, memory.keys, keys[0], 0, 0, mix(keys[0], 0, 0))
        second = find(memory.slots, table, memory.keys, keys[1], 0, 0, mix(keys[1], 0, 0))
        if first < 0 or second < 0:
            wrong[0] += 1
        elif memory.entry_port[first] != memory.entry_port[second]:
            wrong[1] += 1
        rounds += 1
    return rounds


def test_a_reader_never_meets_half_an_update():
    memory = allocate()
    pair = [(1 << 48, 0, 0, 0, word, 0) for word in (5, 6)]
    engine_runs = threading.Event()

    def switch():
        if not engine_runs.is_set():
            return
        memory.ctl[CTL_EPOCH] += 1
        while memory.ctl[CTL_ACK] < memory.ctl[CTL_EPOCH]:
            engine_runs.wait(0)

    table = FlowTable(memory, switch)
    table.update([(key, Entry(ACT_DROP, 0)) for key in pair])
    wrong, rounds = np.zeros(2, np.int64), []
    words = np.array(pair, np.int64)
    memory.ctl[CTL_STOP] = 1
    _read_forever(memory, words, wrong)  # compiled before the race begins
    memory.ctl[CTL_STOP] = 0
    reader = threading.Thread(target=lambda: rounds.append(_read_forever(memory, words, wrong)))
    engine_runs.set()
    reader.start()
    for generation in range(1, 300):
        table.update([(key, Entry(ACT_DROP, generation)) for key in pair])
        others = [(2 << 48, 0, 0, 0, generation * 8 + i, 0) for i in range(4)]
        table.update([(key, Entry(ACT_DROP, 1)) for key in others])
        table.update(remove=others)
    memory.ctl[CTL_STOP] = 1
    reader.join(10)
    assert rounds[0] > 300
    assert list(wrong) == [0, 0]


def test_statistics_survive_a_replacement():
    memory = allocate()
    table = FlowTable(memory, lambda: None)
    key = (1 << 48, 0, 0, 0, 5, 0)
    table.update([(key, Entry(ACT_DROP, 1))])
    memory.entry_packets[:] = 3
    memory.entry_bytes[:] = 300
    table.update([(key, Entry(ACT_DROP, 2))])
    assert table.statistics()[key] == (ACT_DROP, 2, 3, 300)
    table.update(remove=[key])
    table.update([(key, Entry(ACT_DROP, 2))])
    assert table.statistics()[key] == (ACT_DROP, 2, 0, 0)
