"""The command line against real runs: every verb, JSON shapes, pass-through of exec, races, clean ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hoverboard.contract.document_schemas import check
from topologies.client import run_client
from topologies.processes.deadlines import wait_for
from topologies.processes.run_directory import run_names

_UP_SECONDS = 150.0
_SECONDS = 60.0
COMMAND = [sys.executable, "-P", "-m", "console.cli"]


def hoverboard(*words: str, stdin: str = "", timeout: float = _SECONDS) -> subprocess.CompletedProcess[str]:
    """The command, as a person calls it."""
    return subprocess.run([*COMMAND, *words], input=stdin, capture_output=True, text=True, timeout=timeout, check=False)


def as_json(*words: str) -> Any:
    """The document a verb prints with --json, which is as its schema says."""
    done = hoverboard(*words, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    of_a_node = words[0] == "status" and len(words) > 1 and not words[1].startswith("-")
    check("status-node" if of_a_node else "-".join(words[:2]) if words[0] in ("vm", "offload") else words[0], document)
    return document


@pytest.fixture
def run(state: Path, run_name: str) -> str:
    """A detached run of two hosts; `state` takes it down."""
    done = hoverboard("up", "two-hosts", "--run", run_name, "--detach", timeout=_UP_SECONDS)
    assert done.returncode == 0, done.stderr
    assert "up in" in done.stderr, "the seconds of each phase are shown"
    return run_name


def test_verbs_of_a_run(run: str) -> None:
    """One run for all of these: bringing it up is what costs."""
    _status(run)
    _exec(run)
    _vm(run)
    _flows_and_offloads(run)
    _offload(run)
    _second_up(run)
    done = hoverboard("down", "--json")
    assert json.loads(done.stdout) == {"down": [run]}
    assert run_names() == []
    assert hoverboard("status").returncode == 3


def _status(run: str) -> None:
    status = as_json("status")
    assert (status["run"], status["model"]) == (run, "hoverboard")
    assert all({"name", "dataplane", "datapath_type", "vms"} <= set(host) for host in status["hosts"])
    assert status["hosts"][0]["name"] == "h1"
    assert status["hosts"][0]["vms"] == ["blue-1", "blue-3"]
    assert status["hoverboards"][0]["name"] == "hv1"
    network = status["networks"][0]
    assert (network["name"], network["vni"], network["subnet"]) == ("blue", 7, "10.0.0.0/24")
    assert network["vms"][0] == {"name": "blue-1", "ip": "10.0.0.2", "host": "h1", "tags": [], "rate_bps": None}
    assert isinstance(status["counters"], dict)
    node = as_json("status", "h1")
    assert isinstance(node["counters"]["drops"], dict)
    for words in (["status"], ["status", "h1"], ["status", "blue-1"]):
        assert hoverboard(*words).returncode == 0


def _exec(run: str) -> None:
    done = hoverboard("exec", "blue-1", "--", "ping", "-c", "2", "-i", "0.1", "10.0.0.3")
    assert done.returncode == 0, done.stdout + done.stderr
    script = "cat; echo told >&2; exit 7"
    done = hoverboard("exec", "--run", run, "blue-1", "--", "sh", "-c", script, stdin="heard")
    assert (done.returncode, done.stdout, done.stderr) == (7, "heard", "told\n")
    done = hoverboard("exec", "blue-1", "--run", run, "--", "cat", "/proc/net/dev")
    assert "eth0" in done.stdout
    unknown = hoverboard("exec", "nosuch", "--", "true")
    assert unknown.returncode == 2
    assert "there is no node 'nosuch'" in unknown.stderr
    assert "blue-1" in unknown.stderr
    missing = hoverboard("exec", "blue-1", "--", "no-such-command")
    assert missing.returncode != 0
    assert "no-such-command" in missing.stderr


def _vm(run: str) -> None:
    values = ["--ip", "10.0.0.77", "--tags", "web,db", "--tags", "late", "--rate", "50mbit"]
    added = as_json("vm", "add", "blue", "late", "--host", "h2", *values)
    assert (added["host"], added["ip"]) == ("h2", "10.0.0.77")
    assert hoverboard("exec", "blue-1", "--", "ping", "-c", "2", "-i", "0.1", added["ip"]).returncode == 0
    listed = {vm["name"]: vm for vm in as_json("vm", "list")}
    tags = ["web", "db", "late"]
    assert listed["late"] == {
        "name": "late", "network": "blue", "ip": added["ip"], "host": "h2", "tags": tags, "rate_bps": 50_000_000,
    }  # fmt: skip
    assert as_json("vm", "remove", "late") == {"removed": "late", "warnings": []}
    taken = hoverboard("vm", "add", "blue", "--ip", "10.0.0.2")
    assert (taken.returncode, "10.0.0.2 is the address of VM 'blue-1'" in taken.stderr) == (2, True)
    assert hoverboard("vm", "remove", "late").returncode == 2
    assert hoverboard("vm", "add", "nosuch").returncode == 2


def _flows_and_offloads(run: str) -> None:
    # 500 bytes each 5 ms is 40 times the threshold.
    ping = ["ping", "-q", "-c", "600", "-i", "0.005", "-s", "500", "10.0.0.3"]
    with subprocess.Popen([*COMMAND, "exec", "blue-1", "--", *ping], stdout=subprocess.DEVNULL) as busy:
        seen: list[dict[str, Any]] = []

        def offloaded() -> bool:
            seen[:] = [entry for entry in as_json("offloads") if entry["src"] in ("blue-1", "10.0.0.2")]
            return bool(seen)

        wait_for(offloaded, 20, lambda: "the busy pair is not offloaded")
        busy.terminate()
    assert set(seen[0]) >= {"network", "src", "dst", "src_host", "dst_host", "since", "rate_bps"}
    assert (seen[0]["network"], seen[0]["src_host"], seen[0]["dst_host"]) == ("blue", "h1", "h2")
    flows = as_json("flows", "h1")
    assert flows["node"] == "h1"
    assert any("tun_dst" in line for line in flows["openflow"])
    assert any(entry["dst"] == "10.0.0.3" for entry in flows["entries"])
    for words in (["flows", "h1"], ["offloads"], ["vm", "list"]):
        assert hoverboard(*words).returncode == 0
    assert hoverboard("flows", "blue-1").returncode == 2


def _offload(run: str) -> None:
    done = as_json("offload", "set", "--threshold", "1mbit", "--budget", "3")
    assert done["changed"] == {"threshold": {"from": 20_000, "to": 1_000_000}, "budget": {"from": 0, "to": 3}}
    shown = as_json("offload", "show")
    assert (shown["threshold_bps"], shown["budget"], shown["policy"]) == (1_000_000, 3, None)
    assert "threshold: 1mbit" in hoverboard("offload", "show").stdout
    assert hoverboard("offload", "set").returncode == 2
    assert hoverboard("offload", "set", "--keep", "1mbit").returncode == 2
    again = hoverboard("offload", "set", "--threshold", "20kbit")
    assert again.stdout.startswith("~ offload threshold: 1mbit -> 20kbit\n")


def _second_up(run: str) -> None:
    again = hoverboard("up", "two-hosts", "--run", run, "--detach")
    assert again.returncode == 3
    assert "already up" in again.stderr
    assert as_json("status")["run"] == run, "the refused start must not harm the run"


def test_a_run_by_cron(state: Path, run_name: str) -> None:
    """With cron's PATH, which leads to no sbin directory, all verbs work, and so do programs in the nodes."""
    root = str(Path(__file__).resolve().parents[3])
    kept = [f"PYTHONPATH={root}", f"HOVERBOARD_STATE_DIR={state}", *_numba_cache()]

    def by_cron(*words: str) -> str:
        command = ["env", "-i", "PATH=/usr/bin:/bin", *kept, sys.executable, "-P", "-m", "console.cli", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_UP_SECONDS, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    by_cron("up", "two-hosts", "--run", run_name, "--dataplane", "ovs", "--detach")
    assert run_name in by_cron("status")
    assert "1 received" in by_cron("exec", "blue-1", "--", "ping", "-c1", "-W2", "10.0.0.3")
    assert "br-int" in by_cron("exec", "h1", "--", "ovs-vsctl", "list-br")
    assert "tcp-segmentation-offload" in by_cron("exec", "blue-1", "--", "ethtool", "-k", "eth0")
    by_cron("vm", "add", "blue", "late")
    by_cron("down")


def _numba_cache() -> list[str]:
    """The compiled code of the tests, if they have it in a place of their own."""
    return [f"{name}={os.environ[name]}" for name in ("NUMBA_CACHE_DIR",) if name in os.environ]


def test_bad_file_starts_nothing(state: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("hosts: 1\nnetworks:\n  - {name: a, vni: 1, subnet: 10.0.0.0/24, vms: [{host: h9}]}\n")
    for words in (["--detach"], []):
        done = hoverboard("up", str(bad), *words)
        assert done.returncode == 2
        assert f"{bad}:3: networks[0].vms[0].host" in done.stderr
    assert run_names() == []


def test_two_runs_side_by_side_need_a_name(state: Path, new_run: Callable[[], str]) -> None:
    names = sorted((new_run(), new_run()))
    for name in names:
        assert hoverboard("up", "two-hosts", "--run", name, "--detach", timeout=_UP_SECONDS).returncode == 0
    unclear = hoverboard("status")
    assert unclear.returncode == 3
    assert f"2 runs are up: {names[0]}, {names[1]}" in unclear.stderr
    assert as_json("status", "--run", names[1])["run"] == names[1]
    done = hoverboard("exec", "blue-1", "--run", names[0], "--", "ping", "-c", "2", "-i", "0.1", "10.0.0.3")
    assert done.returncode == 0
    assert hoverboard("down", "--all").returncode == 0
    assert run_names() == []


@pytest.mark.rootless
def test_script_at_the_prompt(state: Path, run_name: str) -> None:
    script = "blue-1 ping -c 2 -i 0.1 blue-2\nstatus --json\nexec blue-1 -- sh -c 'exit 5'\n"
    done = hoverboard("up", "two-hosts", "--run", run_name, stdin=script, timeout=_UP_SECONDS)
    assert done.returncode == 5, done.stderr
    assert "PING 10.0.0.3" in done.stdout
    assert f'"run": "{run_name}"' in done.stdout
    assert run_names() == []


@pytest.mark.parametrize("how", ["ctrl-d", "down", pytest.param("sigterm", marks=pytest.mark.long)])
def test_ends_of_a_foreground_run(state: Path, run_name: str, how: str) -> None:
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "up", "two-hosts", "--run", run_name],
        stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, start_new_session=True, text=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        shown = bytearray()

        def prompted() -> bool:
            shown.extend(_read(terminal))  # a prompt may come in pieces
            return f"hoverboard({run_name})> ".encode() in shown

        wait_for(prompted, _UP_SECONDS, lambda: f"no prompt but {bytes(shown)!r}")
        if how == "down":
            assert hoverboard("down", "--run", run_name).returncode == 0
        elif how == "ctrl-d":
            os.write(terminal, b"\x04")
        else:
            process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=_SECONDS)
        assert "Traceback" not in said
        assert run_client.live_runs() == []
        assert run_names() == []
    finally:
        process.kill()
        process.communicate()
        os.close(terminal)


def _read(terminal: int) -> bytes:
    os.set_blocking(terminal, False)
    try:
        return os.read(terminal, 65536)
    except (BlockingIOError, OSError):
        return b""
