"""The answer to a request that ends the process of the control plane: the user's line, before the process ends."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import pytest

from controllers import __main__ as process
from controllers.crash import answer_to
from controllers.fm.fabric_client import FabricClient
from controllers.single_process import Settings
from controllers.testing.world import cluster
from hoverboard.contract.errors import InputError, RunError
from tests.unit.controllers.event_loop import StillClock, run
from tests.unit.controllers.process_end import ProcessEnd
from tests.unit.controllers.vmc.controller_rig import B1, Rig

BAD = """
from controllers.vmc.models import MODELS

def flows_of(vm):
    raise RuntimeError("bad model")

class Common(type(MODELS["gateway"])):
    def vm_flows(self, view, switch, vm):
        yield from flows_of(vm)

class Bad(Common):
    pass
"""


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.py"
    path.write_text(BAD)
    return path


def test_an_exception_in_a_users_model_is_answered_with_its_class_file_and_line(bad: Path) -> None:
    async def tell() -> None:
        rig = await Rig().start()
        ended = ProcessEnd()
        with pytest.raises(RuntimeError) as raised:
            rig.controller.set_model(f"{bad}:Bad")
        assert ended.times == 1
        answer = answer_to(raised.value)
        assert isinstance(answer, InputError)
        assert (answer.what, answer.where) == ("Bad.vm_flows() raised RuntimeError: bad model", f"{bad}:5")
        rig.controller.stop()

    run(tell(), StillClock)


def test_an_exception_of_ours_is_answered_with_its_class_and_text() -> None:
    rejected = RunError("no")
    assert answer_to(rejected) is rejected
    answer = answer_to(ZeroDivisionError("half done"))
    assert isinstance(answer, RunError)
    assert answer.what == "the request failed in the control plane: ZeroDivisionError: half done"


def test_the_request_that_ends_the_process_gets_its_answer_first(tmp_path: Path, bad: Path) -> None:
    def ask() -> str:
        with FabricClient(f"unix:{tmp_path}/control.sock") as client:
            client.wait_ready(10.0)
            client.full_update([*cluster(), B1])
            with pytest.raises(InputError) as answer:
                client.set_model(f"{bad}:Bad")
            return str(answer.value)

    async def tell() -> None:
        serving = asyncio.create_task(
            process._serve(argparse.Namespace(role="all"), Settings(tmp_path, "gateway"), "control")
        )
        answer = await asyncio.to_thread(ask)
        assert answer.startswith(f"{bad}:5: Bad.vm_flows() raised RuntimeError: bad model\n  -> correct the file")
        assert await serving == 1

    run(tell())
