"""A Dask cluster as a `Cluster`, with a client that is made up: calls go to one worker, and lost ones are noticed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.sweeps import cluster_keys, dask_cluster, measuring_process, worker
from experiments.sweeps.cluster import WorkerLost
from experiments.sweeps.cluster_keys import ClusterKeys
from experiments.sweeps.dask_cluster import DaskCluster
from hoverboard.contract.errors import InputError


class KilledWorker(Exception):
    """As Dask's."""


class Client:
    """Dask's client, of a scheduler with workers by address; `late` answers are time-outs before a result comes."""

    def __init__(self, scheduler: str, **settings: Any) -> None:
        if scheduler == "tcp://nothing":
            raise TimeoutError
        self.scheduler, self.settings, self.status = scheduler, settings, "running"
        self.present: dict[str, dict[str, Any]] = {"tcp://a": {"nthreads": 1}, "tcp://b": {"nthreads": 1}}
        self.late, self.killed, self.closed = 0, False, False
        self.calls: list[tuple[Any, ...]] = []
        self.cancelled: list[str] = []

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        assert n_workers == -1
        return {"workers": self.present}

    def submit(self, function: Callable[..., Any], *arguments: Any, workers: list[str], **settings: Any) -> Any:
        self.calls.append((function, arguments, tuple(workers), settings))
        return SimpleNamespace(result=self._result, cancel=lambda: self.cancelled.append(workers[0]))

    def _result(self, timeout: float) -> Any:
        assert timeout > 0
        if self.killed:
            raise KilledWorker
        if self.late:
            self.late -= 1
            raise TimeoutError
        return f"answer {len(self.calls)}"

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> DaskCluster:
    fake = SimpleNamespace(Client=Client, scheduler=SimpleNamespace(KilledWorker=KilledWorker))
    monkeypatch.setattr(dask_cluster, "_dask", lambda: fake)
    return DaskCluster("tcp://scheduler", insecure=True)


def client(cluster: DaskCluster) -> Client:
    found = cluster._client
    assert isinstance(found, Client)
    return found


def test_each_worker_says_what_its_machine_is(cluster: DaskCluster) -> None:
    assert cluster.workers() == {"tcp://a": "answer 1", "tcp://b": "answer 2"}
    assert client(cluster).calls == [
        (worker.describe, (), (address,), {"pure": False, "retries": 0}) for address in ("tcp://a", "tcp://b")
    ]
    assert (client(cluster).scheduler, client(cluster).settings["set_as_default"]) == ("tcp://scheduler", False)


def test_a_worker_that_measures_several_points_at_a_time_is_refused(cluster: DaskCluster) -> None:
    client(cluster).present["tcp://b"]["nthreads"] = 2
    with pytest.raises(InputError, match="the worker has 2 threads") as caught:
        cluster.workers()
    assert caught.value.where == "tcp://b"
    assert client(cluster).calls == []


def test_calls_go_to_one_worker_and_no_other(cluster: DaskCluster) -> None:
    job: Any = object()
    assert cluster.measure("tcp://b", job) == "answer 1"
    cluster.finish("tcp://a")
    assert [call[:3] for call in client(cluster).calls] == [
        (measuring_process.measure, (job,), ("tcp://b",)), (measuring_process.finish, (), ("tcp://a",)),
    ]  # fmt: skip
    cluster.close()
    assert client(cluster).closed


def test_a_long_measurement_is_waited_for_while_its_worker_is_there(cluster: DaskCluster) -> None:
    client(cluster).late = 3
    assert cluster.measure("tcp://a", object()) == "answer 1"  # type: ignore[arg-type]
    assert client(cluster).cancelled == []


@pytest.mark.parametrize("gone", ["worker", "scheduler"])
def test_a_worker_that_has_gone_is_lost(cluster: DaskCluster, gone: str) -> None:
    client(cluster).late = 1
    if gone == "worker":
        del client(cluster).present["tcp://a"]
    else:
        client(cluster).status = "closing"
    with pytest.raises(WorkerLost, match="no longer answers the scheduler"):
        cluster.finish("tcp://a")
    assert client(cluster).cancelled == ["tcp://a"]


def test_a_worker_that_ended_while_it_measured_is_lost(cluster: DaskCluster) -> None:
    client(cluster).killed = True
    with pytest.raises(WorkerLost, match="ended during a measurement"):
        cluster.finish("tcp://a")


@pytest.mark.usefixtures("cluster")
def test_nothing_answers_there() -> None:
    with pytest.raises(InputError, match="no Dask scheduler: TimeoutError") as caught:
        DaskCluster("tcp://nothing", insecure=True)
    assert caught.value.where == "tcp://nothing"


