"""Where words stand in the engines' arrays: no two in one place, all of them within their row."""

from __future__ import annotations

from types import ModuleType

import pytest

from hoverboard.fastpath.memory import control, entries, host, packets, ports, reasons, rings
from hoverboard.fastpath.memory.arrays import Memory, allocate, mapping_bytes

# Of each module, what is not a column of its array.
OTHERS = {
    control: {"EGRESS", "INGRESS", "BATCH_EGRESS", "BATCH_INGRESS", "BATCH_BYTES", "COMMAND_SLOTS"},
    host: set(),
    ports: {"UPLINK", "FIRST_TAP", "COUNT"},
    packets: {
        "VNET_BYTES", "HEADROOM", "FRAME_MAX", "SLOT_BYTES", "POOL_SLOTS", "VM_QUEUE_SLOTS", "FIRST_DONE", "ALL_DONE",
    },
    entries: {"MAX_ENTRIES", "HASH_SLOTS", "KEY_WORDS", "MAX_PEERS", "TEMPLATE_BYTES", "HALF", "HALF_BITS"},
    rings: {
        "RING_SLOTS", "MISSES_PER_PORT", "MISSES_OF_UPLINK", "SIDE_SLOTS", "SIDES", "CHAIN_SAMPLE", "SAMPLE_ROOM",
        "SAMPLED", "SAMPLES_LOST",
    },
}  # fmt: skip
KINDS = ("CMD_", "KIND_", "ROW_", "ACT_", "STAGE_", "INJECT_", "MISS_", "TO_", "FROM_", "COPROCESSOR_", "VMM_")


def columns(module: ModuleType) -> dict[str, int]:
    """The columns of a module's array."""
    return {
        name: value
        for name, value in vars(module).items()
        if name.isupper() and name != "WORDS" and name not in OTHERS[module] and not name.startswith(KINDS)
    }


@pytest.mark.parametrize(
    ("module", "count"), [(control, 18), (host, 6), (ports, 8), (packets, 16), (entries, 8), (rings, 5)]
)
def test_each_column_has_a_place_of_its_own(module: ModuleType, count: int) -> None:
    found = columns(module)
    assert len(found) == len(set(found.values())) == count, found
    assert all(0 <= at < module.WORDS for at in found.values())


def test_a_row_of_the_flow_table_holds_key_entry_and_both_statistics() -> None:
    assert entries.ROW_ENTRY == entries.KEY_WORDS
    begin, after = entries.ROW_ENTRY, entries.ROW_ENTRY + entries.WORDS // 2  # 32 bits each, in words of 64
    assert [begin, after, *entries.ROW_STATS, entries.ROW_WORDS] == [8, 12, 12, 14, 16]


def test_every_reason_of_an_engine_has_its_number() -> None:
    numbers = {name: value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, int)}
    assert sorted(numbers.values()) == list(range(len(reasons.OF_ENGINES)))
    assert reasons.NAMES[: len(numbers)] == reasons.OF_ENGINES
    assert (reasons.NAMES[reasons.SHORT], reasons.NAMES[reasons.CAPACITY]) == ("short-frame", "over-capacity")
    assert len(set(reasons.NAMES)) == len(reasons.NAMES)


def test_both_engines_share_the_tables_and_nothing_else() -> None:
    egress, ingress = allocate()
    shared = [
        name for name in Memory._fields if getattr(egress, name).ctypes.data == getattr(ingress, name).ctypes.data
    ]
    assert shared == ["host", "ports", "slots", "keys", "entries", "headers", "macs", "peers"]
    assert sum(array.nbytes for array in egress) < mapping_bytes()
