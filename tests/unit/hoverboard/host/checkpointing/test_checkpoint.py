"""What one host process leaves to the next: vports, peers, and flows by question and answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from hoverboard.contract.errors import RunError
from hoverboard.contract.openflow.pipeline import FIRST_VPORT, Kind
from hoverboard.fastpath.memory import entries
from hoverboard.fastpath.packets.flow_table import Key
from hoverboard.host.checkpointing import checkpoint
from hoverboard.host.checkpointing.checkpoint import (
    CheckpointSource,
    CheckpointWriter,
    SavedState,
    TracedFlow,
    decode,
    encode,
    load,
)
from hoverboard.host.checkpointing.journal import FLUSH_SECONDS, Journal
from hoverboard.vswitch.trace import TraceResult

OWNER = {"node": "h1", "underlay_ip": "172.16.0.1", "dataplane": "fastpath"}
PEER, OTHER = IPv4Address("172.16.0.2"), IPv4Address("172.16.0.3")
ROUTED = TraceResult(
    Kind.ROUTE, 7, 1, PEER, 7, {"dl_dst": "02:00:00:00:00:01"}, frozenset({"dl_dst"}), False, True,
    metadata=frozenset({0, 7}),
)  # fmt: skip
UNNAMED = TraceResult(None, 0, None, None, 0, {}, frozenset(), True, False, False)
TWO = frozenset({"dl_src", "dl_dst"})
KEY = tuple(range(1 << 40, (1 << 40) + entries.KEY_WORDS))


@pytest.mark.parametrize("verdict", [ROUTED, UNNAMED, replace(UNNAMED, out_port=0, cacheable=True, changed=TWO)])
def test_a_verdict_comes_back_as_it_was(verdict: TraceResult) -> None:
    assert decode(encode(verdict)) == verdict


class Clock:
    """Time that stands until it is moved."""

    now = 1_000_003.0

    def __call__(self) -> float:
        return self.now


class State:
    """What there is to keep of a host; the test changes it."""

    def __init__(self) -> None:
        self.vports = {"blue-1": ("vp100", 100)}
        self.peers = {PEER: True, OTHER: False}
        self.flows: dict[Key, TracedFlow] = {KEY: ("in_port=100,ip", ROUTED)}

    def begin(self, checkpoint_writer: CheckpointWriter, directory: Path) -> CheckpointWriter:
        source = CheckpointSource(lambda: self.peers, lambda key: self.flows.get(key), lambda: self.flows.keys())
        checkpoint_writer.begin(directory, OWNER, lambda: self.vports, source)
        return checkpoint_writer


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def checkpoint_writer(state: State, tmp_path: Path) -> Iterator[CheckpointWriter]:
    made = state.begin(CheckpointWriter(Clock()), tmp_path)
    yield made
    made.close()


def settle(checkpoint_writer: CheckpointWriter) -> None:
    while checkpoint_writer.due is not None:
        checkpoint_writer.flush(checkpoint_writer.due)


def test_everything_comes_back(checkpoint_writer: CheckpointWriter, tmp_path: Path) -> None:
    settle(checkpoint_writer)
    saved = load(tmp_path, OWNER)
    assert saved.vports == {"blue-1": ("vp100", 100)}
    assert saved.peers == {PEER: True, OTHER: False}
    assert saved.flows == {KEY: ("in_port=100,ip", ROUTED)}


def test_a_new_vm_takes_no_port_that_another_had() -> None:
    assert SavedState().free_ofport() == FIRST_VPORT
    assert SavedState({"blue-1": ("vp3", FIRST_VPORT - 5)}).free_ofport() == FIRST_VPORT
    assert (
        SavedState({"blue-1": ("vp3", FIRST_VPORT + 1), "blue-2": ("vp2", FIRST_VPORT)}).free_ofport()
        == FIRST_VPORT + 2
    )


@pytest.mark.parametrize("what", ["vport", "peer", "flow"])
def test_each_change_is_written_a_moment_later(
    checkpoint_writer: CheckpointWriter, state: State, tmp_path: Path, what: str
) -> None:
    settle(checkpoint_writer)
    assert checkpoint_writer.status() == {"written": 0, "failure": None}
    if what == "vport":
        state.vports = {"blue-1": ("vp101", 101)}
        checkpoint_writer.vport_changed("blue-1")
    elif what == "peer":
        state.peers = {OTHER: True}
        checkpoint_writer.peer_changed(OTHER)
    else:
        state.flows = {KEY: ("in_port=100,ip6", UNNAMED)}
        checkpoint_writer.flows_changed([KEY])
    assert checkpoint_writer.due == Clock.now + FLUSH_SECONDS
    settle(checkpoint_writer)
    assert checkpoint_writer.status() == {"written": 1, "failure": None}
    saved = load(tmp_path, OWNER)
    assert saved.vports == {"blue-1": ("vp101", 101) if what == "vport" else ("vp100", 100)}
    assert saved.peers == {PEER: True, OTHER: what == "peer"}
    assert saved.flows == {KEY: ("in_port=100,ip6", UNNAMED) if what == "flow" else ("in_port=100,ip", ROUTED)}


def test_what_has_gone_since_does_not_come_back(
    checkpoint_writer: CheckpointWriter, state: State, tmp_path: Path
) -> None:
    settle(checkpoint_writer)
    state.vports, state.peers, state.flows = {}, {}, {}
    checkpoint_writer.vport_changed("blue-1")
    checkpoint_writer.peer_changed(PEER)
    checkpoint_writer.peer_changed(OTHER)
    checkpoint_writer.flows_changed([KEY])
    settle(checkpoint_writer)
    assert load(tmp_path, OWNER) == checkpoint.SavedState()


def test_nothing_is_kept_before_it_begins(tmp_path: Path) -> None:
    checkpoint_writer = CheckpointWriter()
    checkpoint_writer.vport_changed("blue-1")
    checkpoint_writer.flows_changed([KEY])
    checkpoint_writer.flush(Clock.now)
    checkpoint_writer.close()
    assert checkpoint_writer.due is None
    assert checkpoint_writer.status() is None
    checkpoint_writer.begin(tmp_path, OWNER, dict, CheckpointSource())
    settle(checkpoint_writer)
    checkpoint_writer.flows_changed([KEY])
    settle(checkpoint_writer)
    assert load(tmp_path, OWNER) == SavedState(), "there is nothing by itself"
    checkpoint_writer.close()


def test_a_closed_checkpoint_holds_no_file_open(checkpoint_writer: CheckpointWriter) -> None:
    settle(checkpoint_writer)
    checkpoint_writer.close()
    assert checkpoint_writer.journal is not None
    assert (checkpoint_writer.journal._fd, checkpoint_writer.journal._next_fd) == (-1, -1)


def test_a_checkpoint_of_another_owner_is_refused(checkpoint_writer: CheckpointWriter, tmp_path: Path) -> None:
    settle(checkpoint_writer)
    checkpoint_writer.close()
    with pytest.raises(RunError, match="another"):
        load(tmp_path, {**OWNER, "node": "h2"})


GOOD = encode(ROUTED)


@pytest.mark.parametrize(
    ("kind", "name", "content"),
    [
        ("flow", KEY[:-1], ["in_port=100", GOOD]),
        ("flow", (*KEY, 0), ["in_port=100", GOOD]),
        ("flow", KEY, ["in_port=100", GOOD[:-1]]),
        ("flow", KEY, ["in_port=100", ["NO_SUCH_KIND", *GOOD[1:]]]),
        ("flow", KEY, ["in_port=100"]),
        ("flow", KEY, ["in_port=100", [*GOOD[:5], None, *GOOD[6:]]]),
        ("flow", ("a", *KEY[1:]), ["in_port=100", GOOD]),
        ("stranger", "x", 1),
        ("stranger", KEY, ["in_port=100", GOOD]),
        ("peer", "h2", 1),
        ("vport", "blue-1", "x"),
        ("vport", "blue-1", 7),
    ],
    ids=[
        "short key", "long key", "short answer", "unknown kind of flow", "no answer", "no headers", "a key of text",
        "unknown kind", "a flow by another name", "no address", "no number", "no vport",
    ],
)  # fmt: skip
def test_records_that_make_no_sense_are_refused(tmp_path: Path, kind: str, name: Any, content: Any) -> None:
    journal = Journal(tmp_path / checkpoint.FILE, dict(OWNER), lambda _ident: content, lambda: [(kind, name)])
    journal.close()
    with pytest.raises(RunError, match="cannot be read") as caught:
        load(tmp_path, OWNER)
    assert caught.value.where == str(tmp_path / checkpoint.FILE)


def test_the_record_that_the_others_are_made_from_makes_sense(tmp_path: Path) -> None:
    record = ["in_port=100", GOOD]
    Journal(tmp_path / checkpoint.FILE, dict(OWNER), lambda _ident: record, lambda: [("flow", KEY)]).close()
    assert load(tmp_path, OWNER).flows == {KEY: ("in_port=100", ROUTED)}
