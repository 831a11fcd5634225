"""The flow table against a dict, and under engines that never stop looking up."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.engine.commands import run_commands
from hoverboard.fastpath.engine.datapath import Datapath
from hoverboard.fastpath.memory import control, entries, host
from hoverboard.fastpath.memory.arrays import Memory, allocate
from hoverboard.fastpath.packets.flow_table import Entry, FlowTable, find
from hoverboard.fastpath.packets.parse import FIVE_TUPLE, mix, with_ports

ETH_IPV6_WORD = 0x86DD << 32
# A small pool, so that keys meet, and low entropy in all but one word, so that probes collide.
THREE = st.builds(
    lambda port, pair, six: (port << 48 | (ETH_IPV6_WORD if six else 0), 0, 9, 8, pair, *(six, six << 40, pair * six)),
    st.integers(1, 3), st.integers(0, 30), st.integers(0, 2),
)  # fmt: skip
KEYS = st.builds(lambda three, ports: with_ports(three, ports) if ports else three, THREE, st.integers(0, 2))


def look_up(memory, key):
    words = np.array(key, np.int64)
    five = key[0] & FIVE_TUPLE
    words[0] &= ~FIVE_TUPLE
    ports = int(words[2] >> 48 & 0xFFFF) << 16 | int(words[3] >> 48 & 0xFFFF)
    words[2] &= (1 << 48) - 1
    words[3] &= (1 << 48) - 1
    table = int(memory.ctl[control.TABLE])
    row = find(memory.slots, table, memory.keys, words, ports, five, mix(words, ports, five))
    return None if row < 0 else int(memory.entries[row, entries.TARGET])


class AgainstDict(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.memories = allocate()
        self.table = FlowTable(self.memories, self.switched)
        self.model = {}

    def switched(self, table, five):
        for memory in self.memories:
            memory.ctl[control.TABLE], memory.ctl[control.FIVE_TUPLES] = table, five

    @rule(add=st.dictionaries(KEYS, st.integers(0, 1000), max_size=8), remove=st.sets(KEYS, max_size=8))
    def update(self, add, remove):
        self.table.update([(key, Entry(entries.ACT_DROP, value)) for key, value in add.items()], remove)
        for key in remove:
            self.model.pop(key, None)
        self.model.update(add)

    @rule(key=KEYS)
    def ask_for_one(self, key):
        assert look_up(self.memories[0], key) == self.model.get(key)
        assert (key in self.table) == (key in self.model)

    @invariant()
    def same(self):
        assert len(self.table) == len(self.model)
        five = sum(key[0] & FIVE_TUPLE for key in self.model)
        assert [memory.ctl[control.FIVE_TUPLES] for memory in self.memories] == [five, five]
        one, other = self.memories
        assert one.ctl[control.TABLE] == other.ctl[control.TABLE]
        for _ in range(2):  # both copies of the table, which the engines share, say the same
            for key, value in self.model.items():
                assert look_up(one, key) == value
            one.ctl[control.TABLE] ^= 1


AgainstDict.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestAgainstDict = AgainstDict.TestCase

# What an engine saw, by key: generation last seen, packets. And what must never be, over all keys.
SEEN, PACKETS, ABSENT = 0, 1, 2
TORN, BACK, PAIR, ROUNDS = 0, 1, 2, 3
BATCH = 16
HEAD = np.arange(entries.TEMPLATE_BYTES)


@compiled
def whole(memory: Memory, row: int, number: int) -> int:
    """The generation that entry `row` was made of, or -1 if parts of it are another's, or another key's."""
    entry = memory.entries[row]
    generation = entry[entries.TARGET]
    if (
        entry[entries.ACTION] != generation % 3
        or entry[entries.SUM] != generation * 3
        or entry[entries.STAGES] != generation * 5
        or entry[entries.CHAIN] != number
        or memory.macs[entry[entries.MACS], 0] != generation * 7
        or memory.macs[entry[entries.MACS], 1] != generation * 11
    ):
        return -1
    for i in range(entries.TEMPLATE_BYTES):
        if memory.headers[entry[entries.HEADER], i] != (generation + number + i) & 0xFF:
            return -1
    return generation


@compiled
def look_up_for_ever(memory: Memory, keys: np.ndarray, pairs: int, seen: np.ndarray, wrong: np.ndarray, rows, stop):
    """An engine: commands, then a batch of look-ups, then what the entries say; the first keys are pairs."""
    at = 0
    while not stop[0]:
        run_commands(memory)
        table = memory.ctl[control.TABLE]
        for i in range(BATCH):
            key = keys[(at + i) % keys.shape[0]]
            rows[i] = find(memory.slots, table, memory.keys, key, 0, 0, mix(key, 0, 0))
        before = np.int64(-1)
        for i in range(BATCH):
            number = (at + i) % keys.shape[0]
            if rows[i] < 0:
                seen[number, ABSENT] += 1
                before = -1
                continue
            generation = whole(memory, rows[i], number)
            memory.stats[rows[i], 0] += 1
            memory.stats[rows[i], 1] += 10
            seen[number, PACKETS] += 1
            if generation < 0:
                wrong[TORN] += 1
            elif generation < seen[number, SEEN]:
                wrong[BACK] += 1
            if number < pairs and number & 1 and i > 0 and generation != before:
                wrong[PAIR] += 1
            seen[number, SEEN] = generation
            before = generation
        at = (at + BATCH) % keys.shape[0]
        wrong[ROUNDS] += 1
    run_commands(memory)


class Readers:
    """Where the engines of the test run: a thread for each, that looks up and nothing else. See EngineHome."""

    def __init__(self, keys, pairs):
        self.words, self.pairs = np.array(keys, np.int64), pairs
        self.seen = np.zeros((2, len(keys), 3), np.int64)
        self.wrong = np.zeros((2, 4), np.int64)
        self.rows = np.zeros((2, BATCH), np.int64)
        self.stop = np.zeros(1, np.int64)
        self.threads = []

    def start(self, memories, control_eventfd):
        memories[0].host[host.CONTROL_EVENTFD] = control_eventfd
        self.stop[0] = 1
        look_up_for_ever(
            memories[0], self.words, self.pairs, self.seen[0], self.wrong[0], self.rows[0], self.stop
        )  # compiled
        self.stop[0] = 0
        for memory, seen, wrong, rows in zip(memories, self.seen, self.wrong, self.rows, strict=True):
            arguments = (memory, self.words, self.pairs, seen, wrong, rows, self.stop)
            self.threads.append(threading.Thread(target=look_up_for_ever, args=arguments))
            self.threads[-1].start()

    def plug(self, port, fd):
        raise AssertionError("no descriptors here")

    def unplug(self, port):
        raise AssertionError("no descriptors here")

    def wake(self):
        pass

    def close(self):
        self.stop[0] = 1
        for thread in self.threads:
            thread.join(10)


def generation_of(number, generation):
    """An entry all of whose parts are derived from its key's number and a generation."""
    return Entry(
        generation % 3, generation, (generation * 7).to_bytes(6, "big") + (generation * 11).to_bytes(6, "big"),
        ((HEAD + generation + number) & 0xFF).astype(np.uint8).tobytes(), generation * 3, generation * 5, number,
    )  # fmt: skip


