"""What users of version 0.1 wrote runs as it is; each old path warns, and there is none that they did not use."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from experiments.frame.experiment import OLD_NAMES, SampleTable
from experiments.sweeps import discovery
from hoverboard.coprocessor.registry import Registry
from hoverboard.testing import context, packet

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tests/old_api/users.py"
PACKAGES = ("topologies", "experiments", "controllers")


@pytest.fixture(scope="module")
def loaded() -> tuple[ModuleType, list[str]]:
    """The users' file, and what it was warned of."""
    spec = importlib.util.spec_from_file_location("users", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        spec.loader.exec_module(module)
    assert {warning.category for warning in seen} == {DeprecationWarning}
    assert {warning.filename for warning in seen} == {str(FILE)}
    return module, [str(warning.message) for warning in seen]


@pytest.fixture(scope="module")
def users(loaded: tuple[ModuleType, list[str]]) -> Any:
    return loaded[0]


@pytest.mark.parametrize(
    ("old", "instead"),
    [
        ("topologies.testbed.Testbed", "from topologies import Testbed"),
        ("topologies.topo.ClusterTopo", "from topologies import ClusterTopo"),
        ("topologies.topo.TwoHosts", "from topologies.emulation.topo import TwoHosts"),
        ("topologies.schema.load", "from topologies import load"),
        ("experiments.iperf.IperfSpec", "from experiments import iperf` and `iperf.IperfSpec"),
        ("experiments.frame.experiment.Verdict", "from experiments.frame.experiment import ClaimVerdict"),
        ("controllers.fm.client.FabricClient", "from controllers import FabricClient"),
        ("controllers.vmc.offload.OffloadPolicy", "from controllers import OffloadPolicy"),
    ],
)
def test_an_old_path_names_the_new_import(loaded: tuple[ModuleType, list[str]], old: str, instead: str) -> None:
    (message,) = {one for one in loaded[1] if one.startswith(f"{old} ")}
    assert message.endswith(f"`{instead}`")


def test_old_names_are_the_new_ones(users: Any) -> None:
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.PUBLIC:
            imported = getattr(users, name, None)
            if getattr(imported, "__module__", None) != users.__name__:  # not a function of its own
                assert imported in (None, getattr(module, name))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_old_path_leads_to_a_module(package: str) -> None:
    for old, new in importlib.import_module(package).OLD_PATHS.items():
        assert importlib.import_module(old).__doc__ == f"Old path of {new}, for one version."
        importlib.import_module(new)


@pytest.mark.parametrize("module", ["controllers.vmc.offload", "experiments.frame.experiment"])
def test_every_old_name_leads_to_a_new_one(module: str) -> None:
    found = importlib.import_module(module)
    for name, line in found.OLD_NAMES.items():
        with pytest.warns(DeprecationWarning, match=f"write `{line}`"):
            assert getattr(found, name).__name__ == line.split()[-1]
    assert set(OLD_NAMES) == {"Table", "Verdict"}


def test_the_topology(users: Any) -> None:
    topology = users.Pair().topology()
    assert [vm.name for vm in topology.vms] == ["left", "right"]
    assert users.names()[0] == users.names()[1]


def test_the_experiment(users: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = discovery.find(f"{FILE}:Sizes")
    assert found.points({"sizes": (56, 1300)}) == [{"size": 56}, {"size": 1300}]
    samples = [users.Sample("round trip", 5.0, "us", {"size": size}) for size in (56, 1300)]
    (chart,) = found.charts(SampleTable(samples), {})
    assert chart.title == "Round trip over packet size"
    assert found.verdicts(SampleTable(samples), {})[0].ours == "2 samples"


def test_the_stage(users: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        stage = Registry().make(f"{FILE}:NoJumbo", context(), {"largest": 100})
    small, large = packet(bytes(100)), packet(bytes(101))
    assert stage.process([small, large]) == [small]


def test_the_offload_policy(users: Any) -> None:
    policy = users.Half(users.OffloadPolicy.__init__.__globals__["OffloadSettings"]())
    assert policy.decide("h1", [("slow", 1.0), ("busy", 9.0)], 0.0) == users.Decision(start=("busy",))


def test_the_documents_of_version_0_1_name_no_other_path() -> None:
    imports = re.findall(r"^from ([\w.]+) import", FILE.read_text(encoding="utf-8"), re.MULTILINE)
    old = {name for package in PACKAGES for name in importlib.import_module(package).OLD_PATHS}
    used = {*imports, *(f"experiments.{name}" for name in ("ping", "round_trip", "packet_rate"))}
    assert old <= used


@pytest.mark.parametrize("name", ["compose", "warm"])
def test_an_old_command_names_the_new_one(name: str) -> None:
    source = (ROOT / f"hoverboard/fastpath/{name}.py").read_text(encoding="utf-8")
    new = f"hoverboard.fastpath.engine.{name}"
    assert source.count(new) == 3
    assert importlib.util.find_spec(new) is not None


def test_an_old_command_runs() -> None:
    ran = [
        subprocess.run([sys.executable, "-m", module], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for module in ("hoverboard.fastpath.compose", "hoverboard.fastpath.engine.compose")
    ]
    assert ran[0] == ran[1] != ""
