"""The keys of a topology file, as pydantic models; `schema` reads a file with them, `resolve` makes a topology of them.

What they name but nothing enforces yet is refused, so that no file ever means less than it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StrictBool, StrictInt, Tag

from hoverboard.contract.entities import MAX_VNI, Dataplane, Program, Scheduling
from hoverboard.contract.models import DEFAULT_MODEL
from hoverboard.coprocessor.policy import When
from topologies.spec.policy_keys import BalancerKeys, FirewallKeys, RouteKeys
from topologies.spec.topology import DEFAULT_REPORT_INTERVAL, MAX_HOSTS, MAX_HOVERBOARDS, MOST_EGRESS, MOST_INGRESS
from topologies.spec.values import (
    Address,
    Address6,
    Controller,
    Delay,
    Model,
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


@dataclass(frozen=True, slots=True)
class FixedKey:
    """Marks a key of the file that cannot change while the testbed is up.

    Attributes:
        becomes: the attribute of `Topology` that it goes into; default: the one of its name.
        step: what to do instead.
    """

    becomes: str = ""
    step: str = "take the run down and bring it up with this file"


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
        FixedKey(),
    ]
    hoverboards: Annotated[
        Annotated[Annotated[StrictInt, Field(ge=0, le=MAX_HOVERBOARDS)], Tag("<count>")]
        | Annotated[Annotated[list[HoverboardKeys], Field(max_length=MAX_HOVERBOARDS)], Tag("<list>")],
        Discriminator(_count_or_list),
        FixedKey(),
    ] = 1
    model: Annotated[Model, FixedKey(step="use `hoverboard model set MODEL`")] = Field(
        DEFAULT_MODEL, description="a programming model's name, or FILE.py:Class beside this file"
    )
    dataplane: Annotated[Dataplane, FixedKey("hosts")] = Field(
        "fastpath", description="of every server that does not say otherwise"
    )
    scheduling: Annotated[Scheduling, FixedKey()] = Field(
        "adaptive", description="when the engines of the fast path run"
    )
    batch: Annotated[BatchKeys, FixedKey("hosts")] = Field(
        default_factory=BatchKeys, description="of every server that does not say otherwise"
    )
    vm_priority: Annotated[StrictBool, FixedKey()] = Field(
        True, description="engines serve the VM that used them least; false: packets in order of arrival"
    )
    offload_threshold: Annotated[Rate, FixedKey()] = Field(
        20_000, description="a VM pair that sends more leaves the Hoverboard"
    )
    report_interval: Annotated[Seconds, FixedKey()] = Field(
        DEFAULT_REPORT_INTERVAL, description="seconds between usage reports"
    )
    offload_policy: Annotated[
        Annotated[Annotated[str, Field(min_length=1)], Tag("<policy>")] | Annotated[OffloadKeys, Tag("<keys>")],
        Discriminator(_text_or_keys),
        FixedKey("offload"),
    ] = Field(default_factory=lambda: OffloadKeys.model_validate({}), description="FILE.py:Class, or its settings")
    stages: Annotated[list[StageKeys], FixedKey()] = Field(
        default_factory=list, description="on the way out; the last is nearest the fabric"
    )
    networks: list[NetworkKeys] = Field(default_factory=list)
    wan: Annotated[WanKeys | None, FixedKey()] = Field(
        None, description="joins two regions; default: one fabric for all"
    )


def fixed_keys() -> Iterator[tuple[str, str, FixedKey]]:
    """(key, attribute of `Topology`, marker) of what cannot change while a testbed is up, in the file's order."""
    for key, field in TopologyKeys.model_fields.items():
        for marker in field.metadata:
            if isinstance(marker, FixedKey):
                yield key, marker.becomes or key, marker


def keys_at(path: tuple[str | int, ...]) -> type[BaseModel]:
    """The keys that may stand at a place of the file: those of a VM for networks[0].vms[1]."""
    keys: type[BaseModel] = TopologyKeys
    for part in path:
        if isinstance(part, str):
            keys = next(_models(keys.model_fields[part].annotation))
    return keys


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The mappings of keys in a type such as `list[VMKeys] | int`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
