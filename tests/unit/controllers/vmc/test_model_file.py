"""Programming models from files: the example of docs/models.md programs switches; a file that is no good is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controllers.testing.world import place, ready, vm
from controllers.vmc.models import model_named
from hoverboard.contract.errors import InputError
from hoverboard.contract.models import ModelFacts
from hoverboard.contract.openflow.pipeline import Kind, kind_of
from tests.documented import file_text

EXAMPLE = file_text("docs/models.md", "tagged.py")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "tagged.py"
    found.write_text(EXAMPLE)
    return found


def test_a_model_from_a_file_has_its_reference_as_name_and_its_facts_as_attributes(file: Path) -> None:
    for reference in (f"{file}:Tagged", str(file)):
        model = model_named(reference)
        assert (model.name, model.facts()) == (reference, ModelFacts(relays=True))
    assert model_named("gateway").name == "gateway"


def test_switches_go_over_to_a_model_from_a_file_and_back(file: Path) -> None:
    world = ready("gateway", hosts=3, hoverboards=1)
    plain, tagged = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3).model_copy(update={"tags": ("direct",)})
    place(world, plain, tagged)
    before = world.tables()
    world.core.set_model(model_named(f"{file}:Tagged"), world.now)
    for _ in range(40):
        world.pass_time(0.1)
    assert world.core.switching is None
    after = world.tables()
    (direct,) = after["h1"].keys() - before["h1"].keys()
    assert kind_of(after["h1"][direct].cookie) is Kind.ROUTE
    assert world.reaches(plain, tagged)
    assert {name: table for name, table in after.items() if name != "h1"} == {
        name: table for name, table in before.items() if name != "h1"
    }
    late = vm("b3", "blue", "h3", 4)  # a host's first VM of the network: the host learns of those with the tag
    place(world, late)
    assert direct in world.tables()["h3"]
    world.diff(remove=[("VM", "b3")])
    world.core.set_model(model_named("gateway"), world.now)
    for _ in range(40):
        world.pass_time(0.1)
    assert world.tables() == before


ABSTRACT = """
from controllers.vmc.model import ProgrammingModel
class Half(ProgrammingModel):
    def vm_switches(self, view, vm):
        return ()
"""


# What the loader refuses of any file is in tests/unit/hoverboard/contract/test_plugins.py.
@pytest.mark.parametrize(
    ("text", "name", "what"),
    [
        (None, "Mine", "there is no Python file 'mine.py'"),
        ("x = 1 / 0\n", "Mine", "the file raised ZeroDivisionError"),
        ("class Mine: pass\n", "Mine", "'Mine' is no programming model"),
        (
            EXAMPLE + "class Other(Tagged): pass\n",
            "",
            "name one programming model: the file has Other, Tagged",
        ),
        (ABSTRACT, "Half", "class 'Half' lacks network_flows, network_switches, route_flows, route_switches, vm_flows"),
        (EXAMPLE + "    def __init__(self, size): pass\n", "Tagged", "Tagged() raised TypeError"),
    ],
)
def test_a_file_that_is_no_good_is_refused(tmp_path: Path, text: str | None, name: str, what: str) -> None:
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=re.escape(what)) as refused:
        model_named(f"{file}:{name}" if name else str(file))
    assert str(file) in refused.value.where
    assert refused.value.next_step
