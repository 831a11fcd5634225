"""The holder of a run in the background: brings a `Testbed` up, and takes it down on request or on a signal.

`topologies.client.run_client.start_detached` starts it. In the foreground, the process that made the `Testbed` is the
holder.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hoverboard.contract.errors import HoverboardError, HoverboardWarning
from hoverboard.rpc.errors import error_to_json
from topologies.cluster.control_processes import ControlLayout
from topologies.run.testbed import Testbed
from topologies.spec import schema

_log = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Hold one run in the background until a request or a signal ends it.

    Its standard input has the topology file: the arguments of `topologies.spec.schema.parse` as JSON. It writes to the
    socket --report, one JSON object per line: {"progress": {..}}, then {"ready": {..}} or {"error": {..}}. It keeps the
    run when it reads a line there. When the other end closes the socket before that, it takes everything down.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="topologies.run.holder")
    parser.add_argument("run")
    parser.add_argument("--model")
    parser.add_argument("--dataplane")
    parser.add_argument("--scheduling")
    parser.add_argument("--offload-policy")
    parser.add_argument("--offload-threshold")
    parser.add_argument("--control-plane")
    for option in ("--partitions", "--replicas", "--front-ends"):
        parser.add_argument(option, type=int)
    parser.add_argument("--store")
    parser.add_argument("--report", type=int, required=True, help="file descriptor of the socket to the starter")
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore", HoverboardWarning)  # the command line shows them
    # Leave parent and terminal: no process has to wait for us.
    if os.fork():
        os._exit(0)
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _interrupt)
    report = _Report(args.report)
    try:
        given = json.load(sys.stdin)
        testbed = Testbed(
            schema.parse(**{**given, "base": Path(given["base"])}),
            run=args.run,
            model=args.model,
            dataplane=args.dataplane,
            scheduling=args.scheduling,
            offload_policy=args.offload_policy,
            offload_threshold=args.offload_threshold,
            control=ControlLayout.of(
                args.control_plane, partitions=args.partitions, replicas=args.replicas, front_ends=args.front_ends,
                store=args.store,
            ),
        )  # fmt: skip
        os.chdir("/")  # so that the user can remove the directory that we were started in
        _hold(testbed, report)
    except HoverboardError as error:
        report.notify(error=error_to_json(error))
        return error.exit_code
    except KeyboardInterrupt:
        report.notify(
            error={"kind": "RunError", "what": "interrupted: the run is taken down", "where": args.run, "next_step": ""}
        )
        return 130
    except Exception as error:
        report.notify(
            error={
                "kind": "RunError",
                "what": f"internal error: {error!r}",
                "where": args.run,
                "next_step": "this is a fault of the testbed; repeat the command with HOVERBOARD_DEBUG=1 and without "
                "--detach, and report the traceback",
            }
        )
        raise
    return 0


def _hold(testbed: Testbed, report: _Report) -> None:
    testbed.up(
        lambda event: report.notify(progress=asdict(event)),
        prepared=lambda: log_to(testbed.directory.logs / "holder.log"),
    )
    try:
        report.notify(ready={"run": testbed.run, "phases": testbed.phases, "seconds": testbed.seconds_since_begun})
        report.wait_kept()
        testbed.wait_down()
    except KeyboardInterrupt:
        _log.info("a signal ends the run")
    finally:
        testbed.down()


def log_to(path: Path) -> None:
    """Send the output and log messages of this process to the file `path` from now on."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # writes whole lines, in order
            stream.reconfigure(line_buffering=True, write_through=False)
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # Mininet's own handler would print its messages a second time, without time and newline.
    logging.getLogger("mininet").handlers.clear()


class _Lines(logging.Formatter):
    """Removes the newline at the end of a message of Mininet: the handler adds one."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).rstrip("\n")


def _interrupt(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


class _Report:
    """The socket to the process that started the holder. That process may end at any time; then the start is undone.

    Args:
        fd: its descriptor.
    """

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.set_inheritable(False)  # it closes when the holder ends
        self._sending = threading.Lock()
        self._answered = threading.Event()
        self._kept = False
        threading.Thread(target=self._watch, name="starter", daemon=True).start()

    def _watch(self) -> None:
        with contextlib.suppress(OSError):
            self._kept = bool(self._socket.recv(1))
        self._answered.set()
        if not self._kept:
            os.kill(os.getpid(), signal.SIGTERM)

    def notify(self, **message: Any) -> None:
        with self._sending, contextlib.suppress(OSError):
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def wait_kept(self) -> None:
        """Wait until the starter keeps the run; KeyboardInterrupt: it does not."""
        self._answered.wait()
        if not self._kept:
            raise KeyboardInterrupt
        self._socket.close()


if __name__ == "__main__":
    sys.exit(main())
