"""What a new thing touches: sources with one programming model more, in two places, work throughout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("console", "experiments", "topologies", "controllers", "hoverboard")
ROW = '    "gateway": ModelFacts('
CLASS = """
from controllers.vmc.models.gateway import GatewayModel
class StarOfADayModel(GatewayModel, shipped="star-of-a-day"):
    pass
"""


def write(tree: Path, path: str, text: str) -> None:
    """Put a file into a tree of links to the sources, on the way real folders of links instead."""
    folder, source = tree, ROOT
    for part in Path(path).parent.parts:
        folder, source = folder / part, source / part
        if folder.is_symlink():
            folder.unlink()
            folder.mkdir()
            for one in source.iterdir():
                if one.name != "__pycache__":
                    (folder / one.name).symlink_to(one)
    target = tree / path
    target.unlink(missing_ok=True)
    target.write_text(text)


@pytest.fixture
def with_a_model(tmp_path: Path) -> Path:
    """The sources with one programming model more: a row and a class."""
    for layer in LAYERS:
        (tmp_path / layer).symlink_to(ROOT / layer)
    table = "hoverboard/contract/models.py"
    text = (ROOT / table).read_text()
    assert text.count(ROW) == 1
    write(tmp_path, table, text.replace(ROW, f'    "star-of-a-day": ModelFacts(relays=True),\n{ROW}'))
    write(tmp_path, "controllers/vmc/models/star_of_a_day.py", CLASS)
    return tmp_path


KNOWS = """
from controllers.vmc.models import model_named
from experiments.catalog.models import Models
from experiments.catalog.programming_time import ProgrammingTime
from hoverboard.contract.errors import InputError
from topologies.spec import schema
from topologies.spec.topology import check_model
NAME = "star-of-a-day"
assert model_named(NAME).facts().relays
assert NAME in schema.json_schema()
assert schema.parse(f"hosts: 1\\nmodel: {NAME}").model == NAME
for refused in (
    lambda: schema.parse(f"hosts: 1\\nhoverboards: 0\\nmodel: {NAME}"),
    lambda: check_model(schema.parse("hosts: 1\\nhoverboards: 0\\nmodel: on-demand"), NAME),
):
    try:
        refused()
    except InputError as error:
        assert NAME in str(error)
    else:
        raise AssertionError("it needs a Hoverboard")
for experiment in (Models, ProgrammingTime):
    assert NAME in next(one for one in experiment.parameters if one.name == "models").choices
"""


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (("-c", KNOWS), ""),
        (("-m", "console.cli", "model", "set", "--help"), "star-of-a-day"),
        (("-m", "console.cli", "up", "--help"), "star-of-a-day"),
        (("-m", "controllers", "--help"), "star-of-a-day"),
    ],
    ids=["python", "model-set", "up", "controllers"],
)
def test_a_programming_model_is_a_row_and_a_class(with_a_model: Path, command: tuple[str, ...], shown: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(with_a_model), "COLUMNS": "300"}
    done = subprocess.run(
        [sys.executable, "-P", *command], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
