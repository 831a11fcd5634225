"""Measures the points of a worker: in its own process as root, else in a child in the user's own namespaces.

    python -m experiments.sweeps.measuring_process FD

A worker of an ordinary user stays outside of such namespaces, because it needs the machine's network. Only its testbeds
go in. They stay up from point to point, as root's do. Jobs and outcomes go through a socket, pickled: both ends are the
same user's. If the child dies, its point has failed, and the next point gets a new child.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from experiments.sweeps import worker
from experiments.sweeps.folder import Outcome
from experiments.sweeps.worker import Job
from hoverboard.contract.errors import HoverboardError, MachineError, MeasurementError
from topologies.processes.launcher import python
from topologies.processes.run_directory import ready_state
from topologies.rootless import namespaces

_END_SECONDS = 60.0  # in which a child takes its testbeds down


class MeasuringProcess:
    """A child that measures in namespaces of its own.

    Raises:
        MachineError: this user cannot have a run on this machine, or the child has ended at once.
    """

    def __init__(self) -> None:
        namespaces.check_machine()
        state = ready_state()
        ours, theirs = socket.socketpair()
        with theirs:
            command = python("experiments.sweeps.measuring_process", str(theirs.fileno()))
            self._process = subprocess.Popen(
                namespaces.new(command, state, stay=False), pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        self._connection = Connection(ours.detach())
        try:
            self._connection.recv()
        except (EOFError, OSError):
            raise MachineError(
                f"the process that measures {self.end()}", next_step="read its error above, and see `hoverboard doctor`"
            ) from None

    def measure(self, job: Job) -> tuple[Outcome, dict[str, str]]:
        """Measure a point.

        Raises:
            HoverboardError: there is no such experiment.
            EOFError, OSError: the child has ended.
        """
        self._connection.send(job)
        found = self._connection.recv()
        if isinstance(found, HoverboardError):
            raise found
        outcome, topologies = found
        return outcome, topologies

    def interrupt(self) -> None:
        """Let the child end, even while it measures."""
        self._process.terminate()

    def end(self) -> str:
        """Let the child take its testbeds down and end; return how it has ended."""
        self._connection.close()
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its namespaces end with it
            code = self._process.wait()
        number = -code if code < 0 else code - 128  # of a signal
        return f"was ended by signal {number}" if number > 0 else f"ended with exit code {code}"


_child: MeasuringProcess | None = None  # from point to point
_measuring = threading.Lock()


def check() -> None:
    """Check that this process can measure. MachineError: this user cannot have a run on this machine."""
    if os.geteuid() != 0:
        MeasuringProcess().end()


def measure(job: Job) -> tuple[Outcome, dict[str, str]]:
    """Measure a point. Returns its outcome, and the topology files of its testbeds by name."""
    if os.geteuid() == 0:
        return worker.measure(job)
    global _child
    with _measuring:
        _child = _child or MeasuringProcess()
        began = time.monotonic()
        try:
            return _child.measure(job)
        except (EOFError, OSError):
            dead, _child = _child, None
            seconds, how = round(time.monotonic() - began, 3), dead.end()
            error = f"MeasurementError: the process that measured this point {how}"
            return Outcome(job.key, {**job.changed, **job.point}, job.repetition, seconds, [], error), {}


def finish() -> None:
    """Take down the testbeds of the last run."""
    if os.geteuid() == 0:
        worker.finish()
        return
    global _child
    if (child := _child) is not None and _measuring.locked():
        child.interrupt()  # this worker ends, and the point with it
    with _measuring:
        held, _child = _child, None
        if held is not None:
            held.end()


def main(connection: Connection) -> None:
    """Measure what comes through a connection until it is closed, and take all testbeds down."""

    def end(_number: int, _frame: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    try:
        connection.send("ready")
        while True:
            _answer(connection, connection.recv())
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the worker has finished, or has ended
    finally:
        with contextlib.suppress(OSError):
            worker.finish()


def _answer(connection: Connection, job: Any) -> None:
    try:
        connection.send(worker.measure(job))
    except HoverboardError as error:
        connection.send(error)
    except OSError:
        raise
    except Exception as error:  # a class of the experiment's own file would not be known outside
        connection.send(MeasurementError(f"{type(error).__name__}: {error}", where=job.where))


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
