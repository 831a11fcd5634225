"""The ends of an ordinary user's run: whoever is killed, and whatever is deleted, is told, and nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ordinary_user import OrdinaryUser
from tests.system.rootless.user_run import first_pid, holder_pid, inside, nothing_is_left, pings, up
from tests.system.rootless.user_shell import Shell
from tests.waiting import until

pytestmark = pytest.mark.timeout(400)
_SECONDS = 60.0
OVS = ("--dataplane", "ovs")
TESTBED = """
import sys
from topologies import Testbed
with Testbed("two-hosts", run="mine", dataplane="ovs") as bed:
    print("up", flush=True)
    sys.stdin.read()
"""


class TestAfterKill9:
    @pytest.mark.parametrize("words", [("down",), ("down", "--orphans")])
    def test_of_the_holder_packets_flow_on_and_down_ends_all(self, user: OrdinaryUser, words: tuple[str, ...]) -> None:
        up(user)
        vm = next(one for one in json.loads(user.ok("vm", "list", "--json")) if one["name"] == "blue-1")
        first = first_pid(user)
        os.kill(holder_pid(user), signal.SIGKILL)
        until(lambda: "holder" in user.hoverboard("status").stderr, 20, "nobody sees that the holder died")
        said = user.hoverboard("status", "--run", "mine")
        assert (said.returncode, "orphaned: mine (its holder died, " in said.stderr) == (3, True)
        assert "hoverboard down --orphans" in said.stderr
        assert "Traceback" not in said.stderr
        # A command that goes on in the namespaces has said it before.
        said = user.hoverboard("exec", "--run", "mine", "blue-1", "--", "true")
        assert said.stderr.count("orphaned: mine (its holder died, ") == 1
        # The way in needs no holder: packets flow from the VM as before.
        from_vm = ["nsenter", f"--target={_guest(user, first, vm['ip'])}", "--net", "ping", "-c", "2", "-i", "0.2"]
        done = subprocess.run([*from_vm, "10.0.0.3"], capture_output=True, text=True, timeout=20, check=False)
        assert "2 received" in done.stdout, (done.stdout, done.stderr)
        assert user.ok(*words) == "down: mine\n"
        nothing_is_left(user)
        assert "orphaned" not in user.hoverboard("status").stderr

    def test_of_the_first_process_everything_is_gone_and_down_removes_the_files(self, user: OrdinaryUser) -> None:
        up(user, *OVS)
        os.kill(first_pid(user), signal.SIGKILL)
        until(lambda: not user.pids(), 20, "processes outlive the first one")
        exec_, add = ("exec", "blue-1", "--", "true"), ("vm", "add", "blue")
        for words in (("status",), exec_, add, ("prompt",), ("flows", "h1"), ("capture", "h1")):
            said = user.hoverboard(*words, HOVERBOARD_RUN="mine")
            assert said.returncode == 3, (words, said)
            assert "hoverboard down" in said.stderr, words
            assert "Traceback" not in said.stderr, words
        assert user.ok("down") == "down: mine\n"
        nothing_is_left(user)

    def test_of_the_first_process_down_orphans_removes_the_files_too_and_the_name_is_free(
        self, user: OrdinaryUser
    ) -> None:
        up(user, *OVS)
        os.kill(first_pid(user), signal.SIGKILL)
        until(lambda: not user.pids(), 20, "processes outlive the first one")
        assert json.loads(user.ok("down", "--orphans", "--json")) == {"down": ["mine"]}
        nothing_is_left(user)
        up(user, *OVS)
        user.ok("down")
        nothing_is_left(user)

    def test_of_the_process_outside_ends_all_that_a_python_file_made(self, user: OrdinaryUser) -> None:
        with running(user, "python", user.write("bed.py", TESTBED)) as process:
            heard(process, "up")
            assert len(user.pids()) > 10
            process.kill()
            process.wait()
            until(lambda: not user.pids(), 20, "processes outlive it")
        said = user.hoverboard("status")
        assert said.returncode == 3
        assert "orphaned: mine (its holder died" in said.stderr
        user.ok("down", "--orphans")
        nothing_is_left(user)


def _guest(user: OrdinaryUser, first: int, address: str) -> int:
    """A process in the network namespace of a VM, by its address."""
    for pid in inside(first).values():
        try:
            if f"|-- {address}\n" in Path(f"/proc/{pid}/net/fib_trie").read_text():
                lines = Path(f"/proc/{pid}/net/dev").read_text()
                if "eth0" in lines and pid in user.pids():
                    return pid
        except OSError:
            continue
    raise AssertionError(f"no process has {address}")


class TestDeletedFolders:
    def test_a_run_without_its_directory_is_found(self, user: OrdinaryUser) -> None:
        up(user, *OVS)
        user.run("rm", "-r", str(user.state / "mine"))
        said = user.hoverboard("status")
        assert said.returncode == 3
        assert "mine (has lost its directory, " in said.stderr
        assert json.loads(user.ok("down", "--orphans", "--json")) == {"down": ["mine"]}
        nothing_is_left(user)

    def test_with_the_state_directory_the_run_ends_itself(self, user: OrdinaryUser) -> None:
        """So it is when a user logs out: the runtime directory is gone."""
        login = {"XDG_RUNTIME_DIR": user.runtime}
        up(user, *OVS, **login)
        user.run("rm", "-r", f"{user.runtime}/hoverboard")
        until(lambda: not user.pids(), 20, "processes outlive the state directory")
        said = user.hoverboard("status", **login)
        assert (said.returncode, "no run is up" in said.stderr) == (3, True)
        nothing_is_left(user)

    def test_with_linger_the_run_outlives_the_runtime_directory(self, user: OrdinaryUser) -> None:
        login = {"XDG_RUNTIME_DIR": user.runtime}
        up(user, *OVS, "--linger", **login)
        user.run("mkdir", "-p", f"{user.runtime}/hoverboard")
        user.run("rm", "-r", f"{user.runtime}/hoverboard")
        assert "2 received" in pings(user, **login)
        assert "2 received" in pings(user)
        user.ok("down", **login)
        nothing_is_left(user)


class TestSignals:
    @pytest.mark.parametrize(
        ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)]
    )
    def test_to_the_process_outside_reach_a_python_file(
        self, user: OrdinaryUser, number: signal.Signals, code: int
    ) -> None:
        """It ends as it would without namespaces."""
        plain = "print('begun', flush=True)\nimport signal\nsignal.pause()\n"
        with running(user, "python", user.write("plain.py", plain)) as process:
            heard(process, "begun")
            process.send_signal(number)
            assert process.wait(_SECONDS) == code
        nothing_is_left(user)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    def test_take_a_run_in_the_foreground_down(self, user: OrdinaryUser, number: signal.Signals) -> None:
        with running(user, "up", "two-hosts", "--run", "mine", *OVS) as process:
            assert process.stdin is not None
            process.stdin.write("blue-1 sh -c 'echo sleeps; exec sleep 300'\n")
            process.stdin.flush()
            heard(process, "sleeps")
            process.send_signal(number)
            assert process.wait(_SECONDS) == 0  # as root's
        nothing_is_left(user)

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_end_the_testbed_of_a_python_file(self, user: OrdinaryUser, number: signal.Signals, code: int) -> None:
        """Python makes SIGINT an exception, so that `with Testbed(..)` takes its run down. SIGTERM kills."""
        with running(user, "python", user.write("bed.py", TESTBED)) as process:
            heard(process, "up")
            process.send_signal(number)
            assert process.wait(_SECONDS) == code
        until(lambda: not user.pids(), 20, "processes outlive it")
        if number == signal.SIGTERM:
            assert user.ok("down", "--orphans") == "down: mine\n"
        nothing_is_left(user)

    def test_during_a_start_take_it_back(self, user: OrdinaryUser) -> None:
        with running(user, "up", "two-hosts", "--run", "mine", "--detach", *OVS) as process:
            until(lambda: (user.state / "mine/ledger.jsonl").exists(), 60, "nothing begins")
            process.terminate()
            assert process.wait(_SECONDS) == 130  # as root's: "interrupted"
        nothing_is_left(user)

    def test_reach_a_command_in_a_vm(self, user: OrdinaryUser) -> None:
        up(user, *OVS)
        with running(user, "exec", "blue-1", "--", "sh", "-c", "echo begun; exec sleep 300") as process:
            heard(process, "begun")
            process.terminate()
            assert process.wait(_SECONDS) in (143, -signal.SIGTERM)
        # And its end, if it is killed itself: nothing of it stays in the VM.
        with running(user, "exec", "blue-1", "--", "sh", "-c", "echo begun; exec sleep 301") as process:
            heard(process, "begun")
            process.kill()
            process.wait()
            until(lambda: not _sleeps(user, "301"), 20, "the command outlives the process outside")
        user.ok("down")
        nothing_is_left(user)


def _sleeps(user: OrdinaryUser, seconds: str) -> bool:
    for pid in user.pids():
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes() == f"sleep\0{seconds}\0".encode():
                return True
        except OSError:
            continue
    return False


def test_exit_codes_pass(user: OrdinaryUser) -> None:
    for code in (0, 1, 77, 255):
        name = user.write("ends.py", f"import sys\nsys.exit({code})\n")
        assert user.hoverboard("python", name).returncode == code
    name = user.write("killed.py", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert user.hoverboard("python", name).returncode == 137
    nothing_is_left(user)


_SAID: defaultdict[int, list[str]] = defaultdict(list)  # on stderr, by pid


def heard(process: subprocess.Popen[str], wanted: str) -> None:
    """Wait until a process prints a line; AssertionError if it ends before, with all that it has said."""
    assert process.stdout is not None
    for line in process.stdout:
        if line == f"{wanted}\n":
            return
    code = process.wait(_SECONDS)
    raise AssertionError(f"no {wanted!r}; exit code {code}: {''.join(_SAID[process.pid])}")


@contextmanager
def running(user: OrdinaryUser, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A verb in the background, with pipes; its stderr is read all the time."""
    process = user.start(*user.cli(*words), stdin=subprocess.PIPE, start_new_session=True)
    assert process.stderr is not None
    reader = threading.Thread(target=_SAID[process.pid].extend, args=(process.stderr,))
    reader.start()
    try:
        yield process
    finally:
        process.kill()
        until(lambda: process.poll() is not None, 20)
        for pid in user.pids() if reader.is_alive() else ():
            os.kill(pid, signal.SIGKILL)
        reader.join()


