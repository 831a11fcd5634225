"""A pair of measuring tools: command lines, the server's port, documents, and tools that go wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.tools import tool_pair
from hoverboard.contract.errors import MeasurementError
from tests.unit.experiments.tools.no_namespace import HERE, installed


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path / "bin", monkeypatch)


def test_command_lines_leave_out_what_is_not_given() -> None:
    argv = tool_pair.command("round_trip_tool", "serve", address="10.0.0.2", cpu=None, limit=3)
    assert argv[1] == "-I"
    assert argv[2].endswith("experiments/tools/round_trip_tool.py")
    assert Path(argv[2]).is_file()
    assert argv[3:] == ["serve", "--address", "10.0.0.2", "--limit", "3"]


def test_a_tool_s_document_is_its_last_line() -> None:
    assert tool_pair.parse('{"port": 1}\n{"delivered": 3}\n', "", 0, "vm1") == {"delivered": 3}
    assert tool_pair.run(HERE, ["sh", "-c", "echo '{\"bps\": 1}'"], 20) == {"bps": 1}


@pytest.mark.parametrize(
    ("stdout", "stderr", "code", "words"),
    [
        (json.dumps({"error": "no answer for 5 s"}), "", 1, "ended with code 1 and printed: no answer for 5 s"),
        (json.dumps({"error": "said"}), "", 0, "ended with code 0 and printed: said"),
        (json.dumps({"bps": 1}), "boom", 2, "ended with code 2 and printed: boom"),
        (json.dumps({"bps": 1}), "", 2, 'and printed: {"bps": 1}'),
        ("", "Traceback\n  boom", 1, "Traceback boom"),
        ("", "", -14, "code -14 and printed: nothing"),
        ("[1]", "", 0, r"\[1\]"),
        ("no JSON\n", "", 0, "no JSON"),
    ],
)
def test_a_tool_without_a_document_is_an_error_with_its_words(stdout: str, stderr: str, code: int, words: str) -> None:
    with pytest.raises(MeasurementError, match=words) as caught:
        tool_pair.parse(stdout, stderr, code, "vm1")
    assert caught.value.where == "vm1"


def test_words_are_the_end_of_a_text_on_one_line() -> None:
    assert (tool_pair.words(" a\n b "), tool_pair.words("\n"), tool_pair.words("x" * 201)) == (
        "a b",
        "nothing",
        "x" * 200,
    )


def test_a_server_is_ready_once_it_says_its_port() -> None:
    script = "echo '{\"port\": 4711}'; echo '{\"delivered\": 7}'"
    with tool_pair.serving(HERE, ["sh", "-c", script]) as server:
        assert server.port == 4711
        assert server.result(20) == {"delivered": 7}


def test_a_server_s_result_is_waited_for(tmp_path: Path) -> None:
    with (
        tool_pair.serving(HERE, ["sh", "-c", "echo '{\"port\": 1}'; exec sleep 60"]) as server,
        pytest.raises(MeasurementError, match="the measuring tool on here was still running after 0.05 s"),
    ):
        server.result(0.05)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ('echo \'{"error": "no such address"}\'', "did not start: no such address"),
        ("echo why >&2", "did not start: why"),
        ("exit 0", "did not start: nothing"),
        ("printf '{\"port\": 1}'", "did not start: nothing"),  # without a newline it may be half a number
        (f"printf '{'x' * 5000}'; exec sleep 60", "did not start: nothing"),
    ],
)
def test_a_server_that_says_no_port_is_an_error(script: str, words: str) -> None:
    with pytest.raises(MeasurementError, match=words) as caught, tool_pair.serving(HERE, ["sh", "-c", script]):
        pass
    assert caught.value.where == "here"


def test_a_server_that_says_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_pair, "_READY_TIMEOUT", 0.05)
    with (
        pytest.raises(MeasurementError, match="did not start: nothing"),
        tool_pair.serving(HERE, ["sh", "-c", "exec sleep 60"]),
    ):
        pass
