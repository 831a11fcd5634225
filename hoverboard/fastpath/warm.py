"""Load (or compile, the first time) everything that the fast path calls from Python.

`python -m hoverboard.fastpath.warm` fills Numba's cache on disk, which bootstrap does once.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from hoverboard.fastpath import ring
from hoverboard.fastpath.engine import run
from hoverboard.fastpath.flowtable import Entry, FlowTable
from hoverboard.fastpath.geneve import decapsulate
from hoverboard.fastpath.layout import BATCH_WORDS, CTL_STOP, INJECT_RAW, KEY_WORDS, allocate
from hoverboard.fastpath.packet import parse


def warm() -> float:
    """Call each entry point once with memory of its own; returns the seconds it took."""
    begin = time.perf_counter()
    memory = allocate()
    memory.ctl[CTL_STOP] = 1
    run(memory, 0)
    table = FlowTable(memory, lambda: None)
    table.update(add=[((1, 0, 0, 0, 0, 0), Entry(0, 0))])
    table.update(remove=[(1, 0, 0, 0, 0, 0)])
    frame = np.zeros(64, np.uint8)
    parse(frame, 0, 64, 1, 0, np.zeros(KEY_WORDS, np.int64))
    decapsulate(frame, 0, 64, 0, np.zeros(BATCH_WORDS, np.int64))
    ring.push(memory.inject_index, memory.inject_meta, memory.inject_data, 1, 0, INJECT_RAW, frame, 0, 64)
    if ring.waiting(memory.inject_index):
        ring.slot_at(memory.inject_index)
        ring.release(memory.inject_index)
    return time.perf_counter() - begin


if __name__ == "__main__":
    print(f"fast path ready in {warm():.1f} s", file=sys.stderr)
