"""The prompt at a real terminal, and by a script, of a run in the foreground and of one in the background."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.waiting import until
from topologies.client import run_client
from topologies.processes.run_directory import run_names

COMMAND = [sys.executable, "-P", "-m", "console.cli"]
_UP_SECONDS = 150.0
_SECONDS = 60.0
CTRL_C, CTRL_D, TAB = b"\x03", b"\x04", b"\t"

pytestmark = pytest.mark.timeout(400)


class Terminal:
    """A terminal with `hoverboard` in it; `home` is the home of who types."""

    def __init__(self, home: Path, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        self.seen = b""
        # setsid -c: the terminal is the controlling one, so that Ctrl-C is a signal for the foreground.
        self.process = subprocess.Popen(
            ["setsid", "-c", "-w", *COMMAND, *words], stdin=theirs, stdout=theirs, stderr=theirs,
            env=os.environ | {"HOME": str(home), "TERM": "dumb"},
        )  # fmt: skip
        os.close(theirs)

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._ours, keys)

    def interrupt(self) -> None:
        """Press Ctrl-C at a prompt that waits for a key.

        CPython's input() forgets a signal that comes after it has written the prompt and before it waits (select).
        """
        until(self._waits, _SECONDS, "the prompt waits for a key")
        self.type(CTRL_C)

    def _waits(self) -> bool:
        """Whether the first thread of `hoverboard` sleeps in select: setsid has become the command."""
        return re.search(r"poll|select", Path(f"/proc/{self.process.pid}/wchan").read_text()) is not None

    def read_until(self, wanted: bytes, seconds: float = _SECONDS) -> bytes:
        """All that is shown up to, and with, some text."""
        deadline = time.monotonic() + seconds
        while wanted not in self.seen:
            ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {wanted!r} but {self.seen!r}"
            try:
                self.seen += os.read(self._ours, 4096)
            except OSError as error:  # the last process with the terminal has ended
                raise AssertionError(f"no {wanted!r} but {self.seen!r}") from error
        shown, _, self.seen = self.seen.partition(wanted)
        return shown + wanted

    def close(self) -> None:
        """End what still runs in it."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Terminal]]:
    """Opens terminals, which are closed at the end. The history is that of a home of the test's own."""
    monkeypatch.delenv("SUDO_UID", raising=False)
    opened: list[Terminal] = []

    def open_terminal(*words: str) -> Terminal:
        opened.append(Terminal(tmp_path, *words))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()


def script(*words: str, lines: str) -> subprocess.CompletedProcess[str]:
    """`hoverboard`, with lines as its input."""
    return subprocess.run(
        [*COMMAND, *words], input=lines, capture_output=True, text=True, timeout=_UP_SECONDS, check=False
    )


def test_a_person_at_the_prompt(terminal: Callable[..., Terminal], run_name: str, tmp_path: Path) -> None:
    prompt = f"hoverboard({run_name})> ".encode()
    hint = b"(Ctrl-D or `exit`: take the run down)"
    at = terminal("up", "two-hosts", "--run", run_name)
    at.read_until(prompt, _UP_SECONDS)
    # Ctrl-C drops a line, and ends a command: a program in a node, a verb of Mininet, and one of `hoverboard`.
    for keys in (b"", b"blue-1 ech"):
        if keys:
            at.type(keys)
            at.read_until(keys)
        at.interrupt()
        at.read_until(hint)
        at.read_until(prompt)
    begun = time.monotonic()
    # exec: dash loses a Ctrl-C that comes between its fork and the sleep.
    for line, started in ((b"blue-1 sh -c 'echo slee''ps; exec sleep 300'", b"sleeps\r\n"), (b"iperf", b"blue-4\r\n")):
        at.type(line + b"\n")
        at.read_until(started)
        at.type(CTRL_C)
        at.read_until(prompt)
    assert time.monotonic() - begun < _SECONDS
    # Tab completes verbs, options, and nodes with a "-".
    for keys, completed in ((b"pingallf", b"pingallfull "), (b"status --js", b"--json "), (b"link hv1 fa", b"fab ")):
        at.type(keys + TAB)
        at.read_until(completed)
        at.type(b"\x15")  # Ctrl-U: drop what is typed
    at.type(b"vm " + TAB + TAB)
    assert {b"add", b"list", b"remove"} <= set(at.read_until(b"remove").split())
    at.type(b"\x15blue-1 echo a-b\n")
    at.read_until(b"\r\na-b\r\n")
    at.read_until(prompt)
    at.type(CTRL_D)
    at.read_until(f"taking '{run_name}' down".encode())
    assert at.process.wait(_SECONDS) == 0
    assert run_names() == []
    kept = (tmp_path / ".hoverboard_history").read_text().splitlines()
    assert kept[-1] == "blue-1 echo a-b"
    assert "iperf" in kept


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_also_while_a_command_runs(
    terminal: Callable[..., Terminal], run_name: str, number: signal.Signals
) -> None:
    at = terminal("up", "two-hosts", "--run", run_name)
    at.read_until(f"hoverboard({run_name})> ".encode(), _UP_SECONDS)
    at.type(b"blue-1 sh -c 'echo slee''ps; sleep 300'\n")
    at.read_until(b"sleeps\r\n")
    at.process.send_signal(number)  # setsid has become the command: it needs no child for that
    until(lambda: run_names() == [], _SECONDS, "the run goes down")


