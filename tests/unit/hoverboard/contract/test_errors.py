"""The tree of errors: what a message says, and with which code a command ends."""

from __future__ import annotations

import pytest

from hoverboard.contract import errors
from hoverboard.contract.errors import HoverboardError

CODES = {
    "HoverboardError": 1, "InputError": 2, "EntityError": 2, "RunError": 3, "MachineError": 4, "SwitchError": 5,
    "MeasurementError": 6,
}  # fmt: skip


def test_every_kind_of_error_has_its_exit_code() -> None:
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, HoverboardError)]
    assert {kind.__name__: kind.exit_code for kind in kinds} == CODES


def test_a_bad_entity_is_bad_input() -> None:
    assert issubclass(errors.EntityError, errors.InputError)


@pytest.mark.parametrize(
    ("where", "next_step", "text"),
    [
        ("", "", "no such VM"),
        ("VM/b1.ip", "", "VM/b1.ip: no such VM"),
        ("", "add it", "no such VM\n  -> add it"),
        ("VM/b1.ip", "add it", "VM/b1.ip: no such VM\n  -> add it"),
    ],
)
def test_a_message_says_what_where_and_what_to_do(where: str, next_step: str, text: str) -> None:
    error = errors.EntityError(what="no such VM", where=where, next_step=next_step)
    assert str(error) == text
    assert (error.what, error.where, error.next_step, error.args) == ("no such VM", where, next_step, ("no such VM",))
