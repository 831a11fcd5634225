"""The command that enters a node, and what is refused before anything of the machine could change."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from hoverboard.contract.errors import MachineError
from tests.waiting import until
from topologies.namespaces import entering

_NO_PID = (1 << 22) + 1  # above the highest pid there can be


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, the only one on the PATH, with the programs that enter namespaces."""
    for name in ("mnexec", "nsenter"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_a_command_enters_all_namespaces_of_a_node(tools: Path) -> None:
    assert entering.entering(7) == ["nsenter", "--target", "7", "--uts", "mnexec", "-a", "7"]
    assert entering.entering(7, detached=True)[-2:] == ["-da", "7"]
    assert entering.entering(7)[:4] == entering.entering_uts(7)


def test_a_command_in_a_node_has_the_mark_of_its_run(tools: Path) -> None:
    sleep = shutil.which("sleep", path=os.defpath) or "/bin/sleep"
    for environment, words in (({"HOVERBOARD_MARK": "m:1:2:/d"}, ["env", "HOVERBOARD_MARK=m:1:2:/d"]),
                               ({"HOVERBOARD_MARK": ""}, []), ({"OTHER": "1"}, [])):  # fmt: skip
        with subprocess.Popen([sleep, "60"], env=environment) as child:
            environ = Path(f"/proc/{child.pid}/environ")
            until(lambda environ=environ: environ.read_bytes())  # type: ignore[misc]
            assert entering.marking(child.pid) == words
            assert entering.entering(child.pid)[4:] == [*words, "mnexec", "-a", str(child.pid)]
            child.kill()
    assert entering.marking(_NO_PID) == []


@pytest.mark.parametrize(("tool", "package"), [("mnexec", "mininet"), ("nsenter", "util-linux")])
def test_a_missing_tool_is_told_with_its_package(tools: Path, tool: str, package: str) -> None:
    (tools / tool).unlink()
    with pytest.raises(MachineError, match=f"{tool} is not installed") as caught:
        entering.entering(7)
    assert caught.value.next_step == f"apt-get install {package}"


def test_nothing_is_mounted_in_our_own_mount_namespace(tmp_path: Path) -> None:
    target, source = tmp_path / "target", tmp_path / "source"
    target.write_text("the machine's")
    source.write_text("a node's")
    with pytest.raises(MachineError, match="no mount namespace of its own"):
        entering.bind_files(os.getpid(), {target: source})
    assert target.read_text() == "the machine's"


def test_nothing_is_mounted_for_a_process_that_has_ended(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="has ended"):
        entering.bind_files(_NO_PID, {tmp_path: tmp_path})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may make a namespace for a host name")
def test_the_machine_keeps_its_host_name_when_there_is_no_namespace() -> None:
    before = socket.gethostname()
    with pytest.raises(MachineError, match="namespace for the host name"), entering.host_name("other"):
        pass
    assert socket.gethostname() == before
