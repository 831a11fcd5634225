"""Runs of iperf3, with a program of that name that says what it should: ports, failures, several at a time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.tools import iperf, listening_ports, tool_processes
from experiments.tools.iperf import IperfSpec
from experiments.tools.tool_processes import Node
from hoverboard.contract.errors import MeasurementError
from tests.unit.experiments.tools.no_namespace import HERE, installed

LOCAL = "127.0.0.1"
DATA = Path(__file__).parent / "data"
# A server that takes one connection; a client that makes one, and prints the document of a file. SERVER and CLIENT
# are what they do instead, if anything.
IPERF3 = """
import os, socket, sys
argv = sys.argv
client = "-c" in argv
what = os.environ.get("CLIENT" if client else "SERVER", "")
if what == "hang":
    sys.stdin.readline()
    import time
    time.sleep(60)
if what:
    print(what, file=sys.stderr)
    sys.exit(1)
port = int(argv[argv.index("-p") + 1])
if client:
    socket.create_connection((argv[argv.index("-c") + 1], port)).close()
    if "16" in argv and os.environ.get("MANY"):
        sys.exit("too many")
    print(open(os.environ["DOCUMENT"]).read())
else:
    listener = socket.create_server(("127.0.0.1", port))
    listener.accept()[0].close()
"""


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path / "bin", monkeypatch, iperf3=IPERF3)
    monkeypatch.setenv("DOCUMENT", str(DATA / "tcp-1.json"))


def test_a_measurement_is_the_document_of_its_client() -> None:
    found = iperf.measure(HERE, HERE, LOCAL, IperfSpec(seconds=1))
    assert found.retransmits == 12
    assert not iperf._reserved


def test_a_client_runs_beside_the_block_and_is_gone_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT", "hang")
    with iperf.started(HERE, HERE, LOCAL, IperfSpec()) as running:
        assert running.running()
        assert Path(f"/proc/{running.pid}").exists()
        assert len(iperf._reserved) == 1
    assert not running.running()
    assert not Path(f"/proc/{running.pid}").exists()
    assert not iperf._reserved


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("unable to connect", "here: iperf3 ended with code 1 and printed unable to connect"),
        ("x" * 300, f"iperf3 ended with code 1 and printed {'x' * 200}\n"),
    ],
)
def test_a_client_that_says_nothing_on_its_output_is_an_error(
    monkeypatch: pytest.MonkeyPatch, said: str, words: str
) -> None:
    monkeypatch.setenv("CLIENT", said)
    with pytest.raises(MeasurementError) as caught:
        iperf.measure(HERE, HERE, LOCAL, IperfSpec())
    assert words in str(caught.value)


def test_a_document_of_an_error_is_raised_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCUMENT", str(DATA / "refused.json"))
    with pytest.raises(MeasurementError, match="here: iperf3 reports: ") as caught:
        iperf.measure(HERE, HERE, LOCAL, IperfSpec())
    assert caught.value.next_step


def test_a_client_that_hangs_is_ended_after_its_time_and_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[tuple[float, str]] = []

    def finish(process: Any, timeout: float, what: str) -> tool_processes.Outcome:
        limits.append((timeout, what))
        return tool_processes.Outcome(0, (DATA / "tcp-1.json").read_text(), "")

    monkeypatch.setattr(tool_processes, "finish", finish)
    iperf.measure(HERE, HERE, LOCAL, IperfSpec(seconds=3, omit=1, grace=7))
    assert limits == [(11, "iperf3 on here")]


def test_a_server_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER", "bind failed")
    with pytest.raises(MeasurementError, match="the iperf3 server did not start: bind failed") as caught:
        iperf.measure(HERE, HERE, LOCAL, IperfSpec())
    assert caught.value.where == "here"
    assert not iperf._reserved


def test_a_server_that_does_not_listen_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER", "hang")
    monkeypatch.setattr(iperf, "_LISTEN_TIMEOUT", 0.05)
    with pytest.raises(MeasurementError, match="does not listen on port") as caught:
        iperf.measure(HERE, HERE, LOCAL, IperfSpec())
    assert (caught.value.where, caught.value.next_step) == ("here", "check the load of the machine")


class Ports:
    """Ports that are handed out; a server whose port is in `busy` finds it in use."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, busy: int) -> None:
        self.asked: list[list[str]] = []
        self.given = iter(range(5201, 5300))
        self._busy = busy
        monkeypatch.setattr(iperf, "_port", self._port)
        monkeypatch.setattr(iperf, "_listens", lambda place, server, port: len(self.asked) > self._busy)
        monkeypatch.setattr(tool_processes, "running", self._running)
        monkeypatch.setattr(
            tool_processes,
            "finish",
            lambda *_: tool_processes.Outcome(1, "", "error - unable to bind: Address already in use"),
        )

    @contextlib.contextmanager
    def _port(self, place: Any) -> Iterator[int]:
        yield next(self.given)

    @contextlib.contextmanager
    def _running(self, place: Any, argv: list[str], *, quiet: bool) -> Iterator[Any]:
        assert quiet
        self.asked.append(argv)
        yield object()


