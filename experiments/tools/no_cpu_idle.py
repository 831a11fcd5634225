"""Keeps the CPUs from halting during a measurement, without a cost for the measured processes.

An idle virtual CPU halts, and the hypervisor needs tens of microseconds or more to wake it. An average
of round trips then shows this time. One spinner a CPU, in the idle scheduling class (SCHED_IDLE), prevents
the halts. Even this class gets whole ticks of a busy CPU, so the spinner yields all the time.
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
# Ends when its time is over, or when its parent has ended.
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
    """Keep every CPU from halting inside the block. Yields the pids of the spinners, which end with the block.

    Args:
        seconds: the time after which the spinners end in any case.

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
