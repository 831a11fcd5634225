"""The files that a new thing touches: the sources work with one thing more, written in as few files as it says here.

A programming model: 2 files. A generation of the dataplane: 3. A topology key that is only carried to the host: 4,
the file that uses it among them. `topologies/spec/schema.json` is generated, and does not count.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("console", "experiments", "topologies", "controllers", "hoverboard")


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
def sources(tmp_path: Path) -> Path:
    """A tree of links to the sources."""
    for layer in LAYERS:
        (tmp_path / layer).symlink_to(ROOT / layer)
    return tmp_path


def insert(tree: Path, path: str, before: str, lines: str) -> None:
    """Write lines before the only line of a file that starts with `before`."""
    text = (tree / path).read_text()
    assert text.count(f"\n{before}") == 1, (path, before)
    write(tree, path, text.replace(f"\n{before}", f"\n{lines}\n{before}"))


def written(tree: Path) -> set[str]:
    """The files that are not links to the sources."""
    return {
        str(path.relative_to(tree))
        for layer in LAYERS
        for path in (tree / layer).rglob("*.py")
        if path.resolve().is_relative_to(tree)
    }


def run(tree: Path, *command: str) -> str:
    """The output of Python on the sources of a tree."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "300"}
    done = subprocess.run(
        [sys.executable, "-P", *command], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- a programming model ---------------------------------------------------------------------------------------------

CLASS = """
from controllers.vmc.models.gateway import GatewayModel
class StarOfADayModel(GatewayModel, shipped="star-of-a-day"):
    pass
"""


@pytest.fixture
def with_a_model(sources: Path) -> Path:
    """The sources with one programming model more: a row and a class."""
    row = '    "star-of-a-day": ModelFacts(relays=True),'
    insert(sources, "hoverboard/contract/models.py", '    "gateway": ModelFacts(', row)
    write(sources, "controllers/vmc/models/star_of_a_day.py", CLASS)
    return sources


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
    assert shown in run(with_a_model, *command)
    assert written(with_a_model) == {"hoverboard/contract/models.py", "controllers/vmc/models/star_of_a_day.py"}


# --- a generation of the dataplane -----------------------------------------------------------------------------------

PLANE = """
class StarOfADayPlane:
    pass
"""
ROW = """
    "star-of-a-day": GenerationFacts(
        andromeda="0.1", carrier="switch", nic="veth", uplink="device", addressed=False, guest_offloads=False,
        takes_segments=False, kernel_switch=False, vmm=False, relay="ovs", stands_for="a made-up one",
    ),"""
MADE = """
import sys
from pathlib import Path

from experiments.frame.generation_comparison import GENERATIONS_PARAMETER as CHOICE
from hoverboard.host.checkpointing.checkpoint import CheckpointWriter
from hoverboard.host.control.host_client import HostConfig
from hoverboard.host.generations import make
from hoverboard.vswitch.ovs import Ovs
from topologies.spec import schema

NAME = "star-of-a-day"
given = schema.parse(f"hosts: 1\\ndataplane: {NAME}")
assert [server.dataplane for server in given.servers] == [NAME, "ovs"]
assert NAME in schema.json_schema()
assert NAME in CHOICE.choices
config = HostConfig(
    run="r", node="h1", role="host", dataplane=NAME, datapath_type="netdev", underlay_ip="172.16.0.1",
    underlay_prefixlen=16, node_dir=sys.argv[1], control_address="unix:c", openflow_address="unix:o",
)
made = make(config, Ovs(Path(sys.argv[1])), CheckpointWriter())
assert type(made.plane).__name__ == "StarOfADayPlane"
"""


@pytest.fixture
def with_a_generation(sources: Path) -> Path:
    """The sources with one generation more: its name and row, its plane, and its line in `MAKERS`."""
    table, makers = "hoverboard/contract/generations.py", "hoverboard/host/generations/__init__.py"
    named = (sources / table).read_text().replace('Literal["pre", ', 'Literal["star-of-a-day", "pre", ')
    write(sources, table, named)
    insert(sources, table, '    "pre": GenerationFacts(', ROW)
    write(sources, "hoverboard/host/generations/star_of_a_day.py", PLANE)
    line = '        "star-of-a-day": lambda parts: MadeDataplane(StarOfADayPlane(), None),'
    insert(sources, makers, '        "pre": ', line)
    insert(
        sources, makers, "from hoverboard.vswitch.ovs import Ovs",
        "from hoverboard.host.generations.star_of_a_day import StarOfADayPlane",
    )  # fmt: skip
    return sources


def test_the_command_line_knows_a_new_generation(with_a_generation: Path) -> None:
    assert "star-of-a-day" in run(with_a_generation, "-m", "console.cli", "up", "--help")


def test_a_generation_is_a_row_a_class_and_a_line(
    with_a_generation: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run(with_a_generation, "-c", MADE, str(tmp_path_factory.mktemp("host")))
    assert written(with_a_generation) == {
        "hoverboard/contract/generations.py",
        "hoverboard/host/generations/__init__.py",
        "hoverboard/host/generations/star_of_a_day.py",
    }


# --- a topology key --------------------------------------------------------------------------------------------------

CARRIED = """
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from hoverboard.contract.errors import InputError
from hoverboard.host import generations
from hoverboard.host.checkpointing.checkpoint import CheckpointWriter
from hoverboard.host.control.host_client import HostConfig
from hoverboard.vswitch.ovs import Ovs
from topologies.processes.run_directory import RunDirectory
from topologies.run.apply import check_fixed_keys
from topologies.run.host_processes import HostProcesses
from topologies.spec import schema

folder = Path(sys.argv[1])
given = schema.parse("hosts: 1\\ndataplane: ovs\\nstar_of_a_day: 7")
assert (given.star_of_a_day, schema.parse("hosts: 1").star_of_a_day) == (7, 3)
assert '"star_of_a_day"' in schema.json_schema()
with pytest.raises(InputError, match="`star_of_a_day` cannot change"):
    check_fixed_keys(given, given, replace(given, star_of_a_day=8), "file.yaml")

sent = []
class Sender(HostProcesses):
    def _spawn(self, server, config):
        sent.append(json.loads(json.dumps(asdict(config))))

server = SimpleNamespace(
    spec=given.hosts[0], directory=folder, uplink_device=None, client=SimpleNamespace(wait_ready=lambda timeout: None)
)
sender = Sender(RunDirectory("star", folder), SimpleNamespace(), "netdev", given)
sender.start(server, [("unix:control", folder / "of")])
generations.MAKERS = {"ovs": generations._star}
assert generations.make(HostConfig(**sent[0]), Ovs(folder), CheckpointWriter()) == 7
"""


@pytest.fixture
def with_a_key(sources: Path) -> Path:
    """The sources with one topology key more, which the host's dataplane uses."""
    key = '    star_of_a_day: Annotated[StrictInt, FixedKey()] = Field(3, description="made up")'
    insert(sources, "topologies/spec/keys.py", "    vm_priority: ", key)
    insert(sources, "topologies/spec/topology.py", "    vm_priority: ", "    star_of_a_day: int = 3")
    insert(sources, "hoverboard/host/control/host_client.py", "    vm_priority: bool", "    star_of_a_day: int = 3")
    use = "def _star(parts):\n    return parts.config.star_of_a_day\n\n"
    insert(sources, "hoverboard/host/generations/__init__.py", "def _engines(", use)
    return sources


def test_a_topology_key_for_the_host_is_in_two_files_of_the_spec_the_hosts_settings_and_its_use(
    with_a_key: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run(with_a_key, "-c", CARRIED, str(tmp_path_factory.mktemp("host")))
    assert written(with_a_key) == {
        "topologies/spec/keys.py",
        "topologies/spec/topology.py",
        "hoverboard/host/control/host_client.py",
        "hoverboard/host/generations/__init__.py",
    }
