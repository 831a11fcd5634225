"""Every verb that prints JSON has a document with a schema; what needs no run is looked at here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from console.cli import app
from console.doctor import doctor
from hoverboard.contract.document_schemas import DOCUMENTS, check

runner = CliRunner()
# A verb that prints two documents: `up` when it has been brought up, `up --check`; `status` of the run, of a node.
MORE = {"up-check", "status-node"}


def verbs(group: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Verbs with --json, their words joined."""
    for name, command in group.commands.items():
        words = (*path, name)
        if hasattr(command, "commands"):
            yield from verbs(command, words)
        elif any("--json" in option.opts for option in command.params):
            yield "-".join(words)


def test_every_verb_that_prints_json_has_a_document() -> None:
    assert set(verbs(typer.main.get_command(app))) == set(DOCUMENTS) - MORE


@pytest.mark.parametrize(
    ("command", "document"),
    [
        (["up", "two-regions", "--check", "--json"], "up-check"),
        (["experiment", "list", "--json"], "experiment-list"),
        (["experiment", "list", "latency", "--json"], "experiment-list"),
    ],
)
def test_what_is_printed_is_as_its_schema_says(command: list[str], document: str) -> None:
    done = runner.invoke(app, command)
    assert done.exit_code == 0
    check(document, json.loads(done.stdout))


def test_the_doctor_is_as_its_schema_says(capsys: pytest.CaptureFixture[str]) -> None:
    doctor.print_doctor(as_json=True)
    check("doctor", json.loads(capsys.readouterr().out))
