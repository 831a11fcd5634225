"""What the command line says of hosts that others program."""

from __future__ import annotations

import pytest

from console.show import tables
from console.verbs import up
from hoverboard.contract.generations import Dataplane
from topologies.spec import external, schema

HOSTS = [{"name": "h1"}, {"name": "h2", "program": "external", "controller": "tcp:127.0.0.1:6653"}]


@pytest.mark.parametrize(
    ("of_file", "option", "count"), [("ovs", None, 0), ("fastpath", None, 1), ("fastpath", "ovs", 0), ("ovs", "pre", 1)]
)
def test_up_says_once_what_does_not_work_on_the_generation_that_runs(
    of_file: str, option: Dataplane | None, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    topology = schema.from_keys({"hosts": HOSTS, "dataplane": of_file})
    up._print_notes(external.notes(topology if option is None else topology.with_dataplane(option)))
    printed = capsys.readouterr()
    assert printed.out == ""  # where --json is printed
    assert printed.err.count("note: host h2 is programmed by tcp:127.0.0.1:6653") == count


def test_status_tells_such_a_host_from_the_others() -> None:
    row = {"name": "h1", "dataplane": "ovs", "datapath_type": "netdev", "state": "up", "vms": []}
    hosts = [row, {**row, "name": "h2", "program": "external", "controller": "tcp:127.0.0.1:6653"}]
    document = {
        "run": "r", "model": "gateway", "hosts": hosts, "hoverboards": [], "networks": [], "counters": {}, "cpu": [],
    }  # fmt: skip
    states = list(tables.status(document)[0].columns[3].cells)
    assert states == ["up", "up, external"]