LINES = r"""
nodes
net
links
dump
intfs
ports
wait
pingall 2
pingpair
pingpairfull
iperf blue-1 blue-2
iperfudp 5M blue-1 blue-2
link h1 fab down
links
link h1 fab up
dpctl dump-flows
time sh echo on the machine
blue-1 ping -c 1 -W 2 blue-2 | tail -2
blue-1 printf 'bad \xff byte\n'
"""


def check(shown: str) -> None:
    """What `LINES` print."""
    for expected in (
        r"^available nodes are:$", r"^blue-1 blue-2 blue-3 blue-4 fab h1 h2 hv1$", r"^blue-1 eth0:h1-nic\d+$",
        r"^h1-uplink<->fab-to-h1 \(OK OK\)$", r"^h1-uplink<->fab-to-h1 \(OK DOWN\)$",
        r"^<VirtualMachine blue-1: eth0:10.0.0.2 pid=\d+ network=blue host=h1>$", r"^h1: uplink,nic\d+,nic\d+$",
        r"^h1 gnv:1 vp\d+:\d+\(blue-\d\) vp\d+:\d+\(blue-\d\)", r"program: 3$",
        r"^network blue: 4 VMs$", r"^blue-1 -> blue-2 blue-3 blue-4 $", r"\(12/12 received\)$", r"\(2/2 received\)$",
        r" blue-1->blue-2: 1/1, rtt min", r"testing TCP bandwidth between blue-1 and blue-2$",
        r"^\*\*\* Results: \['[\d.]+ [GM]bits/sec', '[\d.]+ [GM]bits/sec'\]$",
        r"^\*\*\* Results: \['5M', '[\d.]+ Mbits/sec', '[\d.]+ Mbits/sec'\], [\d.e-]+% lost$",
        r"^\*\*\* hv1 -{72}$", r"cookie=0x", r"^on the machine$", r"^\*\*\* Elapsed time: 0\.\d{6} secs$",
        r"^1 packets transmitted, 1 received", r"^bad \ufffd byte$",
    ):  # fmt: skip
        assert re.search(expected, shown, re.MULTILINE), (expected, shown)


def test_mininets_verbs_by_a_script_in_the_foreground(state: Path, run_name: str) -> None:
    lines = LINES + "py blue_1.IP()\npx print(net['blue-2'].cmd('echo by python'))\nvm add blue late\npy late.name\n"
    done = run_bytes("up", "two-hosts", "--run", run_name, lines=lines)
    assert done.returncode == 0, done.stderr
    check(done.stdout)
    for text in ("\n10.0.0.2\n", "by python", "\nlate\n"):
        assert text in done.stdout
    assert run_names() == []


def test_mininets_verbs_for_a_run_in_the_background(state: Path, run_name: str) -> None:
    up = script("up", "two-hosts", "--run", run_name, "--detach", lines="")
    assert up.returncode == 0, up.stderr
    done = run_bytes("prompt", "--run", run_name, lines=f"{LINES}vm list --json\n")
    assert done.returncode == 0, done.stderr
    check(done.stdout)
    assert '"name": "blue-4"' in done.stdout
    done = script("prompt", lines="py 1\nxterm blue-1\npingall\n")
    assert done.returncode != 0
    assert "`py` needs the Python objects of the run" in done.stderr
    assert ("there is no DISPLAY" in done.stderr) is ("DISPLAY" not in os.environ)
    assert "(12/12 received)" in done.stdout, "a line that fails ends no script"
    assert run_client.live_runs() == [run_name], "the run stays up"
    # A run that another command takes down ends the prompt.
    done = script("prompt", lines=f"sh {' '.join(COMMAND)} down --run {run_name}\nnodes\n")
    assert f"run '{run_name}' is down" in done.stderr
    assert "available nodes" not in done.stdout


def test_a_table_and_json_whose_reader_has_gone_are_one_code(state: Path, run_name: str) -> None:
    assert script("up", "two-hosts", "--run", run_name, "--detach", lines="").returncode == 0
    for words in ("status", "status h1", "flows h1", "offloads", "vm list", "model show"):
        for more in ([], ["--json"]):
            for output, code in (("closed", 0), ("/dev/full", 4)):
                assert written_to(output, *words.split(), *more) == (code, False), (words, more, output)


def written_to(output: str, *words: str) -> tuple[int, bool]:
    """(exit code, whether there was a traceback or an internal error) of a verb whose output cannot be written."""
    if output == "closed":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(output, os.O_WRONLY)
    done = subprocess.run([*COMMAND, *words], stdout=writer, stderr=subprocess.PIPE, timeout=_SECONDS, check=False)
    os.close(writer)
    return done.returncode, b"Traceback" in done.stderr or b"internal error" in done.stderr


def run_bytes(*words: str, lines: str) -> subprocess.CompletedProcess[str]:
    """As `script`, for output that is not all UTF-8."""
    return subprocess.run(
        [*COMMAND, *words], input=lines, capture_output=True, text=True, errors="replace", timeout=_UP_SECONDS,
        check=False,
    )  # fmt: skip
