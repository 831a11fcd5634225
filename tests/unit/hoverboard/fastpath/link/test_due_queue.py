"""The queue of packets with due times beside a list: nothing is lost, changed or reordered, and few pages are used."""

from __future__ import annotations

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from hoverboard.fastpath.link.due_queue import head, is_empty, put, room, take
from hoverboard.fastpath.link.link_memory import FRAME_BYTES, LENGTH, OFFSET, WHEN, Direction, new_direction

RECORDS = 16
ARENA = 8 * FRAME_BYTES


class Pair:
    """A queue, and the list that it stands for."""

    def __init__(self) -> None:
        self.queue: Direction = new_direction(RECORDS, ARENA)
        self.wanted: deque[tuple[int, int]] = deque()
        self.number = 0
        self.highest = 0

    def put(self, size: int, *, twice: bool) -> bool:
        offset = room(self.queue)
        if offset < 0:
            return False
        assert 0 <= offset <= ARENA - FRAME_BYTES
        self.number += 1
        # As a read of a tap, which may write more than the packet has in the end.
        self.queue.arena[offset : offset + FRAME_BYTES] = 255
        self.queue.arena[offset : offset + size] = self.number % 251
        for _ in range(1 + twice):
            put(self.queue, offset, size, self.number)
            self.wanted.append((self.number, size))
        self.highest = max(self.highest, offset + size)
        return True

    def take(self) -> None:
        number, size = self.wanted.popleft()
        record = self.queue.records[head(self.queue)]
        assert (record[WHEN], record[LENGTH]) == (number, size)
        content = self.queue.arena[record[OFFSET] : record[OFFSET] + size]
        assert (content == number % 251).all()
        take(self.queue)


SIZES = st.one_of(st.integers(1, 2000), st.integers(1, FRAME_BYTES))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.just("take"), st.tuples(SIZES, st.booleans())), max_size=200))
def test_it_is_a_list_first_in_first_out(steps: list[str | tuple[int, bool]]) -> None:
    pair = Pair()
    for step in steps:
        if isinstance(step, str):
            if pair.wanted:
                pair.take()
        else:
            size, twice = step
            if not pair.put(size, twice=twice):
                assert len(pair.wanted) >= 3  # there is room for some packets of any size
        assert is_empty(pair.queue) == (not pair.wanted)
    while pair.wanted:
        pair.take()
    assert is_empty(pair.queue)


def test_it_is_full_and_then_has_room_again() -> None:
    pair = Pair()
    while pair.put(FRAME_BYTES, twice=False):
        assert len(pair.wanted) <= ARENA // FRAME_BYTES
    assert len(pair.wanted) >= ARENA // FRAME_BYTES - 1
    pair.take()
    pair.take()
    assert pair.put(FRAME_BYTES, twice=False)
    while pair.wanted:
        pair.take()


def test_there_are_as_many_records_as_packets() -> None:
    pair = Pair()
    while pair.put(60, twice=False):
        pass
    assert len(pair.wanted) == RECORDS - 1  # room for a packet and its copy is always left


def test_a_link_with_few_packets_inside_uses_few_pages() -> None:
    pair = Pair()
    for _ in range(10):
        pair.put(1500, twice=False)
    for _ in range(5000):
        pair.put(1500, twice=False)
        pair.take()
    assert pair.highest < 5 * FRAME_BYTES
