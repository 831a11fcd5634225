"""Loads (or compiles, the first time) all compiled functions that Python code calls.

`python -m hoverboard.fastpath.engine.warm` fills Numba's cache on disk, for the engines with debug elements too: then
the first capture of a machine begins at once. Bootstrap runs it. With `--debug` it does this for those engines alone.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from hoverboard.fastpath.engine import pre, vmm
from hoverboard.fastpath.engine.compose import DEBUG_ELEMENTS
from hoverboard.fastpath.engine.datapath import Datapath
from hoverboard.fastpath.engine.threads import load
from hoverboard.fastpath.link import link_thread
from hoverboard.fastpath.memory import entries, packets, rings
from hoverboard.fastpath.packets import ring
from hoverboard.fastpath.packets.flow_table import Entry, FlowTable
from hoverboard.fastpath.packets.geneve import decapsulate
from hoverboard.fastpath.packets.parse import parse


def warm_debug() -> float:
    """Compile or load the engines with all debug elements; returns the seconds it took."""
    begin = time.perf_counter()
    load(tuple(DEBUG_ELEMENTS))
    return time.perf_counter() - begin


def warm() -> float:
    """Call each entry point once with its own memory; returns the seconds it took."""
    begin = time.perf_counter()
    datapath = Datapath()
    table = FlowTable(datapath.memories, datapath.switch_table)
    key = (1, 0, 0, 0, 0, 0, 0, 0)
    table.update(add=[(key, Entry(0, 0))])
    table.update(remove=[key])
    frame = np.zeros(64, np.uint8)
    row = np.zeros(packets.WORDS, np.int64)
    parse(frame, 0, 64, 1, 0, np.zeros(entries.KEY_WORDS, np.int64), row)
    decapsulate(frame, 0, 64, 0, row)
    m = datapath.egress
    ring.push(m.inject_index, m.inject_meta, m.inject_data, 1, 0, rings.INJECT_RAW, 0, frame, 0, 64)
    if ring.waiting(m.inject_index):
        ring.slot_at(m.inject_index, m.inject_meta)
        ring.release(m.inject_index)
    load()
    vmm.load()
    pre.load()
    link_thread.load()
    return time.perf_counter() - begin


if __name__ == "__main__":
    only_debug = sys.argv[1:] == ["--debug"]
    seconds = warm_debug() + (0 if only_debug else warm())
    print(f"fast path ready in {seconds:.1f} s", file=sys.stderr)