class TestTerminals:
    """Keys at a real terminal, by bash, as a person presses them."""

    def test_ctrl_z_and_fg(self, user: OrdinaryUser, shell: Callable[[], Shell]) -> None:
        at = shell()
        user.write("talks.py", "print('beg' + 'un', flush=True)\nprint('got ' + input(), flush=True)\n")
        at.type(" ".join(user.cli("python", "talks.py")) + "\n")
        at.read_until("begun")
        at.type("\x1a")
        at.read_until("Stopped")
        at.type("echo sti''ll here\n")
        at.read_until("still here")
        at.type("fg\n")
        at.read_until("talks.py")
        at.type("a line\n")
        at.read_until("got a line")
        at.type("echo co''de $?\n")
        at.read_until("code 0")

    def test_ctrl_c(self, user: OrdinaryUser, shell: Callable[[], Shell]) -> None:
        """One Ctrl-C is one interrupt: it is not told twice, by the terminal and by the process outside."""
        at = shell()
        user.write(
            "counts.py",
            "import signal, time\ncount = []\nsignal.signal(signal.SIGINT, lambda *_: count.append(1))\n"
            "print('beg' + 'un', flush=True)\n"
            "while not count: signal.pause()\n"
            "end = time.monotonic() + 0.5\n"
            "while (left := end - time.monotonic()) > 0: time.sleep(left)\n"
            "print('interrupts:', len(count), flush=True)\n",
        )  # fmt: skip
        at.type(" ".join(user.cli("python", "counts.py")) + "\n")
        at.read_until("begun")
        at.type("\x03")
        at.read_until("interrupts: 1")

    def test_the_prompt_of_a_run(self, user: OrdinaryUser, shell: Callable[[], Shell]) -> None:
        at = shell()
        at.type(" ".join(user.cli("up", "two-hosts", "--run", "mine", *OVS)) + "\n")
        at.read_until("hoverboard(mine)> ", 150)
        at.type("blue-1 sh -c 'echo slee''ps; exec sleep 300'\n")
        at.read_until("sleeps\r\n")
        at.type("\x03")
        at.read_until("hoverboard(mine)> ")
        at.type("\x04")
        at.read_until("taking 'mine' down")
        at.type("echo co''de $?\n")
        at.read_until("code 0", 60)
        at.type("exit\n")
        until(lambda: not user.pids(), 20, "processes are left")
        nothing_is_left(user)
