"""What a file says reaches the terminal without control characters, by whatever verb and stream."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.plain_text import PlainStream, plain, unfiltered
from experiments.frame.experiment import Sample
from experiments.sweeps import discovery
from experiments.sweeps.folder import Folder, Outcome
from experiments.sweeps.runner import Plan

EVIL = "x\x1b[2J\x1b]0;title\x07\x9b31m\r\x00\u202ey"
COMMAND = [sys.executable, "-P", "-m", "console.cli"]


def controls(text: str) -> set[str]:
    return {one for one in text if unicodedata.category(one) == "Cc" and one not in "\n\t"} | (set(text) & {"\u202e"})


@given(st.text())
def test_no_control_character_is_left_and_nothing_else_changes(text: str) -> None:
    shown = plain(text)
    assert controls(shown) == set()
    if shown != text:
        assert any(unicodedata.category(one) in ("Cc", "Cf") for one in text)
    assert plain(shown) == shown


def test_escapes_say_what_was_there() -> None:
    assert plain("a\tb\n\x1b[2J\x9b\r\u202e é") == "a\tb\n\\x1b[2J\\x9b\\r\\u202e é"


def test_the_stream_filters_and_is_else_the_stream_below() -> None:
    below = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    stream: Any = PlainStream(below)
    print(EVIL, file=stream)
    assert controls(below.buffer.getvalue().decode()) == set()  # type: ignore[attr-defined]
    assert stream.write("ab\x1b") == 3
    stream.writelines(["c\x1b", EVIL])
    stream.flush()
    assert controls(below.buffer.getvalue().decode()) == set()  # type: ignore[attr-defined]
    assert (stream.encoding, stream.buffer, stream.writable()) == ("utf-8", below.buffer, True)
    assert (stream.errors, stream.line_buffering, stream.closed) == ("strict", False, False)
    stream.reconfigure(errors="replace")
    assert (below.errors, stream.errors, stream.isatty()) == ("replace", "replace", False)
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = stream.no_such_thing
    assert unfiltered(stream) is below
    assert unfiltered(below) is below
    stream.close()
    below.write("still open")


# --- every field of a topology file ------------------------------------------------------------------------


KEYS: dict[str, Any] = {
    "name": "evil",
    "hosts": [{"name": "h1", "region": "a"}],
    "hoverboards": 1,
    "model": "hoverboard",
    "dataplane": "fastpath",
    "offload_policy": "mine.py:Mine",
    "stages": [{"stage": "count", "config": {"x": 1}}],
    "networks": [
        {
            "name": "blue", "vni": 7, "subnet": "10.0.0.0/24",
            "vms": [{"name": "a", "host": "h1", "ip": "10.0.0.2", "tags": ["web"], "rate": "1mbit"}],
            "firewall": {"rules": [{"name": "r", "direction": "ingress", "action": "deny", "targets": ["web"]}]},
            "routes": [{"name": "q", "prefix": "10.9.0.0/24", "next_hop": "a"}],
            "load_balancers": [{"name": "lb", "ip": "10.0.0.9", "backends": ["a"]}],
        }
    ],
}  # fmt: skip


def planted(keys: Any) -> Iterator[Any]:
    """The keys, once for each text in them, with EVIL at its place; and once for each key with EVIL as a key."""
    if isinstance(keys, dict):
        for name, value in keys.items():
            yield from ({**keys, name: inner} for inner in planted(value))
        yield {**keys, EVIL: 1}
    elif isinstance(keys, list):
        for index, value in enumerate(keys):
            yield from ([*keys[:index], inner, *keys[index + 1 :]] for inner in planted(value))
    else:
        yield EVIL


def run(*words: object, cwd: Path) -> str:
    done = subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, timeout=60, check=False, cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    return (done.stdout + done.stderr).decode()


def test_faults_of_a_topology_file_quote_it_without_control_characters(tmp_path: Path) -> None:
    """In one process for all: the errors of the reader, as the guard prints them."""
    files = []
    for number, keys in enumerate(planted(KEYS)):
        file = tmp_path / f"{number}.yaml"
        file.write_text(json.dumps(keys))  # JSON is YAML
        files.append(file)
    code = (
        "import sys\nfrom console import cli, plain_text\nplain_text.install()\n"
        "for file in sys.argv[1:]:\n"
        "    try: cli.app(['up', file, '--check'], standalone_mode=False)\n"
        "    except BaseException as error: print(type(error).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, files)], capture_output=True, timeout=120, check=False, cwd=tmp_path
    )
    shown = (done.stdout + done.stderr).decode()
    assert len(files) > 20
    assert shown.count("hoverboard: ") >= len(files) - 1, shown[-2000:]
    assert controls(shown) == set()
    assert r"\x1b[2J" in shown


@pytest.mark.parametrize("words", [["up", EVIL.replace("\x00", ""), "--check"], ["status", "--run", "a\x1b[2Jb"]])
def test_words_of_the_command_line_come_back_plain(tmp_path: Path, words: list[str]) -> None:
    shown = run(*words, cwd=tmp_path)
    assert controls(shown) == set()


def test_a_folder_of_results_is_shown_plain(tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder = Folder.create(tmp_path / name, Plan(discovery.find("cpu"), "cpu").document(), resume=False)
        labels = {"generation": EVIL, EVIL: "ovs"}
        sample = Sample("mean", 1.0, "us", labels), Sample(EVIL, 1.0, EVIL, {"generation": "ovs"})
        folder.add(Outcome("k" + name, {"generation": "ovs"}, 0, 1.0, list(sample), ""))
        folder.add(Outcome("f" + name, {"generation": EVIL}, 0, 1.0, [], EVIL))
    assert controls(run("experiment", "compare", "a", "b", cwd=tmp_path)) == set()
    assert controls(run("experiment", "report", "a", "b", cwd=tmp_path)) == set()
    for key in ("experiment", "where", "quick", "seed", "parameters"):
        document = json.loads((tmp_path / "a" / "run.json").read_text()) | {key: EVIL}
        (tmp_path / "a" / "run.json").write_text(json.dumps(document))
        for words in (["compare", "a", "b"], ["report", "a"]):
            assert controls(run("experiment", *words, cwd=tmp_path)) == set()


@pytest.mark.parametrize("words", [["--help"], ["up", "--help"], ["vm", "bogus"], ["experiment", "list"]])
def test_on_a_terminal_nothing_of_ours_is_shown_as_an_escape(words: list[str]) -> None:
    """Libraries color what they write to a terminal: help, usage errors and tables."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm-256color"}
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while chunk := os.read(ours, 1 << 16):
            shown += chunk
    os.close(ours)
    process.wait(60)
    assert len(shown) > 100
    assert rb"\x1b" not in shown
