"""What keeps an ordinary user from a run is told in one clear line; the exit code is not 0, and nothing is left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ordinary_user import OrdinaryUser
from tests.system.rootless.user_run import nothing_is_left, pings, up

pytestmark = pytest.mark.timeout(400)
OVS = ("--dataplane", "ovs")
RUN, MACHINE = 3, 4  # exit codes of RunError and MachineError
UP = ("up", "two-hosts", "--run", "mine", "--detach", *OVS)


def refused(done: subprocess.CompletedProcess[str], *words: str, code: int = MACHINE) -> None:
    """A refusal: one line that says what, one that says what to do, and no traceback."""
    assert (done.returncode, done.stdout) == (code, ""), done
    lines = done.stderr.splitlines()
    assert lines[0].startswith("hoverboard: "), done.stderr
    assert all(line.startswith("  -> ") for line in lines[1:]), done.stderr
    assert len(lines) == 2, done.stderr
    for word in words:
        assert word in done.stderr


class TestTheMachine:
    def test_without_the_device(self, users: Callable[..., OrdinaryUser]) -> None:
        user = users(tun=0o600)
        for words in (
            UP,
            ("demo",),
            ("experiment", "run", "latency"),
            ("python", user.write("empty.py", "print('ran')\n")),
        ):
            refused(user.hoverboard(*words), "/dev/net/tun may not be opened", "sudo chmod 0666 /dev/net/tun")
        nothing_is_left(user)

    def test_without_user_namespaces(self, user: OrdinaryUser) -> None:
        """The limit is one of each user namespace, so the test sets it in one of its own."""
        forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
        machine = ["unshare", "--user", f"--map-user={user.uid}", "--keep-caps", "sh", "-c", forbid, "sh"]
        for words in (UP, ("python", user.write("empty.py", "print('ran')\n"))):
            done = user.run(*machine, *user.cli(*words))
            refused(done, "no more user namespaces are allowed", "sysctl -w user.max_user_namespaces")
        nothing_is_left(user)

    @pytest.mark.parametrize(("option", "what"), [("-n 512", "512 open files"), ("-u 100", "100 processes")])
    def test_with_a_ulimit_too_low(self, user: OrdinaryUser, option: str, what: str) -> None:
        words = ["sh", "-c", f'ulimit {option}; exec "$@"', "sh"]
        if option.startswith("-u"):
            words[0] = "bash"
        refused(user.run(*words, *user.cli(*UP)), "ulimit", what)
        nothing_is_left(user)

    def test_with_a_soft_limit_only_it_is_raised(self, user: OrdinaryUser) -> None:
        done = user.run("bash", "-c", 'ulimit -Sn 256; exec "$@"', "bash", *user.cli(*UP), timeout=150)
        assert done.returncode == 0, done.stderr
        assert "2 received" in pings(user)
        user.ok("down")
        nothing_is_left(user)


class TestTheStateDirectory:
    def test_of_another_user(self, user: OrdinaryUser, users: Callable[..., OrdinaryUser]) -> None:
        other = users()
        user.state.mkdir(0o700)
        os.chown(user.state, other.uid, other.uid)
        refused(user.hoverboard(*UP), str(user.state), code=RUN)
        assert list(user.state.iterdir()) == []

    def test_that_others_may_write(self, user: OrdinaryUser) -> None:
        user.run("mkdir", "-m", "777", str(user.state))
        refused(user.hoverboard(*UP), str(user.state), code=RUN)
        assert list(user.state.iterdir()) == []

    def test_that_is_a_link(self, user: OrdinaryUser) -> None:
        user.run("mkdir", "-m", "700", "elsewhere")
        user.run("ln", "-s", str(user.home / "elsewhere"), str(user.state))
        refused(user.hoverboard(*UP), str(user.state), code=RUN)
        assert list((user.home / "elsewhere").iterdir()) == []

    def test_that_is_a_file(self, user: OrdinaryUser) -> None:
        user.run("touch", str(user.state))
        refused(user.hoverboard(*UP), str(user.state))

    def test_in_a_folder_that_others_may_write(self, user: OrdinaryUser) -> None:
        user.run("mkdir", "open")
        user.run("chmod", "777", "open")
        refused(user.hoverboard(*UP, HOVERBOARD_STATE_DIR=str(user.home / "open/state")), "can write", code=RUN)

    def test_in_a_folder_that_is_not_there(self, user: OrdinaryUser) -> None:
        place = str(user.home / "no/such/state")
        refused(user.hoverboard(*UP, HOVERBOARD_STATE_DIR=place), place, "is not there")

    def test_without_space(self, user: OrdinaryUser) -> None:
        """A file system of one page, filled."""
        words = ["nsenter", f"--mount=/proc/{user.keeper.pid}/ns/mnt"]
        small = f"{user.runtime}/small"
        make = f"mkdir -m 700 {small} && mount -t tmpfs -o size=4096,mode=700,uid={user.uid} tmpfs {small}"
        subprocess.run([*words, "sh", "-c", f"{make} && head -c 4096 /dev/zero > {small}/full"], check=True)
        refused(user.hoverboard(*UP, HOVERBOARD_STATE_DIR=small), "no space left", small)

    def test_a_runtime_directory_that_is_not_the_user_s_is_not_used(self, user: OrdinaryUser) -> None:
        """As after `su`: the variable is that of another login."""
        up(user, *OVS, XDG_RUNTIME_DIR="/run")
        assert (user.state / "mine").is_dir()
        user.ok("down", XDG_RUNTIME_DIR="/run")
        nothing_is_left(user)


class TestTheHome:
    def test_that_cannot_be_written_does_not_matter(self, user: OrdinaryUser) -> None:
        """Compiled code is taken from where bootstrap.sh left it."""
        os.chown(user.home, 0, 0)
        user.home.chmod(0o555)
        up(user, "--dataplane", "fastpath", cwd=Path("/"))
        assert "2 received" in pings(user, cwd=Path("/"))
        user.ok("down", cwd=Path("/"))
        nothing_is_left(user)

    def test_that_is_not_there_does_not_matter(self, user: OrdinaryUser) -> None:
        up(user, *OVS, cwd=Path("/"), HOME="/nonexistent")
        user.ok("down", cwd=Path("/"), HOME="/nonexistent")
        nothing_is_left(user)


class TestVerbsOfRoot:
    def test_what_only_root_may_do_fails_with_the_words_of_its_program(self, user: OrdinaryUser) -> None:
        """One user is mapped: the kernel rejects it. `exec --as` is refused by name (test_doing_without.py)."""
        up(user, *OVS)
        for command in (["chown", "1:1", "file"], ["su", "nobody", "-c", "true"], ["mknod", "null", "c", "1", "3"]):
            user.run("touch", "file")
            done = user.hoverboard("exec", "h1", "--", *command)
            assert done.returncode != 0, command
            assert done.stderr.startswith(f"{command[0]}: "), (command, done.stderr)
        user.ok("down")
        nothing_is_left(user)

    def test_without_a_run_each_verb_says_so(self, user: OrdinaryUser) -> None:
        for words in (("status",), ("exec", "a", "--", "true"), ("capture", "a"), ("latency", "a"), ("prompt",),
                      ("flows", "a"), ("vm", "list"), ("offloads",), ("down",)):  # fmt: skip
            refused(user.hoverboard(*words), "no run is up", "hoverboard up", code=RUN)
            refused(user.hoverboard(*words, HOVERBOARD_RUN="nosuch"), "nosuch", code=RUN)
        assert user.ok("down", "--all") == "nothing was up\n"
        assert user.ok("down", "--orphans") == "there are no orphans\n"
        assert not user.state.exists()
