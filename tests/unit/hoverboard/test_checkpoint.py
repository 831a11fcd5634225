"""What one host process leaves to the next: vports, peers, and flows by question and answer."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from hoverboard.contract.errors import RunError
from hoverboard.contract.pipeline import FIRST_VPORT, Kind
from hoverboard.fastpath.layout import KEY_WORDS
from hoverboard.host import checkpoint
from hoverboard.host.checkpoint import Keeper, Saved, decode, encode, load
from hoverboard.host.journal import Journal
from hoverboard.vswitch.trace import Verdict

OWNER = {"node": "h1", "underlay_ip": "172.16.0.1", "dataplane": "fastpath"}
PEER = IPv4Address("172.16.0.2")
ROUTED = Verdict(Kind.ROUTE, 7, 1, PEER, 7, {"dl_dst": "02:00:00:00:00:01"}, frozenset({"dl_dst"}), False, True)
UNNAMED = Verdict(None, 0, None, None, 0, {}, frozenset(), True, False, False)
KEY = tuple(range(1 << 40, (1 << 40) + KEY_WORDS))


@pytest.mark.parametrize("verdict", [ROUTED, UNNAMED])
def test_a_verdict_comes_back_as_it_was(verdict: Verdict) -> None:
    assert decode(encode(verdict)) == verdict


def keeper_of(tmp_path: Path) -> Keeper:
    keeper = Keeper()
    keeper.vports = lambda: {"blue-1": ("vp100", 100)}
    keeper.peers = lambda: {PEER: True}
    flows = {KEY: ("in_port=100,ip", ROUTED)}
    keeper.flow, keeper.flow_keys = flows.get, flows.keys
    keeper.begin(tmp_path, OWNER)
    return keeper


def settle(keeper: Keeper) -> None:
    while keeper.due is not None:
        keeper.flush(keeper.due)


def test_everything_comes_back(tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path)
    settle(keeper)
    saved = load(tmp_path, OWNER)
    assert saved.vports == {"blue-1": ("vp100", 100)}
    assert saved.peers == {PEER: True}
    assert saved.flows == {KEY: ("in_port=100,ip", ROUTED)}
    keeper.close()


def test_a_new_vm_takes_nobodys_port() -> None:
    assert Saved().free_ofport() == FIRST_VPORT
    assert Saved({"blue-1": ("vp3", FIRST_VPORT + 1), "blue-2": ("vp2", FIRST_VPORT)}).free_ofport() == FIRST_VPORT + 2


def test_what_has_gone_since_does_not_come_back(tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path)
    settle(keeper)
    keeper.vports, keeper.peers, keeper.flow = dict, dict, lambda _key: None
    keeper.vport_changed("blue-1")
    keeper.peer_changed(PEER)
    keeper.flows_changed([KEY])
    settle(keeper)
    assert load(tmp_path, OWNER) == checkpoint.Saved()
    keeper.close()


def test_nothing_is_kept_before_it_begins() -> None:
    keeper = Keeper()
    keeper.vport_changed("blue-1")
    keeper.flows_changed([KEY])
    keeper.flush(0.0)
    assert keeper.due is None
    assert keeper.status() is None


@pytest.mark.parametrize("value", [["flow", [1, 2], ["q", []]], ["stranger", "x", 1], ["peer", "nobody", 1]])
def test_records_that_make_no_sense_are_refused(tmp_path: Path, value: list[object]) -> None:
    kind, name, content = value
    ident = (str(kind), tuple(name) if isinstance(name, list) else name)
    journal = Journal(tmp_path / checkpoint.FILE, dict(OWNER), lambda _ident: content, lambda: [ident])
    journal.close()
    with pytest.raises(RunError, match="makes no sense"):
        load(tmp_path, OWNER)
