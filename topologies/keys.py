"""The keys of a topology file, as pydantic models; `schema` reads a file with them, `resolve` makes a topology of them.

What they name but nothing enforces yet is refused, so that no file ever means less than it says.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StrictBool, StrictInt, Tag

from hoverboard.contract.entities import MAX_VNI, Dataplane, Program, Scheduling
from hoverboard.coprocessor.policy import When
from topologies.policy_keys import BalancerKeys, FirewallKeys, RouteKeys
from topologies.topology import (
    DEFAULT_MODEL,
    DEFAULT_REPORT_INTERVAL,
    MAX_HOSTS,
    MAX_HOVERBOARDS,
    MOST_EGRESS,
    MOST_INGRESS,
    Model,
)
from topologies.values import (
    Address,
    Address6,
    Controller,
    Delay,
    Name,
    Prefix,
    Prefix6,
    Rate,
    Reserved,
    Seconds,
    WanRate,
)


def _count_or_list(value: Any) -> str:
    return "<list>" if isinstance(value, list) else "<count>"


def _text_or_keys(value: Any) -> str:
    return "<policy>" if isinstance(value, str) else "<keys>"


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BatchKeys(_Keys):
    """Most packets that an engine of the fast path takes at a time; 1 is no batching (paper 4.2)."""

    egress: Annotated[StrictInt, Field(ge=1, le=MOST_EGRESS)] = MOST_EGRESS
    ingress: Annotated[StrictInt, Field(ge=1, le=MOST_INGRESS)] = MOST_INGRESS

    def sizes(self) -> tuple[int, int]:
        """(egress, ingress)."""
        return self.egress, self.ingress


class HostKeys(_Keys):
    """A VM host."""

    name: Name | None = Field(None, description="default: h1, h2, ...")
    dataplane: Dataplane | None = Field(None, description="default: the file's dataplane")
    batch: BatchKeys | None = Field(None, description="default: the file's batch")
    rate: Reserved = Field(None, description="reserved: NIC rate")
    region: Name | None = Field(None, description="default: one region for all hosts that name none")
    program: Program = Field("ours", description="external: an OpenFlow controller of your own (docs/external.md)")
    controller: Controller | None = Field(None, description="of an external program: tcp:HOST:PORT or unix:/PATH")


class CapacityKeys(_Keys):
    """What a Hoverboard takes from the fabric; the rest is dropped."""

    pps: Annotated[StrictInt, Field(ge=1, le=1_000_000_000)] | None = Field(None, description="packets a second")
    bps: Rate | None = Field(None, description="bits a second, such as 100mbit")


class HoverboardKeys(_Keys):
    """A Hoverboard."""

    name: Name | None = Field(None, description="default: hv1, hv2, ...")
    dataplane: Dataplane | None = Field(None, description="default: the file's; the nearest that relays")
    batch: BatchKeys | None = Field(None, description="default: the file's batch")
    rate: Reserved = Field(None, description="reserved: NIC rate")
    region: Name | None = Field(None, description="whose fabric it is on, where `wan` joins two regions")
    capacity: CapacityKeys | None = Field(None, description="default: as much as it can")


class WanKeys(_Keys):
    """The link between two regions, each of which then has a fabric of its own."""

    rate: WanRate | None = Field(None, description="bits a second, each way; default: as fast as it goes")
    delay: Delay = Field(0.0, description="one way; left out where the kernel has no netem, see status")


class VMKeys(_Keys):
    """A virtual machine."""

    name: Name | None = Field(None, description="default: NETWORK-1, NETWORK-2, ...")
    host: str | None = Field(None, description="default: the VM hosts in turn")
    ip: Address | None = Field(None, description="default: the first free address")
    ip6: Address6 | None = Field(
        None, description="default: the first free address of subnet6, if there is one; false: none, IPv6 is off"
    )
    tags: list[Name] = Field(default_factory=list)
    rate: Rate | None = Field(None, description="what it may send; default: its network's rate")
    external_ip: Reserved = Field(None, description="reserved")


class NetworkKeys(_Keys):
    """A virtual network; two networks may use the same addresses."""

    name: Name
    vni: Annotated[StrictInt, Field(ge=1, le=MAX_VNI)] = Field(description="24-bit identifier on the wire")
    subnet: Prefix | None = None
    subnets: list[Prefix] | None = Field(None, min_length=1, description="instead of subnet: several")
    gateway: Address | None = Field(None, description="default: the first address; only with subnet")
    subnet6: Prefix6 | None = Field(None, description="IPv6 addresses for the VMs as well; only with subnet")
    rate: Rate | None = Field(None, description="what each VM may send; default: no limit")
    firewall: FirewallKeys = Field(
        default_factory=lambda: FirewallKeys.model_validate({}), description="default: everything is allowed"
    )
    load_balancers: list[BalancerKeys] = Field(default_factory=list, description="addresses that VMs share")
    routes: list[RouteKeys] = Field(default_factory=list, description="prefixes behind VMs")
    vms: Annotated[
        Annotated[Annotated[StrictInt, Field(ge=0, le=100_000)], Tag("<count>")]
        | Annotated[list[VMKeys], Tag("<list>")],
        Discriminator(_count_or_list),
    ] = 0


class StageKeys(_Keys):
    """A coprocessor stage, its configuration, and the flows that it is for (docs/coprocessors.md)."""

    stage: Annotated[str, Field(min_length=1)] = Field(description="a name, or FILE.py[:Class] beside this file")
    config: dict[str, Any] = Field(default_factory=dict)
    when: When = Field(default_factory=When, description="default: every flow")


class OffloadKeys(_Keys):
    """The offload policy (docs/models.md)."""

    policy: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="FILE.py:Class beside this file; default: the built-in one"
    )
    keep: Rate = Field(0, description="an offload that sends more is not idle; below offload_threshold")
    min_lifetime: Seconds = Field(2.0, description="seconds in which no bigger pair displaces an offload")
    idle_expiry: Seconds = Field(30.0, description="seconds idle after which it is taken back")
    budget: Annotated[StrictInt, Field(ge=0)] = Field(0, description="offloads of a host, largest first; 0: no limit")
    reports: Literal["hosts", "hoverboards"] = Field("hosts", description="who tells of usage; the paper: hosts")


class TopologyKeys(_Keys):
    """A topology of the Hoverboard testbed."""

    name: Name | None = Field(None, description="default: the file's name")
    hosts: Annotated[
        Annotated[Annotated[StrictInt, Field(ge=1, le=MAX_HOSTS)], Tag("<count>")]
        | Annotated[Annotated[list[HostKeys], Field(min_length=1, max_length=MAX_HOSTS)], Tag("<list>")],
        Discriminator(_count_or_list),
    ]
    hoverboards: Annotated[
        Annotated[Annotated[StrictInt, Field(ge=0, le=MAX_HOVERBOARDS)], Tag("<count>")]
        | Annotated[Annotated[list[HoverboardKeys], Field(max_length=MAX_HOVERBOARDS)], Tag("<list>")],
        Discriminator(_count_or_list),
    ] = 1
    model: Model = DEFAULT_MODEL
    dataplane: Dataplane = Field("fastpath", description="of every server that does not say otherwise")
    scheduling: Scheduling = Field("adaptive", description="when the engines of the fast path run")
    batch: BatchKeys = Field(default_factory=BatchKeys, description="of every server that does not say otherwise")
    vm_priority: StrictBool = Field(
        True, description="engines serve the VM that used them least; false: packets in order of arrival"
    )
    offload_threshold: Rate = Field(20_000, description="a VM pair that sends more leaves the Hoverboard")
    report_interval: Seconds = Field(DEFAULT_REPORT_INTERVAL, description="seconds between usage reports")
    offload_policy: Annotated[
        Annotated[Annotated[str, Field(min_length=1)], Tag("<policy>")] | Annotated[OffloadKeys, Tag("<keys>")],
        Discriminator(_text_or_keys),
    ] = Field(default_factory=lambda: OffloadKeys.model_validate({}), description="FILE.py:Class, or its settings")
    stages: list[StageKeys] = Field(default_factory=list, description="on the way out; the last is nearest the fabric")
    networks: list[NetworkKeys] = Field(default_factory=list)
    wan: WanKeys | None = Field(None, description="joins two regions; default: one fabric for all")