def test_a_port_that_was_taken_meanwhile_is_tried_again_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = Ports(monkeypatch, busy=2)
    with iperf._server(HERE, "-4") as port:
        assert port == 5203
    assert ports.asked == [["iperf3", "-4", "-s", "-1", "-p", str(number)] for number in (5201, 5202, 5203)]
    Ports(monkeypatch, busy=3)
    with pytest.raises(MeasurementError, match="already in use"), iperf._server(HERE, "-6"):
        pass


def test_measurements_in_one_namespace_get_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening_ports, "listening", lambda pid: {5201: 1, 5203: 2})
    monkeypatch.setattr(tool_processes, "namespace_of", lambda pid: pid // 10)
    one, same, other = Node("a", 10), Node("b", 11), Node("c", 20)
    with iperf._port(one) as first, iperf._port(same) as second, iperf._port(other) as third:
        assert (first, second, third) == (5202, 5204, 5202)
        assert iperf._reserved == {(1, 5202), (1, 5204), (2, 5202)}
    assert not iperf._reserved


def test_a_server_listens_once_its_own_socket_does_in_its_own_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((LOCAL, 0)) as listener:
        port = listener.getsockname()[1]
        server = type("Server", (), {"pid": os.getpid(), "poll": lambda self: None})()
        assert iperf._listens(HERE, server, port)
        monkeypatch.setattr(iperf, "_LISTEN_TIMEOUT", 0.01)
        monkeypatch.setattr(listening_ports, "owned", lambda pid: set())  # another process has that port
        with pytest.raises(MeasurementError):
            iperf._listens(HERE, server, port)


def test_a_server_that_ended_does_not_listen() -> None:
    server = type("Server", (), {"pid": 2**22 + 1, "poll": lambda self: 1})()
    assert not iperf._listens(HERE, server, 5201)
    # Gone between mnexec and the namespace: no answer of the tables counts.
    assert tool_processes.namespace_of(server.pid) is None


@pytest.mark.parametrize(("address", "family"), [("10.0.0.3", "-4"), ("fd00::3", "-6")])
def test_the_family_is_that_of_the_address(address: str, family: str) -> None:
    assert IperfSpec().client_arguments(address, 5201)[1] == family


def test_a_failed_sample_is_recorded_and_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    well = iperf.sample(HERE, HERE, LOCAL, IperfSpec())
    assert (well.error, well.client, well.server) == (None, "here", "here")
    assert well.record()["iperf3"] == json.loads((DATA / "tcp-1.json").read_text())
    monkeypatch.setenv("CLIENT", "no route")
    failed = iperf.sample(HERE, HERE, LOCAL, IperfSpec())
    assert failed.result is None
    assert "no route" in str(failed.error)
    assert failed.record() == {"client": "here", "server": "here", "error": failed.error, "iperf3": None}


@pytest.mark.parametrize(
    ("streams", "parts"), [(1, [1]), (128, [128]), (129, [128, 1]), (256, [128, 128]), (300, [128, 128, 44])]
)
def test_many_streams_are_shared_out_among_several_iperf3(
    monkeypatch: pytest.MonkeyPatch, streams: int, parts: list[int]
) -> None:
    up: list[int] = []

    @contextlib.contextmanager
    def started(client: Any, server: Any, address: str, spec: IperfSpec) -> Iterator[Any]:
        up.append(spec.streams)
        yield type("Running", (), {"spec": spec, "wait": lambda self: len(up)})()

    monkeypatch.setattr(iperf, "started", started)
    found = iperf.together(HERE, HERE, LOCAL, IperfSpec(seconds=3), streams)
    assert [one.spec.streams for one in found] == parts
    assert {one.spec.seconds for one in found} == {3}
    assert {one.result for one in found} == {len(parts)}  # all were up before the first was waited for


def test_of_several_the_one_that_fails_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANY", "yes")
    found = iperf.together(HERE, HERE, LOCAL, IperfSpec(), 128 + 16)
    assert [one.result is None for one in found] == [False, True]
    assert "too many" in str(found[1].error)
    assert (found[1].client, found[1].server) == ("here", "here")


def test_when_one_cannot_start_none_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER", "bind failed")
    found = iperf.together(HERE, HERE, LOCAL, IperfSpec(), 200)
    assert [(one.spec.streams, one.result) for one in found] == [(128, None), (72, None)]
    assert all("bind failed" in str(one.error) for one in found)
