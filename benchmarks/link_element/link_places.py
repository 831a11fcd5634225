"""Links in threads of one process beside links in a process each: memory and CPU time."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.harness.pauses import pause
from benchmarks.link_element.frame_generator import Generator
from benchmarks.link_element.link_bars import DELAY
from benchmarks.link_element.link_rig import RATE, Rig
from hoverboard.contract.links.link_properties import LinkProperties


def _pss(pid: int | str) -> float:
    """MiB of memory of a process, shared pages by their part."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return math.nan


def _forked(work: Callable[[], None]) -> int:
    """The pid of a child that does some work until it is killed."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            signal.pause()
        finally:
            os._exit(1)
    return pid


def placed(rigs_: Sequence[Rig], *, threads: bool, seconds: float) -> dict[str, float]:
    """MiB and cores of links that serve RATE together, in one process or in a process each."""

    def serve(some: Sequence[Rig]) -> Callable[[], None]:
        def work() -> None:
            for rig in some:
                rig.link(LinkProperties(delay=DELAY))

        return work

    pids = [_forked(serve(some)) for some in ([rigs_] if threads else [[rig] for rig in rigs_])]
    try:
        pause(0.5)
        size, share = 1450, RATE / 8 / 1450 / len(rigs_)
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(rig.socket(rig.names[0], reads=False)) for rig in rigs_]
            generators = [Generator(sock, size) for sock in sockets]
            begin, cpu, sent = time.perf_counter(), sum(map(_cpu, pids)), 0
            while time.perf_counter() - begin < seconds:
                for generator in generators:
                    sent += generator.run(len(rigs_) * share, 0.002)
            passed = time.perf_counter() - begin
        return {
            "mib": sum(map(_pss, pids)), "cores": (sum(map(_cpu, pids)) - cpu) / passed,
            "gbps": sent * size * 8 / passed / 1e9,
        }  # fmt: skip
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _cpu(pid: int) -> float:
    """CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
