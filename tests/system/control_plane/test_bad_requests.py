"""A control plane with real switches against bad requests and bad switches."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path

import grpc
import pytest

from controllers.fm.grpc_errors import MAX_MESSAGE
from controllers.ofe.switch_session import Session
from controllers.program import Program
from hoverboard.contract.errors import EntityError, RunError, SwitchError
from hoverboard.contract.openflow import pipeline
from hoverboard.contract.wire import fabric_pb2 as pb
from tests.system.control_plane.control_plane_rig import Rig, Switch, rig, wait_for
from tests.system.control_plane.test_control_plane import BASE, UNDERLAY, VMS, vm
from tests.system.control_plane.test_control_plane_switch import Listener, session_of, with_session

_WRONG = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def cluster() -> Iterator[Rig]:
    with rig() as made:
        made.start_plane()
        for name in ("h1", "hv1"):
            made.add_switch(name, UNDERLAY[name])
        made.switches["h1"].add_vport("vp2", 100)
        made.client.full_update([*BASE, *VMS])
        made.hello("h1", {"b2": "vp2"})
        made.hello("hv1")
        made.wait_programmed()
        yield made


def test_a_full_table_is_told_retried_and_disturbs_no_other(cluster: Rig) -> None:
    hv1, h1 = cluster.switches["hv1"], cluster.switches["h1"]
    (held,) = [line for line in hv1.flows() if "nw_dst=10.0.0.3" in line]
    table = re.search(r"table=(\d+)", held)
    assert table is not None
    before = hv1.flows()
    count = sum(f"table={table[1]}," in line for line in before)
    hv1.vsctl(
        "--", "--id=@t", "create", "Flow_Table", f"flow_limit={count}",
        "--", "set", "bridge", "br-int", f"flow_tables:{table[1]}=@t",
    )  # fmt: skip
    cluster.client.diff([vm(40, "h1")])
    wait_for(lambda: "TABLE_FULL" in cluster.client.status()["switches"]["hv1"]["last_error"], "the full table is told")
    assert not cluster.client.status()["switches"]["hv1"]["programmed"]
    assert hv1.flows() == before
    h1.add_vport("vp40", 140)
    cluster.agents["h1"].bind("b40", "vp40")
    wait_for(lambda: any("in_port=140" in line for line in h1.flows()), "b40 is on h1 all the same")
    hv1.vsctl("clear", "bridge", "br-int", "flow_tables")
    cluster.wait_programmed(timeout=30)
    assert len(hv1.flows()) == len(before) + 1


def test_requests_that_are_too_large_or_no_requests_are_refused_and_the_next_one_is_served(cluster: Rig) -> None:
    version = cluster.client.status()["version"]
    with grpc.insecure_channel(cluster.address, options=[("grpc.max_send_message_length", -1)]) as channel:
        diff = channel.unary_unary("/hoverboard.v1.FabricManager/Diff")
        for request, code in (
            (bytes(MAX_MESSAGE + 1), grpc.StatusCode.RESOURCE_EXHAUSTED),
            (b"\xff" * 100, grpc.StatusCode.UNKNOWN),  # no message; gRPC itself says so
            (pb.DiffRequest(upsert=[pb.Entity(type="VM", json="[" * 100_000)]).SerializeToString(), _WRONG),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                diff(request, timeout=30)
            assert refused.value.code() is code
    assert cluster.client.status()["version"] == version


@pytest.mark.parametrize("kind", ["x" * 100_000, "\N{SNOWMAN}" * 10_000])
def test_a_refusal_that_quotes_much_still_arrives(cluster: Rig, kind: str) -> None:
    with pytest.raises(EntityError, match="unknown entity type") as refused:
        cluster.client.diff(remove=[(kind, "x")])
    assert len(str(refused.value)) < 3_000
    assert "use one of Network" in refused.value.next_step


def test_of_two_clients_at_once_one_wins_and_the_other_is_told(cluster: Rig) -> None:
    version = cluster.client.status()["version"]

    def ask(number: int) -> str:
        try:
            cluster.client.diff([vm(number, "h1")], expected_version=version)
        except RunError as refused:
            return refused.what
        return ""

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(ask, range(50, 58)))
    assert told.count("") == 1
    assert all("expects version" in one for one in told if one)
    with ThreadPoolExecutor(8) as pool:  # without a version all are done, one after the other
        list(pool.map(lambda number: cluster.client.diff([vm(number, "h1")]), range(60, 76)))
    assert cluster.client.status()["version"] == version + 17
    wait_for(
        lambda: sum("nw_dst=10.0.0." in line for line in cluster.switches["hv1"].flows())
        >= len(VMS) + 17, "the Hoverboard knows them all",
    )  # fmt: skip


def test_a_switch_that_leaves_in_the_middle_of_a_bundle_has_none_of_it() -> None:
    directory = Path(tempfile.mkdtemp(prefix="hb", dir="/tmp"))
    switch = Switch("h1", UNDERLAY["h1"], directory / "of.sock", directory)
    many = tuple(
        pipeline.route_flow(7, IPv4Address("10.1.0.0") + number, IPv4Address(UNDERLAY["hv1"]))
        for number in range(20_000)
    )

    async def use(listener: Listener) -> None:
        await session_of(listener).send(Program(tuple(pipeline.base_flows())))
        before = await asyncio.to_thread(switch.flows)
        switch.pause()
        session = session_of(listener)
        assert isinstance(session, Session)
        waiting = asyncio.create_task(session.send(Program(many)))
        while session._writable.is_set():  # until the socket takes no more
            await asyncio.sleep(0)
        assert not waiting.done()
        # To another front end, that is not there; one that has no controller at all would drop all its flows.
        nowhere = f"unix:{switch.dir}/nowhere.sock"
        await asyncio.to_thread(switch.vsctl, "--no-wait", "set-controller", pipeline.BRIDGE, nowhere)
        switch.resume()
        with pytest.raises(SwitchError, match="disconnected|not connected"):
            await waiting
        assert await asyncio.to_thread(switch.flows) == before
        await asyncio.to_thread(switch.vsctl, "set-controller", pipeline.BRIDGE, f"unix:{switch.dir}/of.sock")
        await listener.until(lambda: listener.connections == 2)
        await session_of(listener).send(Program(many))
        assert len(await session_of(listener).dump()) == len(before) + len(many)

    try:
        with_session(directory, use)
    finally:
        switch.stop()
        shutil.rmtree(directory)
