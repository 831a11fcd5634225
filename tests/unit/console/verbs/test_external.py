"""What the command line says of hosts that others program."""

from __future__ import annotations

import pytest

from console.show import tables
from console.verbs import up
from topologies.spec import schema

HOSTS = [{"name": "h1"}, {"name": "h2", "program": "external", "controller": "tcp:127.0.0.1:6653"}]


@pytest.mark.parametrize(
    ("of_file", "option", "told"), [("ovs", None, 0), ("fastpath", None, 1), ("fastpath", "ovs", 0), ("ovs", "pre", 1)]
)
def test_up_says_once_what_does_not_work_on_the_generation_that_runs(
    of_file: str, option: up.GenerationName | None, told: int, capsys: pytest.CaptureFixture[str]
) -> None:
    up._note(schema.from_keys({"hosts": HOSTS, "dataplane": of_file}), option)
    said = capsys.readouterr()
    assert said.out == ""  # where --json is printed
    assert said.err.count("note: host h2 is programmed by tcp:127.0.0.1:6653") == told


def test_status_tells_such_a_host_from_the_others() -> None:
    row = {"name": "h1", "dataplane": "ovs", "datapath_type": "netdev", "state": "up", "vms": []}
    hosts = [row, {**row, "name": "h2", "program": "external", "controller": "tcp:127.0.0.1:6653"}]
    document = {
        "run": "r", "model": "gateway", "hosts": hosts, "hoverboards": [], "networks": [], "counters": {}, "cpu": [],
    }  # fmt: skip
    states = list(tables.status(document)[0].columns[3].cells)
    assert states == ["up", "up, external"]
