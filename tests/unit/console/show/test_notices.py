"""What people see of a topology that names nobody, of a control plane that died, and of a policy that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from console.cli import app
from console.show import tables
from console.show.notices import count_warnings, show_warnings
from console.show.offload import offload_lines, policy_lines
from console.verbs import apply
from hoverboard.contract.document_schemas import check

FILE = """
hosts: 2
networks: [{name: blue, vni: 7, subnet: 10.0.0.0/24, vms: 2, firewall: {rules: [
  {name: r, direction: ingress, action: deny, targets: [blue-1, nobody]}]}}]
"""
WARNED: Any = {"where": "FirewallRule/r.targets", "what": "no VM of 'blue' has the tag 'x'", "next_step": "give it"}
PLAN: Any = {
    "run": "r", "applied": False, "warnings": [WARNED], "version": 1, "added": [], "changed": [], "removed": [],
    "switches": {}, "vms": {"build": [], "remove": [], "alter": []},
    "offload": {"threshold": {"from": 20_000, "to": 1_000_000}, "policy": {"from": None, "to": "/m.py:Mine"}},
    "links": {}, "seconds": 0.0,
}  # fmt: skip
POLICY: Any = {
    "policy": None, "threshold_bps": 20_000.0, "keep_bps": 0.0, "min_lifetime_s": 2.0, "idle_expiry_s": 30.0,
    "budget": 0, "reports": "hosts", "errors": 0, "last_error": None,
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "f.yaml"
    made.write_text(FILE)
    return made


def cells(made: Any) -> list[list[str]]:
    return [list(column.cells) for column in made.columns]


def test_check_does_not_call_a_rule_fine_that_names_nobody(file: Path) -> None:
    shown = CliRunner().invoke(app, ["up", str(file), "--check"])
    assert shown.exit_code == 0
    assert shown.stdout == f"{file}: 2 warnings, see above: 2 hosts, 1 Hoverboard, 1 network, 2 VMs, model hoverboard\n"
    first, step, second, _ = shown.stderr.splitlines()
    where = f"warning: {file}:4: networks[0].firewall.rules[0].targets: no VM of 'blue' has the tag"
    assert first == f"{where} 'blue-1', and the rule matches no packet"
    assert step == "  -> no VM of 'blue' has tags; did you mean the VM blue-1? give it `tags: [blue-1]`"
    assert second == f"{where} 'nobody', and the rule matches no packet"


def test_the_document_of_a_check_has_the_warnings(file: Path) -> None:
    shown = CliRunner().invoke(app, ["up", str(file), "--check", "--json"])
    found = json.loads(shown.stdout)
    check("up-check", found)
    assert [one["where"].partition(": ")[2] for one in found["warnings"]] == [
        "networks[0].firewall.rules[0].targets"
    ] * 2
    assert "warning: " in shown.stderr


def test_apply_shows_warnings_and_the_offload_policy(capsys: pytest.CaptureFixture[str]) -> None:
    check("apply", PLAN)
    apply.show(PLAN, dry_run=True)
    shown = capsys.readouterr()
    assert shown.err == "warning: FirewallRule/r.targets: no VM of 'blue' has the tag 'x'\n  -> give it\n"
    assert shown.out.splitlines() == [
        "~ offload threshold: 20kbit -> 1mbit", "~ offload policy: built-in -> /m.py:Mine",
        "dry run: nothing was changed in run 'r'",
    ]  # fmt: skip


def test_no_warning_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_warnings([])
    assert capsys.readouterr().err == ""
    assert [count_warnings(number) for number in (1, 2)] == ["1 warning, see above", "2 warnings, see above"]


def test_a_policy_is_shown_with_its_settings_and_its_last_error() -> None:
    check("offload-show", POLICY)
    assert list(policy_lines(POLICY)) == [
        "offload policy built-in", "  threshold: 20kbit", "  keep: 0bit", "  min_lifetime: 2 s",
        "  idle_expiry: 30 s", "  budget: no limit", "  reports: hosts",
    ]  # fmt: skip
    wrong = {
        **POLICY,
        "policy": "/m.py:Mine",
        "budget": 3,
        "errors": 4,
        "last_error": "/m.py:7: Mine.decide() raised X",
    }
    lines = list(policy_lines(wrong))
    assert (lines[0], lines[5]) == ("offload policy /m.py:Mine", "  budget: 3")
    assert lines[-1] == "  errors: 4, last: /m.py:7: Mine.decide() raised X"
    assert list(offload_lines({"keep": {"from": 0, "to": 5}, "idle_expiry": {"from": 30.0, "to": 0.5}})) == [
        "~ offload keep: 0bit -> 5bit", "~ offload idle_expiry: 30 s -> 0.5 s",
    ]  # fmt: skip


def test_status_shows_the_control_plane_its_restarts_and_the_errors_of_the_policy() -> None:
    up: Any = {"state": "up", "pid": 7, "restarts": 2, "offload_policy": POLICY}
    assert cells(tables.control_plane(up)) == [
        ["state", "pid", "restarts", "offload threshold", "offload policy"],
        ["up", "7", "2", "20.00 kbit/s", "built-in"],
    ]  # fmt: skip
    wrong = {**up, "offload_policy": {**POLICY, "policy": "/m.py:Mine", "errors": 4, "last_error": "/m.py:7: no"}}
    assert cells(tables.control_plane(wrong))[1][-3:] == ["/m.py:Mine", "4", "/m.py:7: no"]


def test_status_shows_a_control_plane_that_is_away() -> None:
    away: Any = {
        "state": "unreachable",
        "pid": 7,
        "restarts": 2,
        "error": "control.sock: it is down\n  -> read its log",
    }
    assert cells(tables.control_plane(away)) == [
        ["state", "", "pid", "restarts"], ["unreachable", "control.sock: it is down", "7", "2"],
    ]  # fmt: skip
    assert cells(tables.control_plane({"state": "starting"})) == [["state"], ["starting"]]


def test_status_shows_when_and_why_a_process_died() -> None:
    row: Any = {"what": "control plane", "server": None, "state": "up", "restarts": 1, "last": "restarted at 12:00:01"}
    document: Any = {"watched": 3, "restarts": 2, "down": 0, "processes": [
        {**row, "died_at": "12:00:00", "why": "SIGKILL"}, {**row, "died_at": "12:00:00", "why": None}]}  # fmt: skip
    assert cells(tables.supervision(document))[-1] == ["12:00:00: SIGKILL", "12:00:00: reason unknown"]


def test_vms_are_listed_with_their_tags_and_limits() -> None:
    vm: Any = {"name": "a", "network": "blue", "ip": "10.0.0.2", "host": "h1", "tags": ["web", "db"], "rate_bps": 5e6}
    rows: Any = [vm, {**vm, "tags": [], "rate_bps": None}]
    assert cells(tables.vms(rows))[-2:] == [["5.00 Mbit/s", "-"], ["web, db", ""]]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["up", "two-hosts", "--check", "--offload-threshold", "fast"], "threshold: 'fast' is not a rate"),
        (["up", "two-hosts", "--check", "--offload-policy", "absent.py:Mine"], "there is no Python file 'absent.py'"),
    ],
)
def test_options_of_up_for_the_offload_policy_are_checked(words: list[str], what: str) -> None:
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 2
    assert what in refused.stderr


def test_a_policy_without_decide_is_refused_by_the_check(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from controllers import OffloadPolicy\nclass Mine(OffloadPolicy): pass\n")
    (tmp_path / "f.yaml").write_text("hosts: 1\noffload_policy: mine.py:Mine\n")
    from topologies.spec import schema
    from topologies.spec.faults import TopologyFileError

    with pytest.raises(TopologyFileError, match="offload_policy: class 'Mine' has no method decide"):
        schema.load(tmp_path / "f.yaml")