def test_no_packet_meets_half_an_entry_while_the_table_changes():
    """Two real engines' threads look up while the control thread adds, replaces and removes against a dict.

    The first 16 keys are never removed, and replaced in pairs: both of a pair are seen in one generation.
    The others come and go. What the engines counted by key is what the table says, across replacements.
    """
    pairs, count, updates = 16, 48, 250
    keys = [(1 << 48, 0, 0, 0, number * 3, 0, 0, 0) for number in range(count)]
    readers = Readers(keys, pairs)
    datapath = Datapath(readers)
    table = FlowTable(datapath.memories, datapath.switch_table)
    table.update([(keys[number], generation_of(number, 1)) for number in range(pairs)])
    oracle = dict.fromkeys(range(pairs), 1)
    chance = random.Random(3)
    datapath.start()
    try:
        for generation in range(2, updates):
            pair = chance.randrange(0, pairs, 2)
            others = chance.sample(range(pairs, count), 8)
            add = [pair, pair + 1, *others[:4]]
            table.update([(keys[number], generation_of(number, generation)) for number in add],
                         [keys[number] for number in others[4:]])  # fmt: skip
            oracle.update(dict.fromkeys(add, generation))
            for number in others[4:]:
                oracle.pop(number, None)
    finally:
        readers.close()
    assert {key[4] // 3: target for key, (_, target, *_) in table.statistics().items()} == oracle
    assert not readers.wrong[:, :ROUNDS].any(), "torn, older than before, pairs apart: by engine"
    assert (readers.wrong[:, ROUNDS] > updates).all()
    assert not readers.seen[:, :pairs, ABSENT].any()
    for number in range(pairs):
        packets = int(readers.seen[:, number, PACKETS].sum())
        assert table.counted(keys[number]) == (packets, 10 * packets), "counted across replacements"
    datapath.stop()


def test_statistics_are_summed_over_engines_and_survive_a_replacement():
    memories = allocate()
    table = FlowTable(memories, lambda *_: None)
    key = (1 << 48, 0, 0, 0, 5, 0, 0, 0)
    table.update([(key, Entry(entries.ACT_DROP, 1))])
    for memory in memories:
        memory.stats[:] = (3, 300)
    table.update([(key, Entry(entries.ACT_DROP, 2))])
    assert table.statistics()[key] == (entries.ACT_DROP, 2, 6, 600)
    table.update(remove=[key])
    table.update([(key, Entry(entries.ACT_DROP, 2))])
    assert table.statistics()[key] == (entries.ACT_DROP, 2, 0, 0)


def test_a_key_of_another_length_is_refused():
    table = FlowTable(allocate(), lambda *_: None)
    with pytest.raises(ValueError, match=f"{entries.KEY_WORDS} words"):
        table.update([((1, 2, 3), Entry(entries.ACT_DROP, 1))])


def test_the_table_holds_what_it_says_and_takes_no_more_than_its_rows():
    """Filled to its capacity, every key is found; an erased one is not, and its row is used again."""
    memories = allocate()
    table = FlowTable(memories, lambda *_: None)
    keys = [(1 << 48, 0, 0, 0, number << 32 | number, 0, 0, 0) for number in range(table.capacity)]
    table.update([(key, Entry(entries.ACT_DROP, number)) for number, key in enumerate(keys)])
    assert len(table) == table.capacity < entries.MAX_ENTRIES
    for number in range(0, table.capacity, 1021):
        assert look_up(memories[0], keys[number]) == number
    some = keys[::32]
    table.update(remove=some)
    assert look_up(memories[0], keys[0]) is None
    assert look_up(memories[0], keys[1]) == 1
    table.update([(key, Entry(entries.ACT_DROP, 7)) for key in some])
    assert look_up(memories[0], keys[0]) == 7
    assert table._next_row <= table.capacity, "rows of removed entries are used again"
