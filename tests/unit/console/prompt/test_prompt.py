"""The prompt: verbs, NODE CMD with names for addresses, wrong words, Ctrl-C, files of lines, the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from console.prompt.prompt import Prompt, run_command
from console.prompt.verbs_of_mininet import VerbsOfMininet
from hoverboard import text_files
from hoverboard.contract.errors import RunError
from hoverboard.contract.node_documents import Wiring
from tests.unit.topologies.mininet_verbs.wirings import WIRING

VERBS = {"status": "Show a run.", "vm": "VMs.", "offloads": "Offloads.", "down": "Down.", "exec": "Exec."}


class Run:
    """A run that is only its wiring."""

    def wiring(self) -> Wiring:
        return WIRING

    def status(self) -> Any:
        return {"control": {"switches": {"h1": {"connected": True, "programmed": True}}}}


class Session:
    """Records what the prompt asks for."""

    def __init__(self, tty: bool = False, **given: Any) -> None:
        self.verbs: list[list[str]] = []
        self.executed: list[tuple[int | None, str]] = []
        self.code = 7
        options = {"verb": self._verb, "verbs": VERBS, "execute": self._execute, **given}
        self.prompt = Prompt("r", Run(), **options)
        self.prompt.tty = tty

    def _verb(self, words: list[str]) -> int:
        self.verbs.append(words)
        return 0

    def _execute(self, pid: int | None, argv: list[str]) -> int:
        assert argv[:2] == ["bash", "-c"]
        self.executed.append((pid, argv[2]))
        return self.code


@pytest.fixture
def session() -> Session:
    return Session()


def test_verbs(session: Session) -> None:
    for line in ("status h1", "vm add blue 'new one'", "offloads --json", "  status\th1 # a note"):
        assert not session.prompt.onecmd(line)
    assert session.verbs == [
        ["status", "h1"], ["vm", "add", "blue", "new one"], ["offloads", "--json"], ["status", "h1"]
    ]  # fmt: skip


@pytest.mark.parametrize("line", ["blue-1 ping blue-2", "exec blue-1 -- ping blue-2", "exec blue-1 ping blue-2",
                                  "blue-1 -- ping blue-2", "noecho blue-1 ping blue-2"])  # fmt: skip
def test_node_and_command(session: Session, line: str) -> None:
    session.prompt.onecmd(line)
    assert session.executed == [(11, "ping 10.0.0.3")]
    assert session.prompt.exit_code == 7


def test_a_command_in_a_node_has_a_shell(session: Session) -> None:
    session.prompt.onecmd("""blue-1 ping -c 1 blue-2 | tail -1 >"a file" && echo $HOME &""")
    assert session.executed == [(11, """ping -c 1 10.0.0.3 | tail -1 >"a file" && echo $HOME &""")]


def test_a_name_of_another_tenant_is_told_about(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    session.prompt.onecmd("blue-2 ping red-1")
    assert capsys.readouterr().err.startswith(
        "note: red-1 has 10.0.0.2 in network red; in network blue, where blue-2 is"
    )
    assert session.executed == [(12, "ping 10.0.0.2")]


def test_sh_runs_on_the_machine(session: Session) -> None:
    session.prompt.onecmd("sh ls /tmp | wc -l")
    assert session.executed == [(None, "ls /tmp | wc -l")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nosuch ls", "'nosuch' is neither a verb nor a node"),
        ("exec nosuch ls", "there is no node 'nosuch'"),
        ("exec", "'exec' is neither a verb nor a node"),
        ("blue-1", "there is no command to run in blue-1\n  -> for a shell: blue-1 bash"),
        ("exec blue-1 --", "there is no command to run in blue-1"),
        ("sh", "there is no command to run"),
        ("status 'x", "cannot read that line: No closing quotation"),
        ("down", "`down` does not work at the prompt\n  -> type exit"),
        ("source", "`source` needs a file"),
        ("source #", "`source` needs a file"),
        ("source /no/such/file", "/no/such/file: there is no such file of lines"),
        ("source ~nosuchuser/x", "~nosuchuser/x: there is no such file of lines"),
        ("source /dev/zero", "/dev/zero: cannot read the file of lines: it is a device"),
        ("time", "`time` needs a line"),
        ("help nosuch", "there is no help for 'nosuch'"),
    ],
)
def test_wrong_words(session: Session, line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not session.prompt.onecmd(line)
    assert message in capsys.readouterr().err
    assert session.prompt.exit_code == 2


def test_a_node_with_the_name_of_a_verb_is_reached_by_exec(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    net: Any = {**WIRING["nodes"][0], "name": "net", "pid": 99}
    monkeypatch.setattr(Run, "wiring", lambda self: {**WIRING, "nodes": [net]})
    session.prompt.onecmd("exec net ls")
    assert session.executed == [(99, "ls")]


@pytest.mark.parametrize("line", ["exit", "quit", "EOF", "time exit"])
def test_the_end(session: Session, line: str) -> None:
    assert session.prompt.onecmd(line)


def test_help_comments_and_empty_lines_do_nothing(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("help", "?", "", "   ", "# a note"):
        assert not session.prompt.onecmd(line)
    shown = capsys.readouterr().out
    for verb in ("status", *VerbsOfMininet.HELP, "NODE CMD", "source FILE", "exit, quit, Ctrl-D     take the run down"):
        assert f"  {verb}" in shown
    assert "  down" not in shown
    assert session.executed == session.verbs == []
    assert session.prompt.exit_code == 0


def test_help_of_one_verb(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    session.prompt.onecmd("help link")
    assert capsys.readouterr().out == (
        "link A B up|down: take a link down or up: a VM and its host, a node and the fabric\n"
    )
    session.prompt.onecmd("help vm")
    assert session.verbs == [["vm", "--help"]]


def test_time_prints_how_long_a_line_took(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    session.prompt.onecmd("time status")
    assert session.verbs == [["status"]]
    assert capsys.readouterr().out.startswith("*** Elapsed time: 0.0")


def test_source_waits_for_no_pipe_without_an_end(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(text_files.read_text, "__kwdefaults__", text_files.read_text.__kwdefaults__ | {"seconds": 0.1})
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        session.prompt.onecmd(f"source {tmp_path}/pipe")
    finally:
        os.close(writer)
    assert "the pipe did not end within 0.1 s" in capsys.readouterr().err


def test_source_executes_lines_goes_on_after_an_error_and_ends_at_exit(session: Session, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_text("# a note\nstatus\nnosuch\noffloads\nexit\nvm list\n")
    assert session.prompt.onecmd(f"source {file}")
    assert session.verbs == [["status"], ["offloads"]]
    assert session.prompt.exit_code == 2


def test_ctrl_c_during_a_line_ends_the_file(session: Session, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_text("blue-1 sleep 20\noffloads\n")
    session.code = 130
    assert not session.prompt.onecmd(f"source {file}")
    assert session.verbs == []
    assert session.prompt.exit_code == 130


def test_files_that_source_one_another_end(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lines"
    file.write_text(f"status\nsource {file}\n")
    assert not session.prompt.onecmd(f"source {file}")
    assert "16 lines lead to one another" in capsys.readouterr().err
    assert len(session.verbs) == 16


def test_an_error_of_the_run_is_printed_and_the_prompt_goes_on(
    session: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(self: Run) -> Wiring:
        raise RunError("the holder has died", next_step="take it down")

    monkeypatch.setattr(Run, "wiring", gone)
    assert not session.prompt.onecmd("pingall")
    assert capsys.readouterr().err == "hoverboard: the holder has died\n  -> take it down\n"
    assert session.prompt.exit_code == RunError.exit_code


def test_a_run_that_is_taken_down_during_a_command_ends_the_prompt() -> None:
    gone: list[str] = []

    def execute(pid: int | None, argv: list[str]) -> int:
        gone.append(argv[-1])
        return 137

    session = Session(execute=execute, ended=lambda: bool(gone))
    session.prompt.cmdqueue = ["help", "h1 first", "h1 never"]
    session.prompt.cmdloop()
    assert gone == ["first"]


def interrupted(session: Session, monkeypatch: pytest.MonkeyPatch, *, during: str) -> None:
    """Ctrl-C comes while a line is read, or while a command runs; then `status`, then the end of input."""

    def execute(pid: int | None, argv: list[str]) -> int:
        raise KeyboardInterrupt

    lines: list[Callable[[], str]] = [lambda: "blue-1 sleep 9", lambda: "status"]
    session.prompt._execute = execute

    def read(_prompt: str) -> str:
        if during == "read" and len(lines) == 2:
            lines.pop(0)
            raise KeyboardInterrupt
        if not lines:
            raise EOFError
        return lines.pop(0)()

    monkeypatch.setattr("builtins.input", read)
    session.prompt.loop()


@pytest.mark.parametrize("during", ["read", "command"])
def test_ctrl_c_at_a_terminal_ends_the_line_or_the_command_and_not_the_prompt(
    during: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session(tty=True)
    interrupted(session, monkeypatch, during=during)
    assert session.verbs == [["status"]]
    assert ("Ctrl-D or `exit`: take the run down" in capsys.readouterr().err) is (during == "read")
    assert session.prompt.exit_code == (130 if during == "command" else 0)


@pytest.mark.parametrize("during", ["read", "command"])
def test_ctrl_c_ends_a_script(during: str, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(tty=False)
    with pytest.raises(KeyboardInterrupt):
        interrupted(session, monkeypatch, during=during)
    assert session.verbs == []


def test_a_command_has_its_exit_code_and_leaves_the_signals_as_they_were() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert run_command(None, ["sh", "-c", "exit 5"]) == 5
    assert run_command(None, ["sh", "-c", "kill -INT $$"]) == 130
    assert signal.getsignal(signal.SIGINT) is before
