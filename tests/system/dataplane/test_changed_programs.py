"""Any change of any program of a real switch: afterwards each cached entry does what the switch would do, or is gone.

The switch and its flow monitor are real; the engines stand still. The unit ring does the same with a model of a switch.
"""

from __future__ import annotations

import select
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from hoverboard.vswitch.monitor import Change, FlowMonitor
from hoverboard.vswitch.ovs import Ovs
from hoverboard.vswitch.switch_questions import OvsQuestions
from tests.cached_answers import learn, wrong_answers
from tests.random_programs import ProgramChange, RandomFlow, RandomPacket, stories
from tests.system.control_plane.control_plane_rig import Switch
from tests.unit.hoverboard.flow_miss_oracle import Oracle

_MARK = 0xFEED0000  # metadata of flows that only show how far the monitor has come


class RealOracle(Oracle):
    """Flow misses whose switch is a real one."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.real = Switch("switch", "172.16.0.1", directory / "no-controller", directory)
        for port in (100, 101):
            self.real.add_vport(f"vp{port}", port)
        self.real.ofctl("add-group", "group_id=1,type=indirect,bucket=output:100")
        self.real.ofctl("add-group", "group_id=2,type=select,bucket=output:100,bucket=output:101")
        self.questions = OvsQuestions(Ovs(self.real.dir))
        self.switch.answer = self.questions.trace
        self.monitor = FlowMonitor(f"unix:{self.real.dir}/br-int.mgmt", self.real.dir)
        self._marks = 0

    def request(self, *lines: str) -> None:
        """Send requests to the switch, and revalidate by what the monitor reports until it has reported them."""
        self._marks += 1
        mark = Change(vni=_MARK + self._marks)
        text = "\n".join([*lines, f"add table=200,metadata={mark.vni:#x},actions=drop", ""])
        file = self.real.dir / "requests"
        file.write_text(text)
        self.real.ofctl("add-flows", str(file))
        reported: list[Change] = []
        while mark not in reported:
            assert select.select([self.monitor], [], [], 20)[0], "the monitor does not report the change"
            new = self.monitor.read()
            assert new or not self.monitor.ended
            self.revalidate(new)
            reported += new

    def close(self) -> None:
        self.monitor.close()
        self.questions.close()
        self.real.stop()
        self.datapath.stop()


@pytest.fixture(scope="module")
def real() -> Iterator[RealOracle]:
    directory = Path(tempfile.mkdtemp(prefix="hb", dir="/tmp"))
    made = RealOracle(directory)
    yield made
    made.close()
    shutil.rmtree(directory)


@settings(max_examples=60)
@given(story=stories(real=True))
def test_entries_after_a_change_of_a_random_program(
    real: RealOracle, story: tuple[list[RandomFlow], list[RandomPacket], list[ProgramChange]]
) -> None:
    program, found, changes = story
    real.request("delete", *(f"add {flow.text()}" for flow in program))
    real.forget(list(real.cached))
    learn(real, found)
    assert wrong_answers(real, found) == []
    for change in changes:
        real.request(change.line())
        assert wrong_answers(real, found) == [], change.line()
