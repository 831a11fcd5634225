"""Errors keep their kind, their three parts and their exit code over a socket."""

from __future__ import annotations

import json

import pytest

from hoverboard.contract import errors
from hoverboard.contract.errors import HoverboardError, InputError, RunError
from hoverboard.rpc.errors import error_from_json, error_to_json

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HoverboardError)]


def crossed(error: Exception) -> HoverboardError:
    return error_from_json(json.loads(json.dumps(error_to_json(error))))


class Listed(InputError):
    """As topologies.spec.faults.TopologyFileError: a class that the other end does not have, with text of its own."""

    exit_code = 9

    def __str__(self) -> str:
        return "line 3: wrong\nline 4: unknown"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("parts", [("what", "where", "next"), ("what", "", ""), ("", "", ""), ("\udce4 ü\n", "ä", "")])
def test_an_error_of_ours_crosses_unchanged(kind: type[HoverboardError], parts: tuple[str, str, str]) -> None:
    error = kind(parts[0], where=parts[1], next_step=parts[2])
    again = crossed(error)
    assert type(again) is kind
    assert (again.what, again.where, again.next_step) == parts
    assert (str(again), again.exit_code) == (str(error), error.exit_code)


def test_an_error_with_text_of_its_own_crosses_as_the_nearest_kind_with_that_text_and_exit_code() -> None:
    again = crossed(Listed("two faults"))
    assert type(again) is InputError
    assert (str(again), again.exit_code) == ("line 3: wrong\nline 4: unknown", 9)
    assert InputError("x").exit_code == 2


@pytest.mark.parametrize(("error", "text"), [(OSError("no room"), "no room"), (KeyError(), "KeyError")])
def test_another_error_crosses_as_a_run_error(error: Exception, text: str) -> None:
    again = crossed(error)
    assert type(again) is RunError
    assert str(again) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"kind": "dict", "what": "x"}, "x"),
        ({"kind": "Path", "what": "x", "where": "y"}, "y: x"),
        ({"kind": ["InputError"], "what": 3}, "3"),
        ({"exit_code": 0}, "unknown fault"),
        ({"exit_code": "2"}, "unknown fault"),
        ({"exit_code": 256}, "unknown fault"),
        ("text", "text"),
        (None, "None"),
    ],
)
def test_what_is_no_error_of_ours_is_a_run_error(data: object, text: str) -> None:
    again = error_from_json(data)
    assert type(again) is RunError
    assert (str(again), again.exit_code) == (text, 3)