def test_without_dask_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(InputError, match="Dask is not installed") as caught:
        dask_cluster._dask()
    assert "hoverboard[dask]" in str(caught.value.next_step)


class Served:
    """Dask's worker: comes up, and runs until it is closed."""

    def __init__(self, scheduler: str, **settings: Any) -> None:
        self.scheduler, self.settings, self.address = scheduler, settings, "tcp://me"
        self.reasons: list[str] = []
        self.stopped = False
        self.http_server = SimpleNamespace(stop=lambda: setattr(self, "stopped", True))
        self._closed = asyncio.Event()

    def __await__(self) -> Generator[Any, None, Served]:
        if self.scheduler == "tcp://127.0.0.1:1":
            raise TimeoutError
        return self
        yield

    async def close(self, reason: str) -> None:
        self.reasons.append(reason)
        self._closed.set()

    async def finished(self) -> None:
        await self._closed.wait()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Served]:
    made: list[Served] = []

    def start(*given: Any, **settings: Any) -> Served:
        made.append(Served(*given, **settings))
        return made[-1]

    monkeypatch.setattr(dask_cluster, "_dask", lambda: SimpleNamespace(Worker=start))
    return made


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_measures_until_a_signal_and_then_takes_its_testbeds_down(
    served: list[Served], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    finished: list[bool] = []
    monkeypatch.setattr(measuring_process, "finish", lambda: finished.append(True))
    said: list[str] = []

    def say(what: str) -> None:
        said.append(what)
        os.kill(os.getpid(), number)

    dask_cluster.serve("tcp://127.0.0.1:7", say, insecure=True)
    assert said == ["tcp://me measures for tcp://127.0.0.1:7; Ctrl-C ends it"]
    assert served[0].reasons == ["interrupted"]
    assert (served[0].settings["nthreads"], served[0].settings["memory_limit"]) == (1, 0)
    assert (served[0].settings["host"], served[0].settings["dashboard"], served[0].stopped) == (
        "127.0.0.1",
        False,
        True,
    )
    assert not Path(served[0].settings["local_directory"]).exists()
    assert finished == [True]


@pytest.mark.usefixtures("served")
def test_a_worker_without_a_scheduler_says_so() -> None:
    with pytest.raises(InputError, match="no Dask scheduler: TimeoutError") as caught:
        dask_cluster.serve("tcp://127.0.0.1:1", lambda what: None, insecure=True)
    assert caught.value.where == "tcp://127.0.0.1:1"


@pytest.mark.parametrize("take", [DaskCluster, lambda address: dask_cluster.serve(address, print)])
@pytest.mark.parametrize(
    ("address", "what"),
    [("tcp://127.0.0.1:1", "without TLS"), ("any://127.0.0.1:1", "without TLS"), ("tls://127.0.0.1:1", "needs cert")],
)
@pytest.mark.usefixtures("cluster")
def test_an_address_has_to_be_secure(take: Callable[[str], object], address: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        take(address)


@pytest.mark.usefixtures("cluster")
def test_certificates_have_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the folder has no ca\.pem"):
        DaskCluster("tls://127.0.0.1:1", ClusterKeys(tmp_path))


def test_the_settings_take_no_peer_without_encryption(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[dict[str, Any]] = []
    security = SimpleNamespace(Security=lambda **settings: made.append(settings))
    fake = SimpleNamespace(Client=Client, security=security, scheduler=SimpleNamespace(KilledWorker=KilledWorker))
    monkeypatch.setattr(dask_cluster, "_dask", lambda: fake)
    keys = cluster_keys.make(tmp_path / "keys")
    DaskCluster("tls://scheduler:1", keys)
    (settings,) = made
    assert settings["require_encryption"] is True
    assert settings["tls_ca_file"] == str(keys.authority)
    assert {settings[f"tls_{role}_cert"] for role in ("client", "worker", "scheduler")} == {str(keys.certificate)}


@pytest.mark.parametrize("address", ["tls://", "tls://127.0.0.1", "tls://127.0.0.1:x", "tls://[::g]:1", ""])
def test_an_address_that_makes_no_sense_has_no_way(address: str) -> None:
    with pytest.raises(InputError, match="no way to the Dask scheduler"):
        dask_cluster.facing(address)


def test_the_way_decides_which_address_a_worker_binds() -> None:
    assert dask_cluster.facing("tls://127.0.0.1:1") == "127.0.0.1"
    assert dask_cluster.facing("tls://[::1]:1") == "::1"
