"""The keys of a topology file, as pydantic models: `schema` validates a file with them, `resolve` makes a topology.

A key that nothing enforces yet is rejected. The descriptions are shipped in schema.json, for editors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StrictBool, StrictInt, Tag

from hoverboard.contract.entities import MAX_VNI, Dataplane, Program, Scheduling
from hoverboard.contract.models import DEFAULT_MODEL
from hoverboard.coprocessor.stage_policy import When
from topologies.spec.policy_keys import BalancerKeys, FirewallKeys, RouteKeys
from topologies.spec.topology import DEFAULT_REPORT_INTERVAL, MAX_HOSTS, MAX_HOVERBOARDS, MOST_EGRESS, MOST_INGRESS
from topologies.spec.values import (
    Address,
    Address6,
    Controller,
    Delay,
    LinkRate,
    Model,
    Name,
    Prefix,
    Prefix6,
    Rate,
    Reserved,
    Seconds,
    Share,
)


def _count_or_list(value: Any) -> str:
    return "<list>" if isinstance(value, list) else "<count>"


def _text_or_keys(value: Any) -> str:
    return "<policy>" if isinstance(value, str) else "<keys>"


@dataclass(frozen=True, slots=True)
class FixedKey:
    """Marks a key of the file that cannot change while the run is up; properties of links below it may.

    Attributes:
        becomes: the attribute of `Topology` that holds its value, such as "offload.reports"; default: the key's name.
        part: the key below this one that is fixed; default: all of it.
        step: what to do instead of a change.
    """

    becomes: str = ""
    step: str = "take the run down and bring it up with this file"
    part: str = ""


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BatchKeys(_Keys):
    """Most packets that an engine of the fast path takes at a time; 1: no batching (paper section 4.2)."""

    egress: Annotated[StrictInt, Field(ge=1, le=MOST_EGRESS)] = MOST_EGRESS
    ingress: Annotated[StrictInt, Field(ge=1, le=MOST_INGRESS)] = MOST_INGRESS

    def sizes(self) -> tuple[int, int]:
        """(egress, ingress)."""
        return self.egress, self.ingress


class LinkKeys(_Keys):
    """The properties of a link, each for either direction, in netem's words (docs/links.md)."""

    rate: LinkRate | None = Field(None, description="bits per second; default: no limit")
    delay: Delay = Field(0.0, description="such as 10ms or 100us")
    jitter: Delay = Field(0.0, description="the delay varies evenly by this much; at most `delay`")
    loss: Share = Field(0.0, description="share of the packets that are lost, such as 0.1%")
    reorder: Share = Field(0.0, description="share of the packets that take no delay, and so overtake others")
    duplicate: Share = Field(0.0, description="share of the packets that arrive twice")
    seed: Annotated[StrictInt, Field(ge=0, le=2**31 - 1)] | None = Field(
        None, description="with one seed, the same packets of a link are lost each time; default: any"
    )


class UplinkKeys(LinkKeys):
    """The link between a node and the fabric."""


class WanKeys(LinkKeys):
    """The link between two regions. Each region then has its own fabric."""


class HostKeys(_Keys):
    """A VM host."""

    name: Name | None = Field(None, description="default: h1, h2, ...")
    dataplane: Dataplane | None = Field(None, description="default: the file's dataplane")
    batch: BatchKeys | None = Field(None, description="default: the file's batch")
    uplink: UplinkKeys | None = Field(None, description="properties of the link to the fabric; default: none")
    region: Name | None = Field(None, description="default: hosts without a region share one")
    program: Program = Field(
        "ours",
        description="who programs the switch: ours, or external, your own OpenFlow controller (docs/external.md)",
    )
    controller: Controller | None = Field(
        None, description="address of an external program: tcp:HOST:PORT or unix:/PATH"
    )


