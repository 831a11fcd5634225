"""The command line without a run: help, bad input, choosing a run, errors with a next step and their exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console import guard, runs
from console.cli import app
from console.show import tables
from console.verbs import up
from console.verbs.exec import split_command
from console.verbs.options import resolve_model
from hoverboard.contract.errors import InputError, MachineError, RunError
from hoverboard.contract.models import choices
from topologies.client import orphans
from topologies.client.orphans import Ended, Orphan

runner = CliRunner()


@pytest.fixture
def nothing_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOVERBOARD_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_help_names_every_verb() -> None:
    shown = runner.invoke(app, ["--help"])
    assert shown.exit_code == 0
    for verb in ("demo", "up", "status", "exec", "down", "flows", "offloads", "vm", "apply", "experiment", "doctor"):
        assert f" {verb} " in shown.stdout


def test_version() -> None:
    shown = runner.invoke(app, ["--version"])
    assert shown.exit_code == 0
    assert shown.stdout.startswith("hoverboard ")


# What makes a command slow to start is what it imports: a layer below, or a library of the field.
SLOW = ("topologies", "experiments", "controllers", "numpy", "numba", "grpc", "os_ken", "mininet", "matplotlib")


@pytest.mark.parametrize("command", ["", "up", "exec", "model set", "vm", "experiment run", "capture", "apply", "demo"])
def test_help_imports_no_layer_below(command: str) -> None:
    slow = {*SLOW, *(() if command else ("pydantic",))}  # Typer reads options of a verb with pydantic
    code = (
        f"import sys; sys.argv = ['hoverboard', *{command.split()}, '--help']\n"
        "from console.cli import main\n"
        "try: main()\n"
        "except SystemExit as ended: assert ended.code == 0\n"
        f"sys.exit(', '.join({slow} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("nothing_up")
@pytest.mark.parametrize("command", [["up", "two-hosts", "--check", "--model"], ["model", "set"]])
def test_a_model_that_cannot_be_is_refused_by_its_name(command: list[str]) -> None:
    refused = runner.invoke(app, [*command, "star"], env={"COLUMNS": "200"})
    assert refused.exit_code == 2
    assert f"'star' is not one of {choices()}" in refused.stderr


def test_a_models_file_has_a_name_that_holds_in_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_model("gateway") == "gateway"
    assert resolve_model(None) is None
    assert resolve_model("star.py:Star") == f"{tmp_path}/star.py:Star"
    assert resolve_model("/a/b.py") == "/a/b.py"


@pytest.mark.usefixtures("nothing_up")
@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--partitions", "2"], "--partitions: a control plane in one process has no partitions"),
        (["--control-plane", "processes", "--replicas", "0"], "--replicas: 0 replicas"),
        (["--control-plane", "processes", "--front-ends", "99"], "--front-ends: 99 front-ends"),
    ],
)
def test_a_control_plane_that_cannot_be_is_refused_before_anything_starts(options: list[str], what: str) -> None:
    refused = runner.invoke(app, ["up", "two-hosts", "--detach", *options])
    assert refused.exit_code == 2
    assert what in refused.stderr


def test_help_of_up_names_the_roles() -> None:
    shown = runner.invoke(app, ["up", "--help"], env={"COLUMNS": "200"})
    for option in ("--control-plane", "--partitions", "--replicas", "--front-ends", "--store"):
        assert option in shown.stdout
    assert shown.stdout.count("processes`.") == 4


def test_the_processes_of_a_control_plane_as_a_table() -> None:
    document = {
        "partitions": 1, "store": "embedded",
        "processes": [
            {"name": "fabric-manager", "pid": 7, "restarts": 0, "state": "up"},
            {"name": "vm-controller-0-0", "pid": 8, "restarts": 2, "state": "up"},
        ],
        "controllers": [{"pid": 8, "master": True, "term": 3, "switches": 5}],
    }  # fmt: skip
    made = tables.control(document)
    assert made.title == "processes of the control plane: 1 partition, embedded store"
    assert [list(column.cells) for column in made.columns] == [
        ["fabric-manager", "vm-controller-0-0"], ["7", "8"], ["up", "up"], ["0", "2"],
        ["", "master"], ["-", "3"], ["-", "5"],
    ]  # fmt: skip


def test_check_of_a_shipped_topology() -> None:
    shown = runner.invoke(app, ["up", "--check", "demo", "--json"])
    assert shown.exit_code == 0
    assert json.loads(shown.stdout) == {
        "ok": True, "name": "demo", "model": "hoverboard", "hosts": 3, "hoverboards": 1, "networks": 2, "vms": 6,
        "warnings": [],
    }  # fmt: skip


def test_check_counts_one_thing_in_the_singular() -> None:
    shown = runner.invoke(app, ["up", "--check", "two-hosts"])
    assert shown.stdout == "two-hosts: fine: 2 hosts, 1 Hoverboard, 1 network, 4 VMs, model hoverboard\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "nope.py:X"), "nope.py"),
        (("--offload-policy", "nope.py:X"), "nope.py"),
        (("--partitions", "2"), "--control-plane processes"),
    ],
)
def test_check_looks_at_the_other_options_too(options: tuple[str, ...], message: str) -> None:
    shown = runner.invoke(app, ["up", "two-hosts", "--check", *options])
    assert (shown.exit_code, message in shown.stderr) == (2, True), shown.stderr


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        ("two-regions", ("--control-plane", "processes"), "with regions, each control plane is one process"),
        ("two-regions", ("--model", "on-demand"), "model on-demand does not work with `wan`"),
        ("two-hosts", ("--run", "bad name/../x"), "is not a name for a run"),
        ("two-hosts", ("--run", "a" * 41), "is not a name for a run"),
    ],
)
def test_check_fails_where_up_does(file: str, options: tuple[str, ...], message: str) -> None:
    shown = runner.invoke(app, ["up", file, "--check", *options])
    assert (shown.exit_code, message in shown.stderr, shown.stdout) == (2, True, ""), shown.stderr


def test_check_fails_where_the_sockets_of_the_run_have_too_long_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOVERBOARD_STATE_DIR", "/" + "s" * 100)
    shown = runner.invoke(app, ["up", "two-hosts", "--check"])
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "longer than a Unix socket's path may be" in shown.stderr


def test_check_prints_the_notes_of_the_topology_like_up(tmp_path: Path) -> None:
    file = tmp_path / "external.yaml"
    file.write_text(
        "hosts:\n  - {name: h1, dataplane: fastpath, program: external, controller: 'tcp:127.0.0.1:6653'}\n"
        "networks:\n  - {name: blue, vni: 100, subnet: 10.0.0.0/24, vms: 1}\n"
    )
    shown = runner.invoke(app, ["up", str(file), "--check", "--json"])
    assert shown.exit_code == 0, shown.stderr
    assert json.loads(shown.stdout)["ok"]
    assert shown.stderr.startswith("note: host h1 is programmed by tcp:127.0.0.1:6653")


def test_check_shows_the_model_that_an_option_sets() -> None:
    shown = runner.invoke(app, ["up", "two-hosts", "--check", "--model", "gateway", "--json"])
    assert json.loads(shown.stdout)["model"] == "gateway"


def test_check_names_file_line_key_and_what_to_do(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("hosts: 2\nhoverbords: 1\n")
    shown = runner.invoke(app, ["up", "--check", str(bad)])
    assert shown.exit_code == 2
    assert f"{bad}:2: hoverbords: unknown key" in shown.stderr
    assert "did you mean `hoverboards`" in shown.stderr
    assert shown.stdout == ""


@pytest.mark.usefixtures("nothing_up")
@pytest.mark.parametrize(
    "line", ["status", "offloads --json", "flows h1", "exec blue-1 -- true", "vm list", "vm remove x", "down"]
)
def test_without_a_run(line: str) -> None:
    shown = runner.invoke(app, line.split())
    assert shown.exit_code == RunError.exit_code
    assert "no run is up\n  -> start one with: hoverboard up" in shown.stderr


@pytest.mark.usefixtures("nothing_up")
def test_down_of_an_unknown_run() -> None:
    shown = runner.invoke(app, ["down", "--run", "nosuch"])
    assert shown.exit_code == RunError.exit_code
    assert "nosuch" in shown.stderr


@pytest.mark.usefixtures("nothing_up")
def test_down_all_of_nothing() -> None:
    shown = runner.invoke(app, ["down", "--all", "--json"])
    assert shown.exit_code == 0
    assert json.loads(shown.stdout) == {"down": []}


@pytest.fixture
def orphaned(monkeypatch: pytest.MonkeyPatch, nothing_up: None) -> list[Orphan]:
    """Two runs that are orphaned; those that are ended go. The second's holder goes on."""
    found = [Orphan("dead", Path("/run/dead"), False, 3), Orphan("lost", Path("/run/lost"), True, 1)]

    def end(one: Orphan) -> Ended:
        found.remove(one)
        return Ended(one.run, 77 if one.lost else None)

    monkeypatch.setattr(orphans, "find", lambda **_: list(found))
    monkeypatch.setattr(orphans, "end", end)
    return found


