"""Bad input to the public names of docs/api.md: one error with a good sentence, and no other error before it.

An error that has another one as its cause, or as its context, shows two tracebacks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controllers import FabricClient
from experiments import iperf
from hoverboard.errors import HoverboardError, InputError
from topologies import ClusterTopo, HoverboardNet, Testbed, load

ONE_HOST = "hosts: 1\nmodel: preprogrammed\nnetworks:\n  - {name: a, vni: 1, subnet: 10.0.0.0/24, vms: 1}\n"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with files that have faults."""
    monkeypatch.chdir(tmp_path)
    Path("key.yaml").write_text("hosts: 2\nhoverbords: 1\n")
    Path("syntax.yaml").write_text("hosts: [2\n")
    Path("empty.yaml").write_text("")
    Path("binary.yaml").write_bytes(b"\xff\x00\x01")
    Path("folder.yaml").mkdir()
    Path("stage.yaml").write_text(ONE_HOST + "stages:\n  - {stage: nosuch}\n")
    Path("stage-raises.yaml").write_text(ONE_HOST + "stages:\n  - {stage: raises.py}\n")
    Path("syntax.py").write_text("class X(\n")
    Path("raises.py").write_text("import no_such_module\nclass X: pass\n")
    return tmp_path


def topo(**given: Any) -> ClusterTopo:
    """A topology with one VM, some of it wrong."""
    made = ClusterTopo()
    made.addVMHost("h1", **{key: given[key] for key in ("dataplane",) if key in given})
    made.addHoverboard("hv1")
    if "no_network" not in given:
        made.addNetwork("blue", vni=given.get("vni", 7), subnet=given.get("subnet", "10.0.0.0/24"))
    made.addVM("blue-1", network="blue", host=given.get("host", "h1"), ip=given.get("ip"))
    return made


CASES: dict[str, tuple[Callable[[], object], str]] = {
    "key": (lambda: Testbed("key.yaml"), "key.yaml:2: hoverbords: unknown key"),
    "syntax": (lambda: Testbed("syntax.yaml"), "syntax.yaml:"),
    "empty": (lambda: Testbed("empty.yaml"), "the file is empty"),
    "missing": (lambda: Testbed("nosuch.yaml"), "nosuch.yaml: there is no such topology file"),
    "binary": (lambda: Testbed("binary.yaml"), "it is not UTF-8 text"),
    "folder": (lambda: Testbed("folder.yaml"), "cannot read the topology file: it is a directory"),
    "number": (lambda: Testbed(7), "a int is no topology"),  # type: ignore[arg-type]
    "none": (lambda: Testbed(None), "a NoneType is no topology"),  # type: ignore[arg-type]
    "model": (lambda: Testbed("two-hosts", model="star"), "star"),
    "model file": (lambda: Testbed("two-hosts", model="nosuch.py:X"), "there is no Python file 'nosuch.py'"),
    "model syntax": (lambda: Testbed("two-hosts", model="syntax.py:X"), "syntax.py:1: the file raised SyntaxError"),
    "model raises": (lambda: Testbed("two-hosts", model="raises.py:X"), "raises.py:1: the file raised ModuleNotFound"),
    "policy": (lambda: Testbed("two-hosts", offload_policy="nosuch.py:X"), "there is no Python file 'nosuch.py'"),
    "policy raises": (lambda: Testbed("two-hosts", offload_policy="raises.py:X"), "raises.py:1: the file raised"),
    "dataplane": (lambda: Testbed("two-hosts", dataplane="dpdk"), "dataplane: 'dpdk' is no dataplane"),  # type: ignore[arg-type]
    "scheduling": (lambda: Testbed("two-hosts", scheduling="fifo"), "scheduling: 'fifo' is no scheduling"),  # type: ignore[arg-type]
    "control": (lambda: Testbed("two-hosts", control="processes"), "is no layout of the control plane"),  # type: ignore[arg-type]
    "run": (lambda: Testbed("two-hosts", run="a/b"), "'a/b' is not a name for a run"),
    "state_dir": (lambda: Testbed("two-hosts", state_dir="/" + "x" * 120), "longer than a Unix socket's path may be"),
    "stage": (lambda: Testbed("stage.yaml"), "stage.yaml:6"),
    "stage raises": (lambda: Testbed("stage-raises.yaml"), "stage-raises.yaml:6"),
    "node": (lambda: Testbed("two-hosts").node("h1"), "is not up"),
    "set_model": (lambda: Testbed("two-hosts").set_model("star"), "is not up"),
    "net": (lambda: HoverboardNet("key.yaml", build=False), "key.yaml:2"),
    "net model": (lambda: HoverboardNet("two-hosts", model="star", build=False), "star"),
    "load": (lambda: load("key.yaml"), "key.yaml:2"),
    "load missing": (lambda: load(Path("nosuch.yaml")), "there is no such topology file"),
    "topo file": (lambda: ClusterTopo("syntax.yaml"), "syntax.yaml:"),
    "topo subnet": (lambda: topo(subnet="x").topology(), "'x' is not an IPv4 subnet"),
    "topo host": (lambda: topo(host="h9"), "VM blue-1: there is no host 'h9'\n  -> use one of: h1"),
    "topo gateway as host": (lambda: topo(host="hv1"), "there is no host 'hv1'"),
    "topo network": (lambda: topo(no_network=True).topology(), "VM blue-1: there is no network 'blue'"),
    "topo dataplane": (lambda: topo(dataplane="dpdk").topology(), "dpdk"),
    "topo address": (lambda: topo(ip="10").topology(), "'10' is not an IPv4 address"),
    "topo vni": (lambda: topo(vni=-1).topology(), "vni"),
    "fabric manager": (lambda: FabricClient("127.0.0.1:1").status(), "the control plane does not answer"),
    "iperf": (lambda: iperf.IperfSpec(seconds=0.5), "iperf3 measures whole seconds"),  # type: ignore[arg-type]
    "congestion": (lambda: iperf.IperfSpec(streams=0), "one iperf3 cannot have 0 streams"),
}


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_clear_error(case: str) -> None:
    call, message = CASES[case]
    with pytest.raises(HoverboardError) as caught:
        call()
    error = caught.value
    assert message in str(error)
    assert error.next_step or "\n  -> " in str(error), "it says what to do next"
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


@pytest.mark.usefixtures("files")
def test_a_state_directory_may_be_text() -> None:
    assert Testbed("two-hosts", state_dir="/tmp/hb").directory.path == Path("/tmp/hb/two-hosts")


def test_input_errors_are_input_errors() -> None:
    with pytest.raises(InputError):
        load("nosuch.yaml")
