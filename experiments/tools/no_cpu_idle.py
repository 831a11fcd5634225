"""Keeps the CPUs from halting while something is measured, at no cost to what is measured.

Where a virtual CPU halts as soon as it has nothing to do, waking it takes the hypervisor tens of
microseconds and more, and an average of round trips tells of that. One spinner for each CPU, in the
scheduling class that is for when nothing else wants the CPU (SCHED_IDLE), takes this out. Even that
class gets a share of a busy CPU, whole ticks at a time; a spinner that yields all the time does not.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Iterator

from hoverboard.contract.errors import MachineError

_READY_TIMEOUT = 10.0
# Ends by itself when its time is up, or when whoever started it is gone.
_SPINNER = """
import os, sys, time
cpu, seconds, parent = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
os.sched_setaffinity(0, {cpu})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
print("ready", flush=True)
end = time.monotonic() + seconds
while time.monotonic() < end and os.getppid() == parent:
    for _ in range(1000):
        os.sched_yield()
"""


@contextlib.contextmanager
def keep_cpus_awake(seconds: float) -> Iterator[list[int]]:
    """No CPU halts inside the block; yields the pids of the spinners, which are gone afterwards.

    Args:
        seconds: after which the spinners end by themselves, whatever happens to the block.

    Raises:
        MachineError: a spinner does not start.
    """
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(_spinner(cpu, seconds)) for cpu in sorted(os.sched_getaffinity(0))]
        for one in started:
            assert one.stdout is not None
            ready, _, _ = select.select([one.stdout], [], [], _READY_TIMEOUT)
            if not ready or not one.stdout.readline():
                raise MachineError("a spinner did not start", next_step="measure with CPUs that may halt")
        yield [one.pid for one in started]


@contextlib.contextmanager
def _spinner(cpu: int, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-I", "-c", _SPINNER, str(cpu), f"{seconds:g}", str(os.getpid())]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()