@pytest.mark.usefixtures("orphaned")
@pytest.mark.parametrize("line", ["status", "vm list", "exec h1 -- true", "down", "down --run none", "up nosuch"])
def test_a_verb_that_looks_at_runs_names_orphans_and_how_to_end_them(line: str) -> None:
    shown = runner.invoke(app, line.split())
    assert shown.stderr.startswith(
        "hoverboard: orphaned: dead (its holder died, 3 processes), lost (has lost its directory, 1 process); "
        "end with: hoverboard down --orphans\n"
    )
    assert shown.exit_code != 0


def test_orphans_are_ended_and_a_holder_that_goes_on_is_named(orphaned: list[Orphan]) -> None:
    shown = runner.invoke(app, ["down", "--orphans"])
    assert (shown.exit_code, shown.stdout, orphaned) == (0, "down: dead, lost\n", [])
    assert shown.stderr == "hoverboard: pid 77, which held lost, also does other work and keeps running\n"
    assert runner.invoke(app, ["down", "--orphans"]).stdout == "there are no orphans\n"
    assert json.loads(runner.invoke(app, ["down", "--orphans", "--json"]).stdout) == {"down": []}


def test_orphans_of_one_name_are_ended_alone(orphaned: list[Orphan]) -> None:
    shown = runner.invoke(app, ["down", "--orphans", "--run", "dead", "--json"])
    assert (json.loads(shown.stdout), [one.run for one in orphaned]) == ({"down": ["dead"]}, ["lost"])


