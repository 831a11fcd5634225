"""Orders for the offload policy: which of them a VM controller follows, and who gets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from controllers.roles.offload_order import FollowedOffload, settings_message
from controllers.roles.replicas import Replica, Roster
from controllers.vmc.offload.policy import OffloadPolicy, OffloadSettings
from hoverboard.contract.errors import InputError
from hoverboard.contract.wire import control_pb2 as pb
from tests.unit.controllers.roles.test_roles import said

START = OffloadSettings(20_000.0)
MINE = """from controllers import OffloadPolicy
class Mine(OffloadPolicy):
    def decide(self, host, candidates, now): ...
"""


def order(number: int, settings: OffloadSettings, policy: str | None = None) -> pb.OffloadOrder:
    return pb.OffloadOrder(number=number, settings=settings_message(settings, policy))


def test_the_order_with_which_a_controller_starts_changes_nothing() -> None:
    followed = FollowedOffload(START, None)
    assert followed.follow(order(0, START)) is None
    assert followed.follow(order(0, START)) is None


def test_other_settings_are_followed_once_and_again_after_the_fabric_manager_has_restarted() -> None:
    followed = FollowedOffload(START, None)
    wanted = OffloadSettings(1_000.0, budget=3)
    made = followed.follow(order(1, wanted))
    assert type(made) is OffloadPolicy
    assert made.settings == wanted
    assert followed.follow(order(1, wanted)) is None  # the stream was opened again
    assert followed.follow(order(0, wanted)) is None  # the fabric manager has restarted with these settings
    assert followed.follow(order(1, START)) is not None


def test_a_file_is_read_again_when_it_is_ordered_again(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    followed = FollowedOffload(START, f"{file}:Mine")
    assert followed.follow(order(0, START, f"{file}:Mine")) is None
    first, second = (followed.follow(order(number, START, f"{file}:Mine")) for number in (1, 2))
    assert type(first).__name__ == type(second).__name__ == "Mine"
    assert type(first) is not type(second)


def test_a_file_that_is_gone_is_refused_and_the_next_order_is_followed(tmp_path: Path) -> None:
    followed = FollowedOffload(START, None)
    with pytest.raises(InputError, match="there is no Python file"):
        followed.follow(order(1, START, f"{tmp_path}/gone.py:Mine"))
    assert type(followed.follow(order(2, START))) is OffloadPolicy


def test_who_reports_stays_as_the_controller_was_started() -> None:
    followed = FollowedOffload(OffloadSettings(reports="hoverboards"), None)
    made = followed.follow(order(1, OffloadSettings(7.0)))
    assert made is not None
    assert (made.settings.threshold_bps, made.settings.reports) == (7.0, "hoverboards")


def test_every_controller_gets_the_present_order_and_each_later_one() -> None:
    roster = Roster(1, "hoverboard", settings_message(START, None))
    early, late = Replica(0, 0, 1), Replica(0, 1, 2)
    roster.join(early)
    assert [event.WhichOneof("update") for event in said(early.outbox)] == ["model", "offload"]
    wanted = settings_message(OffloadSettings(9.0), None)
    roster.order_offload(wanted)
    roster.join(late)
    for one in (early, late):
        (event,) = [event.offload for event in said(one.outbox) if event.HasField("offload")]
        assert (event.number, event.settings) == (1, wanted)
