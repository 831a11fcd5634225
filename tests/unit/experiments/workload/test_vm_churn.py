"""A network that VMs join and leave all along: what is sent, until when, and what ends it early."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from experiments.workload import vm_churn
from hoverboard.contract.errors import RunError
from topologies.run.testbed import Testbed

BED = cast(Testbed, SimpleNamespace(intent_address="unix:/made/up"))


class Client:
    """A fabric manager that answers, until it does not any more."""

    made: list[Client] = []
    most = 10**9

    def __init__(self, address: str) -> None:
        self.address, self.sent, self.closed = address, [], threading.Event()
        self.often = threading.Event()
        Client.made.append(self)

    def send(self, request: str) -> None:
        if len(self.sent) == Client.most:
            raise RunError("the control plane is gone")
        self.sent.append(request)
        if len(self.sent) == 5:
            self.often.set()

    def close(self) -> None:
        self.closed.set()


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch) -> None:
    def request(**what: Any) -> str:
        (verb,) = what
        return f"{verb} {'+'.join(what[verb])}"

    monkeypatch.setattr(Client, "made", [])
    monkeypatch.setattr(vm_churn, "FabricClient", Client)
    monkeypatch.setattr(vm_churn, "diff_request", request)


def test_all_join_in_one_request_and_leave_in_the_next_until_none_is_there() -> None:
    with vm_churn.churning(BED, cast(Any, ["a", "b"])) as rounds:
        (client,) = Client.made
        assert client.often.wait(20)
    assert client.address == "unix:/made/up"
    assert client.sent[:4] == ["upsert a+b", "remove a+b"] * 2
    assert client.sent[-1] == "remove a+b"
    assert (rounds.done, rounds.error, rounds.filling) == (len(client.sent), "", False)
    assert client.closed.is_set()
    assert "churn" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("most", [0, 3])
def test_what_ends_it_early_is_kept(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(Client, "most", most)
    with vm_churn.churning(BED, cast(Any, ["a"])) as rounds:
        (client,) = Client.made
        assert client.closed.wait(20)
    assert (rounds.done, rounds.error) == (most, "the control plane is gone")
    assert rounds.filling == (most % 2 == 0)
