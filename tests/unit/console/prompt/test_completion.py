"""What Tab offers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from console.prompt.completion import Vocabulary, candidates
from console.prompt.prompt import _files


def options(words: Sequence[str]) -> list[str]:
    return {"vm": ["add", "list"], "status": ["--json", "--run"], "apply": ["--dry-run"]}.get(words[-1], [])


KNOWN = Vocabulary(
    verbs=["status", "vm", "apply", "pingall", "pingpair", "link", "iperf", "time", "source", "exec", "help"],
    nodes=["blue-1", "blue-2", "fab", "h1"],
    vms=["blue-1", "blue-2"],
    options=options,
    files=lambda start: [f"{start}le", f"{start}lm/"],
)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("ping", "pingall pingpair"),
        ("blu", "blue-1 blue-2"),
        ("h", "h1 help"),
        ("vm ", "add list"),
        ("status --", "--json --run"),
        ("status b", "blue-1 blue-2"),
        ("apply --", "--dry-run"),
        ("apply fi", "file film/"),
        ("blue-1 ping blue-", "blue-1 blue-2"),
        ("exec ", "blue-1 blue-2 fab h1"),
        ("link ", "blue-1 blue-2 fab h1"),
        ("link h1 f", "fab"),
        ("link h1 fab ", "down up"),
        ("link h1 fab up ", ""),
        ("iperf ", "blue-1 blue-2"),
        ("time pinga", "pingall"),
        ("time link h1 fab d", "down"),
        ("source fi", "file film/"),
        ("help pinga", "pingall"),
        ("pingall ", ""),
        ("nosuch ", ""),
    ],
)
def test_candidates(line: str, offered: str) -> None:
    words, _, start = line.rpartition(" ")
    assert candidates(words.split(), start, KNOWN) == offered.split()


def test_files_of_a_folder(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("a.yaml", "b.yaml"):
        open(name, "w").close()
    (__import__("pathlib").Path("sub")).mkdir()
    assert sorted(_files("")) == ["a.yaml", "b.yaml", "sub/"]
    assert _files("sub/") == []
    assert "./a.yaml" in _files("./a")
    assert "~/a.yaml" in _files("~/")
    assert _files("/no/such/") == []
