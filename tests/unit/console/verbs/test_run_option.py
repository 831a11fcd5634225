"""`--run` after a verb and before it, and HOVERBOARD_RUN, for every verb that has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from console.cli import app
from console.verbs import down as down_verb
from hoverboard.contract.errors import InputError

runner = CliRunner()


def verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every verb."""
    below: Mapping[str, Any] = getattr(command, "commands", {})
    if not below:
        yield path
    for name, one in below.items():
        yield from verbs(one, (*path, name))


def command_of(path: tuple[str, ...], command: Any = None) -> Any:
    """The command object of a verb."""
    found = command or get_command(app)
    for word in path:
        found = found.commands[word]
    return found


def has_run(path: tuple[str, ...]) -> bool:
    return any(one.name == "run" for one in command_of(path).params)


def arguments(path: tuple[str, ...]) -> list[str]:
    """A word for each argument that the verb needs."""
    return ["x.py:X" for one in command_of(path).params if one.param_type_name == "argument" and one.required]


ALL = [" ".join(path) for path in verbs(get_command(app))]
WITH_RUN = [verb for verb in ALL if has_run(tuple(verb.split()))]
WITHOUT = [verb for verb in ALL if verb not in WITH_RUN]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str | None]:
    """Types a line, and returns the run that the verb gets."""

    def typed(verb: str, line: list[str], environment: dict[str, str | None]) -> str | None:
        got: list[str | None] = []
        command = get_command(app)
        monkeypatch.setattr(
            command_of(tuple(verb.split()), command), "callback", lambda **given: got.append(given["run"])
        )
        monkeypatch.setattr("typer.testing._get_command", lambda _: command)
        done = runner.invoke(app, line, env=environment)
        assert done.exit_code == 0, done.stderr
        (run,) = got
        return run

    return typed


def test_the_verbs_that_have_no_run() -> None:
    assert set(WITHOUT) == {
        "doctor", "python", "experiment list", "experiment run", "experiment worker", "experiment report",
        "experiment certificates", "experiment compare",
    }  # fmt: skip


@pytest.mark.parametrize("verb", WITH_RUN)
def test_run_stands_after_the_verb_before_it_or_in_the_environment(verb: str, named: Callable[..., str | None]) -> None:
    words, more = verb.split(), arguments(tuple(verb.split()))
    none: dict[str, str | None] = {"HOVERBOARD_RUN": None}
    assert named(verb, [*words, "--run", "r1", *more], none) == "r1"
    assert named(verb, ["--run", "r1", *words, *more], none) == "r1"
    assert named(verb, ["--run=r1", *words, *more], none) == "r1"
    assert named(verb, [*words, *more], none) is None
    if len(words) > 1:
        assert named(verb, [words[0], "--run", "r1", *words[1:], *more], none) == "r1"
    if verb != "down":  # which reads the environment itself: see below
        assert named(verb, [*words, *more], {"HOVERBOARD_RUN": "r1"}) == "r1"


@pytest.mark.parametrize("verb", WITH_RUN)
def test_the_nearest_to_the_verb_counts(verb: str, named: Callable[..., str | None]) -> None:
    words, more = verb.split(), arguments(tuple(verb.split()))
    other: dict[str, str | None] = {"HOVERBOARD_RUN": "r3"}
    assert named(verb, ["--run", "r2", *words, "--run", "r1", *more], other) == "r1"
    assert named(verb, ["--run", "r2", *words, *more], other) == "r2"


@pytest.mark.parametrize("verb", WITHOUT)
def test_a_verb_that_is_for_no_run_says_so(verb: str) -> None:
    refused = runner.invoke(app, ["--run", "r1", *verb.split()])
    assert refused.exit_code == InputError.exit_code
    assert f"`{verb.split()[0]}` is for no run\n  -> leave --run out" in refused.stderr


def test_down_takes_the_run_of_the_environment_but_not_for_all_and_orphans(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("topologies.client.run_client.down", lambda name, **_: taken.append(name))
    monkeypatch.setattr("topologies.processes.run_directory.run_names", lambda state: ["a", "b"])
    monkeypatch.setattr("topologies.processes.failed_logs.names", lambda state: [])
    monkeypatch.setattr(down_verb.runs, "mention_orphans", lambda: None)
    monkeypatch.setattr("topologies.client.orphans.find", lambda: [])
    for words, expected in ((["down"], ["a"]), (["down", "--all"], ["a", "b"]), (["down", "--orphans"], [])):
        taken.clear()
        done = runner.invoke(app, words, env={"HOVERBOARD_RUN": "a"})
        assert (done.exit_code, taken) == (0, expected), done.stderr