class CapacityKeys(_Keys):
    """Limits for packets that a Hoverboard takes from the fabric; it drops what exceeds them."""

    pps: Annotated[StrictInt, Field(ge=1, le=1_000_000_000)] | None = Field(None, description="packets per second")
    bps: Rate | None = Field(None, description="bits per second, such as 100mbit")


class HoverboardKeys(_Keys):
    """A Hoverboard."""

    name: Name | None = Field(None, description="default: hv1, hv2, ...")
    dataplane: Dataplane | None = Field(
        None, description="default: the file's dataplane, or the nearest one that can relay"
    )
    batch: BatchKeys | None = Field(None, description="default: the file's batch")
    uplink: UplinkKeys | None = Field(None, description="properties of the link to the fabric; default: none")
    region: Name | None = Field(None, description="with `wan`: the region of the Hoverboard")
    capacity: CapacityKeys | None = Field(None, description="default: no limit")


class VMKeys(_Keys):
    """A virtual machine."""

    name: Name | None = Field(None, description="default: NETWORK-1, NETWORK-2, ...")
    host: str | None = Field(None, description="name of its VM host; default: the hosts take turns")
    ip: Address | None = Field(None, description="default: the first free address")
    ip6: Address6 | None = Field(
        None, description="default: the first free address of subnet6, if there is one; false: IPv6 is off"
    )
    tags: list[Name] = Field(default_factory=list, description="for firewall rules")
    rate: Rate | None = Field(
        None, description="most bits per second that it sends, such as 100mbit; default: its network's rate"
    )
    external_ip: Reserved = Field(None, description="reserved")


class NetworkKeys(_Keys):
    """A virtual network. Two networks may use the same addresses."""

    name: Name
    vni: Annotated[StrictInt, Field(ge=1, le=MAX_VNI)] = Field(
        description="virtual network identifier, 24 bits, unique"
    )
    subnet: Prefix | None = Field(None, description="IPv4 addresses for the VMs, such as 10.0.0.0/24")
    subnets: list[Prefix] | None = Field(None, min_length=1, description="several subnets, instead of `subnet`")
    gateway: Address | None = Field(
        None, description="default: the first address of `subnet`; works only with `subnet`"
    )
    subnet6: Prefix6 | None = Field(
        None, description="IPv6 addresses for the VMs, such as fd00:7::/64; works only with `subnet`"
    )
    rate: Rate | None = Field(
        None, description="most bits per second that each VM sends, such as 100mbit; default: no limit"
    )
    firewall: FirewallKeys = Field(
        default_factory=lambda: FirewallKeys.model_validate({}), description="default: all packets are allowed"
    )
    load_balancers: list[BalancerKeys] = Field(default_factory=list, description="addresses that VMs share")
    routes: list[RouteKeys] = Field(default_factory=list, description="prefixes for which a VM is the next hop")
    vms: Annotated[
        Annotated[Annotated[StrictInt, Field(ge=0, le=100_000)], Tag("<count>")]
        | Annotated[list[VMKeys], Tag("<list>")],
        Discriminator(_count_or_list),
    ] = Field(0, description="VMs of the network: how many, or a list")


class StageKeys(_Keys):
    """A coprocessor stage with its configuration and the flows that it handles (docs/coprocessors.md)."""

    stage: Annotated[str, Field(min_length=1)] = Field(
        description="name of a stage, or FILE.py[:Class], relative to this file"
    )
    config: dict[str, Any] = Field(default_factory=dict, description="keys of the stage")
    when: When = Field(default_factory=When, description="default: every flow")


class OffloadKeys(_Keys):
    """The offload policy (docs/models.md)."""

    policy: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="FILE.py:Class, relative to this file; default: the built-in policy"
    )
    keep: Rate = Field(
        0, description="an offload is idle when it sends less than this rate; lower than offload_threshold"
    )
    min_lifetime: Seconds = Field(
        2.0, description="seconds for which a new offload is safe from a VM pair that sends more"
    )
    idle_expiry: Seconds = Field(30.0, description="seconds after which an idle offload ends")
    budget: Annotated[StrictInt, Field(ge=0)] = Field(
        0, description="most offloads of a host, largest first; 0: no limit"
    )
    reports: Literal["hosts", "hoverboards"] = Field(
        "hosts", description="who sends usage reports; in the paper: hosts"
    )


