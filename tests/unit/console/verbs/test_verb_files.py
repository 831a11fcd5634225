"""A verb is found by its name: it stands in the file of that name in `console/verbs/`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from console.cli import app

# `experiment` has five verbs; those that measure stand in a file of their own.
PAIRS = {"experiment run": "experiment_run", "experiment worker": "experiment_run"}


def verbs() -> Iterator[tuple[str, Any]]:
    """Words of each verb, and the function that executes it."""
    yield from ((command.name or "", command.callback) for command in app.registered_commands)
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for command in group.typer_instance.registered_commands:
            yield f"{group.name} {command.name}", command.callback


def test_a_verb_is_in_the_file_of_its_name() -> None:
    files = {words: function.__module__ for words, function in verbs()}
    assert len(files) > 15
    assert files == {words: f"console.verbs.{PAIRS.get(words, words.split()[0])}" for words in files}
