"""Starts the holder of a run in the background, follows its start, and lets it keep the run, or not.

The two processes share a socket. The holder sends its progress, one JSON object per line. It keeps its run only when it
reads KEEP. When the socket closes before that, for whatever reason, it takes everything down and ends. This module must
import nothing heavy: every command pays for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from hoverboard.contract.errors import RunError
from hoverboard.rpc.errors import error_from_json
from topologies.processes.launcher import PRIVATE_UMASK
from topologies.processes.phases import PhaseEvent, Progress
from topologies.processes.signals import defer_signals

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import Ready

KEEP = b"keep\n"
_END_TIMEOUT = 120.0  # seconds in which a holder that nobody waits for undoes its start


def start(
    command: Callable[[int], list[str]],
    topology: Mapping[str, Any],
    *,
    run: str,
    progress: Progress | None = None,
    last_chance: Callable[[], None] = lambda: None,
) -> Ready:
    """Start a holder, and wait until its run is up.

    Args:
        command: gives the command that starts the holder, with the number of the socket's file descriptor.
        topology: the topology file as plain data, for the holder's standard input.
        run: name of the run, for messages.
        progress: called as phases of the start advance.
        last_chance: called when the run is up. What it raises takes the run down; after it, the run is kept.

    Raises:
        HoverboardError: the error of the holder, which has ended: nothing of the run is left.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs, _in_memory(b"") as errors, _in_memory(json.dumps(topology).encode()) as given:
        child = None
        try:
            child = subprocess.Popen(
                command(theirs.fileno()), stdin=given, stdout=subprocess.DEVNULL, stderr=errors,
                pass_fds=(theirs.fileno(),), start_new_session=True, umask=PRIVATE_UMASK,
            )  # fmt: skip
            theirs.close()
            with ours.makefile(encoding="utf-8") as lines:
                ready = _follow(lines, progress)
            if ready is None:
                raise _ended(run, os.pread(errors, 1 << 16, 0))
            last_chance()
            _keep(ours, run)
        except BaseException:
            with defer_signals():
                theirs.close()  # Popen may be interrupted before it returns
                _abandon(ours, child, run)
            raise
        child.wait()  # it has forked the holder, and ended at once
        return ready


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[int]:
    """A descriptor of a file that no full disk can hurt, at its start."""
    fd = os.memfd_create("hoverboard-start")
    try:
        os.pwrite(fd, content, 0)
        yield fd
    finally:
        os.close(fd)


def _follow(lines: Iterable[str], progress: Progress | None) -> Ready | None:
    for line in lines:
        message = json.loads(line)
        if "error" in message:
            raise error_from_json(message["error"])
        if "ready" in message:
            return cast("Ready", message["ready"])
        if progress is not None:
            progress(PhaseEvent(**message["progress"]))
    return None


def _ended(run: str, printed: bytes) -> RunError:
    last = printed.decode(errors="replace").strip().splitlines()[-1:]
    what = f"the holder ended: {last[0]}" if last else "the holder ended and wrote no log"
    return RunError(what, where=run, next_step="check the machine with: hoverboard doctor")


def _keep(ours: socket.socket, run: str) -> None:
    try:
        ours.sendall(KEEP)
    except OSError as error:
        raise RunError(
            f"run {run!r} was taken down while it was starting, by another process", next_step="bring it up again"
        ) from error


def _abandon(ours: socket.socket, child: subprocess.Popen[bytes] | None, run: str) -> None:
    """Make the holder undo its start, and wait until it has ended.

    Raises:
        RunError: it does not end.
    """
    if child is not None:
        child.terminate()  # it may not have forked the holder yet
    with contextlib.suppress(OSError):
        ours.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + _END_TIMEOUT
    ended = False
    while not ended and (left := deadline - time.monotonic()) > 0:
        ended = bool(select.select([ours], [], [], left)[0]) and not _received(ours)
    if child is not None:
        if not ended:
            child.kill()
        child.wait()
    if not ended:
        raise RunError(
            f"the holder of run {run!r} does not end", next_step=f"take it down with: hoverboard down --run {run}"
        )


def _received(ours: socket.socket) -> bytes:
    try:
        return ours.recv(1 << 16)
    except OSError:
        return b""  # it ended with lines of ours unread