class TopologyKeys(_Keys):
    """A topology of the Hoverboard testbed."""

    name: Name | None = Field(None, description="default: the file's name")
    hosts: Annotated[
        Annotated[Annotated[StrictInt, Field(ge=1, le=MAX_HOSTS)], Tag("<count>")]
        | Annotated[Annotated[list[HostKeys], Field(min_length=1, max_length=MAX_HOSTS)], Tag("<list>")],
        Discriminator(_count_or_list),
        FixedKey(),
    ] = Field(description="VM hosts: how many, or a list")
    hoverboards: Annotated[
        Annotated[Annotated[StrictInt, Field(ge=0, le=MAX_HOVERBOARDS)], Tag("<count>")]
        | Annotated[Annotated[list[HoverboardKeys], Field(max_length=MAX_HOVERBOARDS)], Tag("<list>")],
        Discriminator(_count_or_list),
        FixedKey(),
    ] = Field(1, description="how many, or a list")
    model: Annotated[Model, FixedKey(step="use `hoverboard model set MODEL`")] = Field(
        DEFAULT_MODEL, description="name of a programming model, or FILE.py:Class, relative to this file"
    )
    dataplane: Annotated[Dataplane, FixedKey("hosts")] = Field(
        "fastpath", description="dataplane generation of hosts and Hoverboards that do not name one"
    )
    scheduling: Annotated[Scheduling, FixedKey()] = Field(
        "adaptive", description="how engines of the fast path get a CPU (docs/dataplane.md)"
    )
    batch: Annotated[BatchKeys, FixedKey("hosts")] = Field(
        default_factory=BatchKeys, description="batch sizes of hosts and Hoverboards that do not give their own"
    )
    vm_priority: Annotated[StrictBool, FixedKey()] = Field(
        True, description="engines serve the VM first that used them least; false: in order of arrival"
    )
    offload_threshold: Rate = Field(20_000, description="a VM pair that sends more than this rate is offloaded")
    report_interval: Annotated[Seconds, FixedKey()] = Field(
        DEFAULT_REPORT_INTERVAL, description="seconds between usage reports"
    )
    offload_policy: Annotated[
        Annotated[Annotated[str, Field(min_length=1)], Tag("<policy>")] | Annotated[OffloadKeys, Tag("<keys>")],
        Discriminator(_text_or_keys),
        FixedKey("offload.reports", part="reports"),
    ] = Field(default_factory=lambda: OffloadKeys.model_validate({}), description="FILE.py:Class, or settings")
    stages: Annotated[list[StageKeys], FixedKey()] = Field(
        default_factory=list, description="coprocessor stages, in the order for packets to the fabric"
    )
    networks: list[NetworkKeys] = Field(default_factory=list, description="virtual networks with their VMs")
    wan: Annotated[WanKeys | None, FixedKey()] = Field(
        None, description="joins the fabrics of two regions; default: one fabric for all"
    )


def fixed_keys() -> Iterator[tuple[str, str, FixedKey]]:
    """(key, attribute of `Topology`, marker) of each key that cannot change while a run is up, in the file's order."""
    for key, field in TopologyKeys.model_fields.items():
        for marker in field.metadata:
            if isinstance(marker, FixedKey):
                yield f"{key}.{marker.part}" if marker.part else key, marker.becomes or key, marker


def keys_at(path: tuple[str | int, ...]) -> type[BaseModel]:
    """The keys that are allowed at `path`: those of a VM for networks[0].vms[1]."""
    keys: type[BaseModel] = TopologyKeys
    for part in path:
        if isinstance(part, str):
            keys = next(models_in(keys.model_fields[part].annotation))
    return keys


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models of keys in a type such as `list[VMKeys] | int`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)
