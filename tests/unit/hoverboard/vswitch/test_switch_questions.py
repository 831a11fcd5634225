"""The port SwitchQuestions: its adapter for Open vSwitch and the tests' own keep the same promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from hoverboard.contract.errors import SwitchError
from hoverboard.contract.openflow.pipeline import BRIDGE, Kind
from hoverboard.vswitch.ovs import Ovs
from hoverboard.vswitch.packetout import packet_out
from hoverboard.vswitch.switch_questions import OvsQuestions, SwitchQuestions
from hoverboard.vswitch.trace import parse_trace
from tests.unit.hoverboard.fake_questions import FakeQuestions
from tests.unit.hoverboard.vswitch.test_ovs import Vswitchd
from tests.unit.hoverboard.vswitch.test_packetout import HELLO, Bridge
from tests.unit.hoverboard.vswitch.test_vswitch import DELIVER

QUESTION = "in_port=100,ip"


class Switch(Protocol):
    """A switch on the other side of an adapter."""

    questions: SwitchQuestions

    def answers(self, text: str) -> None:
        """It answers every question with this text."""

    def goes(self) -> None:
        """It is there no more."""

    def asked(self) -> list[str]:
        """The packets that it was asked about."""

    def looked_up(self) -> list[tuple[int, bytes]]:
        """The frames that it was given."""


class RealSwitch:
    """The sockets of an Open vSwitch."""

    def __init__(self, directory: Path) -> None:
        self.ovs = Ovs(directory)
        self.vswitchd = Vswitchd(directory)
        self.bridge = Bridge(directory / f"{BRIDGE}.mgmt")
        self.questions = OvsQuestions(self.ovs)
        self._there = True

    def answers(self, text: str) -> None:
        self.vswitchd.answers["ofproto/trace"] = text

    def goes(self) -> None:
        if self._there:
            self._there = False
            self.questions.close()
            self.vswitchd.close(self.ovs)
            self.bridge.close()

    def asked(self) -> list[str]:
        assert all(command[:2] == ["ofproto/trace", BRIDGE] for command in self.vswitchd.asked)
        return [command[2] for command in self.vswitchd.asked]

    def looked_up(self) -> list[tuple[int, bytes]]:
        with self.bridge.accept() as there:
            stream = there.recv(1 << 16)
        assert stream == HELLO + packet_out(1, 100, b"frame")
        return [(100, b"frame")]


class FakeSwitch:
    """The fake, with the answer that the real one would find in the text."""

    def __init__(self) -> None:
        self.fake = FakeQuestions(SwitchError("away"))
        self.questions: SwitchQuestions = self.fake

    def answers(self, text: str) -> None:
        self.fake.answer = lambda _packet: parse_trace(text)

    def goes(self) -> None:
        self.fake.answer, self.fake.takes = SwitchError("away"), False

    def asked(self) -> list[str]:
        return self.fake.asked

    def looked_up(self) -> list[tuple[int, bytes]]:
        return self.fake.looked_up


@pytest.fixture(params=["open vswitch", "fake"])
def switch(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Switch]:
    made: Switch = RealSwitch(tmp_path) if request.param == "open vswitch" else FakeSwitch()
    yield made
    made.goes()


def test_a_question_is_asked_as_it_is_and_the_answer_is_parsed(switch: Switch) -> None:
    switch.answers(DELIVER)
    assert switch.questions.trace(QUESTION) == parse_trace(DELIVER)
    assert switch.questions.trace(QUESTION).kind is Kind.LOCAL
    assert switch.asked() == [QUESTION, QUESTION]


def test_an_answer_that_makes_no_sense_is_a_value_error(switch: Switch) -> None:
    switch.answers("Bad openflow flow syntax")
    with pytest.raises(ValueError, match="no result"):
        switch.questions.trace(QUESTION)


def test_a_frame_goes_through_the_tables(switch: Switch) -> None:
    assert switch.questions.look_up(100, b"frame")
    assert switch.looked_up() == [(100, b"frame")]


def test_a_switch_that_is_away_says_so_and_takes_no_frame(switch: Switch) -> None:
    switch.goes()
    with pytest.raises(SwitchError):
        switch.questions.trace(QUESTION)
    assert not switch.questions.look_up(100, b"frame")
