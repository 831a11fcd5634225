"""`dpctl`, `ports` and `wait`: which switches are asked, what is dangerous, and what is waited for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from hoverboard.contract.errors import InputError, RunError
from hoverboard.contract.generations import Dataplane
from hoverboard.contract.node_documents import Wiring
from tests.unit.topologies.mininet_verbs.wirings import WIRING
from topologies.emulation import switch_commands
from topologies.emulation.switch_commands import SwitchPort
from topologies.mininet_verbs import switches

EXTERNAL: Wiring = {**WIRING, "nodes": [{**WIRING["nodes"][5], "controller": "tcp:127.0.0.1:6653"}]}


def test_dpctl_asks_each_switch_and_heads_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(directory: Path, words: Sequence[str], *, where: str) -> str:
        return f"{directory} {where} {' '.join(words)}\n"

    monkeypatch.setattr(switch_commands, "dpctl", answer)
    written: list[str] = []
    switches.dpctl(WIRING, ["dump-flows", "table=0"], written.append)
    assert written == [
        f"*** {name} {'-' * 72}\n/run/r/{name} {name} dump-flows table=0\n" for name in ("h1", "h2", "hv1")
    ]


@pytest.mark.parametrize("command", ["add-flow", "del-flows", "mod-port", "replace-flows", "packet-out", "bundle"])
def test_a_command_that_changes_switches_of_our_control_plane_is_warned_about(command: str) -> None:
    assert switches.warning(WIRING, [command]) == switches.WARNING
    assert switches.warning(EXTERNAL, [command]) == ""


@pytest.mark.parametrize("command", ["dump-flows", "show", "dump-ports"])
def test_a_command_that_only_looks_is_not(command: str) -> None:
    assert switches.warning(WIRING, [command]) == ""


def on(*generations: Dataplane) -> Wiring:
    """The wiring with h1, h2 and hv1 on these generations."""
    nodes = [one for one in WIRING["nodes"] if "directory" in one]
    return {**WIRING, "nodes": [{**node, "dataplane": one} for node, one in zip(nodes, generations, strict=True)]}


def test_it_is_noted_where_the_counts_of_flows_count_no_packet() -> None:
    note = switches.uncounted(on("fastpath", "pre", "fastpath"), ["dump-flows", "table=0"])
    assert note.startswith("n_packets stays 0 on h1, hv1 (fastpath); h2 (pre): ")
    assert switches.uncounted(on("ovs", "fastpath-vmm", "ovs"), ["dump-aggregate"]).count("h2 (fastpath-vmm)") == 1
    assert switches.uncounted(on("ovs", "ovs-offload", "ovs"), ["dump-flows"]) == ""


@pytest.mark.parametrize("words", [[], ["show"], ["dump-ports"], ["dump-flows", "--no-stats"]])
def test_a_command_that_shows_no_counts_of_flows_has_no_note(words: list[str]) -> None:
    assert switches.uncounted(on("fastpath", "fastpath", "fastpath"), words) == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "needs a command"),
        (("-O", "x"), "needs a command"),
        (("monitor",), "does not end"),
        (("snoop",), "does not end"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        switch_commands.dpctl(Path("/run/r/h1"), words, where="h1")


def test_ports_show_number_and_vm(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [SwitchPort("gnv", 1, ""), SwitchPort("vp100", 100, "blue-1")]
    monkeypatch.setattr(switch_commands, "ports", lambda directory, where: found)
    assert list(switches.port_lines(EXTERNAL)) == ["h1 gnv:1 vp100:100(blue-1)"]


def test_ports_of_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "vp101,101,vm=blue-3\nvp100,100,vm=blue-1 of=x\nbr-int,65534,\nbroken,,\n"
    monkeypatch.setattr(switch_commands, "_output", lambda argv, where: text)
    assert switch_commands.ports(Path("/run/r/h1"), where="h1") == [
        SwitchPort("broken", -1, ""), SwitchPort("vp100", 100, "blue-1"), SwitchPort("vp101", 101, "blue-3"),
        SwitchPort("br-int", 65534, ""),
    ]  # fmt: skip


def test_wait_ends_when_all_switches_are_connected_and_programmed() -> None:
    answers = [
        {}, {"h1": {"connected": True, "programmed": False}}, {"h1": {"connected": True, "programmed": True}}
    ]  # fmt: skip
    assert switches.wait_connected(lambda: {"control": {"switches": answers.pop(0)}}) == 1  # type: ignore[arg-type,return-value,typeddict-item]
    assert answers == []


def test_wait_names_the_switches_that_are_not() -> None:
    status = {"control": {"switches": {"h1": {"connected": False, "programmed": False}}}}
    with pytest.raises(RunError, match="switches without their program: h1"):
        switches.wait_connected(lambda: status, timeout=0.0)  # type: ignore[arg-type,return-value]