@pytest.mark.parametrize("other", ["--run=x", "--orphans"])
def test_down_all_stands_alone(other: str, nothing_up: None) -> None:
    shown = runner.invoke(app, ["down", "--all", other])
    assert shown.exit_code == InputError.exit_code
    assert f"{other.partition('=')[0]} and --all exclude each other" in shown.stderr


@pytest.mark.parametrize("line", ["status", "exec h1 -- true", "down", "vm add blue"])
def test_an_ordinary_user_without_a_run_hears_so(
    line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nothing_up: None
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOVERBOARD_STATE_DIR", str(tmp_path / "none"))
    shown = runner.invoke(app, line.split())
    assert shown.exit_code == RunError.exit_code
    assert "no run is up" in shown.stderr


@pytest.mark.parametrize("line", ["up", "demo", "experiment run latency", "python /dev/null"])
def test_an_ordinary_users_run_begins_in_namespaces(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[dict[str, bool]] = []

    def enter(**how: bool) -> None:
        entered.append(how)
        raise MachineError("entered")

    monkeypatch.setattr("console.rootless.enter_new", enter)
    monkeypatch.setattr("console.runs.mention_orphans", lambda: None)
    shown = runner.invoke(app, line.split())
    assert shown.exit_code == MachineError.exit_code
    assert entered == [{"stay": True, "linger": False} if line == "up" else {}]


def test_several_runs_are_listed() -> None:
    assert runs.choose("a", []) == "a"
    assert runs.choose(None, ["a"]) == "a"
    with pytest.raises(RunError, match="2 runs are up: a, b") as caught:
        runs.choose(None, ["a", "b"])
    assert "--run NAME" in caught.value.next_step


@pytest.mark.parametrize(
    ("words", "run", "user", "argv"),
    [
        ("-- ping -c 1", None, None, "ping -c 1"),
        ("ls -l", None, None, "ls -l"),
        ("--run a -- ls -- x", "a", None, "ls -- x"),
        ("--run=a -- ls", "a", None, "ls"),
        ("--as student -- id", None, "student", "id"),
        ("--as=student --run a -- id", "a", "student", "id"),
        ("--run a --as student -- id --as x", "a", "student", "id --as x"),
        ("sh -c x -- y", None, None, "sh -c x -- y"),
        ("--as -- id", None, None, "--as -- id"),
    ],
)
def test_command_of_exec(words: str, run: str | None, user: str | None, argv: str) -> None:
    assert split_command(words.split()) == (run, user, argv.split())


def test_exec_needs_a_command() -> None:
    for words in (["--"], ["--as", "student", "--"], []):
        with pytest.raises(InputError, match="no command"):
            split_command(words)


def test_internal_errors_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(run: str | None) -> str:
        raise ValueError("boom")

    monkeypatch.setattr(runs, "live", fail)
    shown = runner.invoke(app, ["status"])
    assert shown.exit_code == 70
    assert "internal error: ValueError: boom" in shown.stderr
    assert "HOVERBOARD_DEBUG=1" in shown.stderr
    monkeypatch.setenv("HOVERBOARD_DEBUG", "1")
    assert guard.debugging()
    assert isinstance(runner.invoke(app, ["status"]).exception, ValueError)


def test_json_needs_detach() -> None:
    shown = runner.invoke(app, ["up", "demo", "--json"])
    assert shown.exit_code == InputError.exit_code
    assert "--detach" in shown.stderr


class ClosedTerminal:
    """Standard error after SIGHUP."""

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")

    def flush(self) -> None:
        raise OSError(5, "Input/output error")


def test_a_foreground_run_goes_down_although_its_terminal_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Run:
        run, state, downs = "r", "down", 0

        def __init__(self, *_: object, **__: object) -> None: ...

        def up(self, _progress: object) -> None:
            type(self).state = "up"

        def down(self) -> None:
            type(self).downs += 1

    monkeypatch.setattr("topologies.run.testbed.Testbed", Run)
    monkeypatch.setattr(sys, "stderr", ClosedTerminal())
    with pytest.raises(OSError, match="Input/output"):
        up.foreground("demo", None, lambda words, **_: None)
    assert Run.downs == 1
