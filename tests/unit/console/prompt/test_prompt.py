"""The prompt: verbs, NODE CMD with names for addresses, wrong words, the end."""

from __future__ import annotations

import pytest

from console.prompt.prompt import Prompt


class Session:
    """Records what the prompt asks for."""

    def __init__(self) -> None:
        self.verbs: list[list[str]] = []
        self.executed: list[tuple[str, list[str]]] = []
        self.prompt = Prompt(
            "r",
            verb=self._verb,
            nodes=lambda: ["h1", "blue-1", "blue-2"],
            addresses=lambda: {"blue-1": "10.0.0.2", "blue-2": "10.0.0.3"},
            execute=self._execute,
        )

    def _verb(self, words: list[str]) -> int:
        self.verbs.append(words)
        return 0

    def _execute(self, node: str, argv: list[str]) -> int:
        self.executed.append((node, argv))
        return 7


@pytest.fixture
def session() -> Session:
    return Session()


def test_verbs(session: Session) -> None:
    for line in ("status h1", "vm add blue 'new one'", "offloads --json"):
        assert not session.prompt.onecmd(line)
    assert session.verbs == [["status", "h1"], ["vm", "add", "blue", "new one"], ["offloads", "--json"]]


@pytest.mark.parametrize("line", ["blue-1 ping blue-2", "exec blue-1 -- ping blue-2", "exec blue-1 ping blue-2"])
def test_node_and_command(session: Session, line: str) -> None:
    session.prompt.onecmd(line)
    assert session.executed == [("blue-1", ["ping", "10.0.0.3"])]
    assert session.prompt.exit_code == 7


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nosuch ls", "neither a verb nor a node"),
        ("blue-1", "there is no command to run in blue-1"),
        ("blue-1 'x", "cannot read"),
    ],
)
def test_wrong_words(session: Session, line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not session.prompt.onecmd(line)
    assert message in capsys.readouterr().err
    assert session.prompt.exit_code == 2


@pytest.mark.parametrize("line", ["exit", "quit", "EOF"])
def test_the_end(session: Session, line: str) -> None:
    assert session.prompt.onecmd(line)


def test_help_comments_and_empty_lines_do_nothing(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("help", "", "   ", "# a note"):
        assert not session.prompt.onecmd(line)
    assert "NODE CMD" in capsys.readouterr().out
    assert session.executed == session.verbs == []


def test_a_run_that_is_taken_down_during_a_command_ends_the_prompt() -> None:
    gone = []

    def execute(node: str, argv: list[str]) -> int:
        gone.append(node)
        return 137

    prompt = Prompt(
        "r", verb=lambda words: 0, nodes=lambda: ["h1"], addresses=dict, execute=execute, ended=lambda: bool(gone)
    )
    prompt.cmdqueue = ["help", "h1 bash", "h1 never"]
    prompt.cmdloop()
    assert gone == ["h1"]
