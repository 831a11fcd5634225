"""OpenFlow messages: the one module that knows os-ken (paper section 3.1; OpenFlow 1.4).

Flows to flow-mod bytes and back, bundles, and the few other messages a front end needs; no sockets.
os-ken serializes a flow in about 130 us, so each shape of flow (same fields and actions, other
values) is serialized by os-ken once, and later flows of that shape are copies with the values
patched in: `tests/unit/controllers` holds the two against each other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import os_ken.base.app_manager  # noqa: F401  (first: os-ken's modules import each other in a circle)
from os_ken.ofproto import ofproto_parser, ofproto_protocol
from os_ken.ofproto import ofproto_v1_4 as ofp
from os_ken.ofproto import ofproto_v1_4_parser as parser

from hoverboard.contract.flow import FIELDS, Action, Flow, FlowKey, Goto, Match, Move, Output, SetField, WriteMetadata

HEADER = struct.Struct("!BBHI")  # version, type, length, xid
VERSION: int = ofp.OFP_VERSION

_DESC: Any = ofproto_protocol.ProtocolDesc(version=VERSION)
_BUNDLE_FLAGS: int = ofp.OFPBF_ATOMIC | ofp.OFPBF_ORDERED
_ADD: int = ofp.OFPFC_ADD
_DELETE: int = ofp.OFPFC_DELETE_STRICT


class UndecodableFlow(ValueError):
    """A flow in a switch that our flow type cannot express: somebody else put it there."""


# --- flows to os-ken and back -----------------------------------------------------------------------


def _oxm(matches: Iterable[Match]) -> Any:
    return parser.OFPMatch(**{m.field: m.value if m.mask is None else (m.value, m.mask) for m in matches})


def _instructions(actions: tuple[Action, ...]) -> list[Any]:
    applied: list[Any] = []
    rest: list[Any] = []
    for action in actions:
        match action:
            case SetField(field, value):
                applied.append(parser.OFPActionSetField(**{field: value}))
            case Move(src, dst):
                applied.append(parser.NXActionRegMove(src_field=src, dst_field=dst, n_bits=FIELDS[src].bits))
            case Output(port):
                applied.append(parser.OFPActionOutput(port, 0))
            case WriteMetadata(value):
                rest.append(parser.OFPInstructionWriteMetadata(value, (1 << 64) - 1))
            case Goto(table):
                rest.append(parser.OFPInstructionGotoTable(table))
        if rest and isinstance(action, SetField | Move | Output):
            raise ValueError(f"{action}: actions come before metadata and goto, as a switch executes them")
    return ([parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, applied)] if applied else []) + rest


def _serialize_flow_mod(command: int, flow: Flow) -> bytes:
    message = parser.OFPFlowMod(
        _DESC, cookie=flow.cookie, table_id=flow.table, command=command, priority=flow.priority,
        out_port=ofp.OFPP_ANY, out_group=ofp.OFPG_ANY, flags=0, match=_oxm(flow.match),
        instructions=_instructions(flow.actions),
    )  # fmt: skip
    return _serialize(message, 0)


def _serialize(message: Any, xid: int) -> bytes:
    message.set_xid(xid)
    message.serialize()
    return bytes(message.buf)


def _integer(field: str, value: Any) -> int:
    """A field's value as os-ken's users see it ("10.0.0.1", "02:00:...") as an integer."""
    if isinstance(value, int):
        return value
    size = (FIELDS[field].bits + 7) // 8
    raw = ofp.oxm_from_user(field, value)[1]
    return int.from_bytes(raw.rjust(size, b"\0"), "big")


def _decode_match(match: Any) -> tuple[Match, ...]:
    decoded = []
    for field, value in match.items():
        if field not in FIELDS:
            raise UndecodableFlow(f"match field {field}")
        if isinstance(value, tuple):
            decoded.append(Match(field, _integer(field, value[0]), _integer(field, value[1])))
        else:
            decoded.append(Match(field, _integer(field, value)))
    return tuple(sorted(decoded, key=lambda m: m.field))


def _decode_action(action: Any) -> Action:
    match action:
        case parser.OFPActionSetField() if action.key in FIELDS:
            return SetField(action.key, _integer(action.key, action.value))
        case parser.NXActionRegMove() if action.src_ofs == action.dst_ofs == 0:
            # Open vSwitch answers with the older of a field's two headers, which os-ken calls ..._nxm.
            src, dst = action.src_field.removesuffix("_nxm"), action.dst_field.removesuffix("_nxm")
            if src in FIELDS and dst in FIELDS and action.n_bits == FIELDS[src].bits == FIELDS[dst].bits:
                return Move(src, dst)
        case parser.OFPActionOutput():
            return Output(action.port)
        case _:
            pass
    raise UndecodableFlow(f"action {action}")


def _decode_instruction(instruction: Any) -> list[Action]:
    match instruction:
        case parser.OFPInstructionActions() if instruction.type == ofp.OFPIT_APPLY_ACTIONS:
            return [_decode_action(action) for action in instruction.actions]
        case parser.OFPInstructionWriteMetadata() if instruction.metadata_mask == (1 << 64) - 1:
            return [WriteMetadata(instruction.metadata)]
        case parser.OFPInstructionGotoTable():
            return [Goto(instruction.table_id)]
        case _:
            raise UndecodableFlow(f"instruction {instruction}")


def _decode_stats(stats: Any) -> Flow:
    actions = [action for instruction in stats.instructions for action in _decode_instruction(instruction)]
    return Flow(stats.table_id, stats.priority, _decode_match(stats.match), tuple(actions), stats.cookie)


# --- templates --------------------------------------------------------------------------------------


def _slots(flow: Flow) -> list[tuple[int, int]]:
    """(value, bits) of everything in a flow that may vary within its shape, in a fixed order."""
    slots = [(flow.cookie, 64)]
    for m in flow.match:
        slots.append((m.value, FIELDS[m.field].bits))
    for action in flow.actions:
        match action:
            case SetField(field, value):
                slots.append((value, FIELDS[field].bits))
            case Output(port):
                slots.append((port, 32))
            case WriteMetadata(value):
                slots.append((value, 64))
            case _:
                pass
    return slots


def _with_slots(flow: Flow, values: list[int]) -> Flow:
    """The flow with other values in its slots."""
    rest = iter(values)
    cookie = next(rest)
    match = tuple(m._replace(value=next(rest)) for m in flow.match)
    actions: list[Action] = []
    for action in flow.actions:
        match_action: Action = action
        if isinstance(action, SetField):
            match_action = SetField(action.field, next(rest))
        elif isinstance(action, Output):
            match_action = Output(next(rest))
        elif isinstance(action, WriteMetadata):
            match_action = WriteMetadata(next(rest))
        actions.append(match_action)
    return Flow(flow.table, flow.priority, match, tuple(actions), cookie)


@dataclass(frozen=True, slots=True)
class _Template:
    base: int  # the message with zeros in all slots, as one big integer
    shifts: tuple[int, ...]  # of each slot's lowest bit from the message's end
    size: int


def _make_template(command: int, flow: Flow) -> _Template:
    slots = _slots(flow)
    zeros = [0] * len(slots)
    raw = _serialize_flow_mod(command, _with_slots(flow, zeros))
    base = int.from_bytes(raw, "big")
    shifts = []
    for index, (_, bits) in enumerate(slots):
        probe = list(zeros)
        probe[index] = (1 << bits) - 1
        ones = int.from_bytes(_serialize_flow_mod(command, _with_slots(flow, probe)), "big") ^ base
        shift = (ones & -ones).bit_length() - 1
        if ones != ((1 << bits) - 1) << shift:
            raise ValueError(f"slot {index} of {flow} is not one run of {bits} bits")
        shifts.append(shift)
    return _Template(base, tuple(shifts), len(raw))


class FlowModEncoder:
    """Flow-mods as bytes; remembers one template for each shape."""

    def __init__(self) -> None:
        self._templates: dict[Any, _Template] = {}

    def add(self, flow: Flow) -> bytes:
        """A flow-mod that adds or replaces the flow (xid 0)."""
        return self._encode(_ADD, flow)

    def delete(self, key: FlowKey) -> bytes:
        """A flow-mod that deletes exactly the flow of this key (xid 0)."""
        table, priority, match = key
        return self._encode(_DELETE, Flow(table, priority, match, (), 0))

    def _encode(self, command: int, flow: Flow) -> bytes:
        if any(m.mask is not None for m in flow.match):
            return _serialize_flow_mod(command, flow)  # rare: the pipeline matches whole fields
        shape = (
            command, flow.table, flow.priority, tuple([m.field for m in flow.match]),
            tuple([_action_shape(action) for action in flow.actions]),
        )  # fmt: skip
        template = self._templates.get(shape)
        if template is None:
            template = self._templates[shape] = _make_template(command, flow)
        value = template.base
        for (slot, _), shift in zip(_slots(flow), template.shifts, strict=True):
            value |= slot << shift
        return value.to_bytes(template.size, "big")


def _action_shape(action: Action) -> Any:
    match action:
        case SetField(field, _):
            return field
        case Output() | WriteMetadata():
            return type(action)
        case _:
            return action


# --- messages ---------------------------------------------------------------------------------------


def hello(xid: int) -> bytes:
    """OFPT_HELLO that offers OpenFlow 1.4 only."""
    element = parser.OFPHelloElemVersionBitmap(versions=[VERSION])
    return _serialize(parser.OFPHello(_DESC, [element]), xid)


def features_request(xid: int) -> bytes:
    """OFPT_FEATURES_REQUEST."""
    return _serialize(parser.OFPFeaturesRequest(_DESC), xid)


def ports_request(xid: int) -> bytes:
    """OFPMP_PORT_DESC request."""
    return _serialize(parser.OFPPortDescStatsRequest(_DESC, 0, ofp.OFPP_ANY), xid)


def flows_request(xid: int) -> bytes:
    """OFPMP_FLOW request for all flows of all tables."""
    return _serialize(parser.OFPFlowStatsRequest(_DESC, 0, ofp.OFPTT_ALL, ofp.OFPP_ANY, ofp.OFPG_ANY), xid)


def echo_request(xid: int) -> bytes:
    """OFPT_ECHO_REQUEST without data."""
    return _serialize(parser.OFPEchoRequest(_DESC), xid)


def echo_reply(xid: int, data: bytes) -> bytes:
    """OFPT_ECHO_REPLY with the request's data."""
    return HEADER.pack(VERSION, ofp.OFPT_ECHO_REPLY, HEADER.size + len(data), xid) + data


def barrier_request(xid: int) -> bytes:
    """OFPT_BARRIER_REQUEST."""
    return _serialize(parser.OFPBarrierRequest(_DESC), xid)


def bundle_open(xid: int, bundle: int) -> bytes:
    """Open an atomic, ordered bundle."""
    return _serialize(parser.OFPBundleCtrlMsg(_DESC, bundle, ofp.OFPBCT_OPEN_REQUEST, _BUNDLE_FLAGS, []), xid)


def bundle_commit(xid: int, bundle: int) -> bytes:
    """Commit a bundle."""
    return _serialize(parser.OFPBundleCtrlMsg(_DESC, bundle, ofp.OFPBCT_COMMIT_REQUEST, _BUNDLE_FLAGS, []), xid)


def bundle_discard(xid: int, bundle: int) -> bytes:
    """Throw an open bundle away."""
    return _serialize(parser.OFPBundleCtrlMsg(_DESC, bundle, ofp.OFPBCT_DISCARD_REQUEST, _BUNDLE_FLAGS, []), xid)


_BUNDLE_ADD = struct.Struct("!BBHIIHH")  # header, bundle id, pad and flags; the message follows


def bundle_add(xid: int, bundle: int, flow_mod: bytes) -> bytes:
    """Put a flow-mod, as `FlowModEncoder` makes it, into a bundle."""
    head = _BUNDLE_ADD.pack(
        VERSION, ofp.OFPT_BUNDLE_ADD_MESSAGE, _BUNDLE_ADD.size + len(flow_mod), xid, bundle, 0, _BUNDLE_FLAGS
    )
    # The message inside a bundle must carry the xid of the message around it (OpenFlow 1.4, 7.3.9.6).
    return head + flow_mod[:4] + xid.to_bytes(4, "big") + flow_mod[8:]


# --- what switches say ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """The switch's OpenFlow version (in the header) and the versions it offers."""

    versions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EchoRequest:
    """To be answered with the same data."""

    data: bytes


@dataclass(frozen=True, slots=True)
class EchoReply:
    """The switch is alive."""


@dataclass(frozen=True, slots=True)
class Features:
    """The switch's identity."""

    dpid: int


@dataclass(frozen=True, slots=True)
class Ports:
    """A part of the port description; `more` parts follow."""

    ports: tuple[tuple[str, int], ...]
    more: bool


@dataclass(frozen=True, slots=True)
class PortStatus:
    """A port came or changed (its number) or went (None)."""

    name: str
    port: int | None


@dataclass(frozen=True, slots=True)
class ForeignFlow:
    """A flow that ours cannot express: what it is, and the flow-mod that deletes exactly it."""

    text: str
    delete: bytes


@dataclass(frozen=True, slots=True)
class Flows:
    """A part of the flow table; `more` parts follow."""

    flows: tuple[Flow, ...]
    foreign: tuple[ForeignFlow, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Barrier:
    """Everything before the barrier is done."""


@dataclass(frozen=True, slots=True)
class BundleReply:
    """The answer to opening or committing a bundle."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An OFPT_ERROR, in words."""

    reason: str


@dataclass(frozen=True, slots=True)
class Other:
    """A message that a front end has no use for."""

    type: int


Said = (
    Hello | EchoRequest | EchoReply | Features | Ports | PortStatus | Flows | Barrier | BundleReply | Refusal | Other
)


def parse(raw: bytes) -> tuple[int, Said]:
    """(xid, meaning) of one complete message.

    Raises:
        ValueError: not a message of OpenFlow 1.4.
    """
    version, kind, length, xid = HEADER.unpack_from(raw)
    if kind == ofp.OFPT_HELLO:
        return xid, Hello(_hello_versions(version, raw))
    if version != VERSION:
        raise ValueError(f"OpenFlow version {version} where {VERSION} was agreed on")
    if kind == ofp.OFPT_ECHO_REQUEST:
        return xid, EchoRequest(raw[HEADER.size :])
    if kind == ofp.OFPT_ECHO_REPLY:
        return xid, EchoReply()
    if kind == ofp.OFPT_BARRIER_REPLY:
        return xid, Barrier()
    if kind == ofp.OFPT_BUNDLE_CONTROL:
        return xid, BundleReply()
    if kind not in (ofp.OFPT_ERROR, ofp.OFPT_FEATURES_REPLY, ofp.OFPT_PORT_STATUS, ofp.OFPT_MULTIPART_REPLY):
        return xid, Other(kind)
    message = ofproto_parser.msg(_DESC, version, kind, length, xid, raw)
    if message is None:
        raise ValueError(f"a message of type {kind} that os-ken cannot parse")
    return xid, _meaning(message)


def _hello_versions(version: int, raw: bytes) -> tuple[int, ...]:
    if version < VERSION:
        return (version,)
    message = parser.OFPHello.parser(_DESC, version, ofp.OFPT_HELLO, len(raw), 0, bytearray(raw))
    bitmap = [number for element in message.elements for number in getattr(element, "versions", [])]
    return tuple(bitmap) or (version,)


def _meaning(message: Any) -> Said:
    more = bool(getattr(message, "flags", 0) & ofp.OFPMPF_REPLY_MORE)
    match message:
        case parser.OFPErrorMsg():
            return Refusal(_reason(message))
        case parser.OFPSwitchFeatures():
            return Features(message.datapath_id)
        case parser.OFPPortDescStatsReply():
            return Ports(tuple((_port_name(port), port.port_no) for port in message.body), more)
        case parser.OFPPortStatus():
            gone = message.reason == ofp.OFPPR_DELETE
            return PortStatus(_port_name(message.desc), None if gone else message.desc.port_no)
        case parser.OFPFlowStatsReply():
            flows, foreign = [], []
            for stats in message.body:
                try:
                    flows.append(_decode_stats(stats))
                except UndecodableFlow as fault:
                    foreign.append(_foreign(stats, str(fault)))
            return Flows(tuple(flows), tuple(foreign), more)
        case _:
            return Other(message.msg_type)


def _foreign(stats: Any, fault: str) -> ForeignFlow:
    delete = parser.OFPFlowMod(
        _DESC, table_id=stats.table_id, command=_DELETE, priority=stats.priority,
        out_port=ofp.OFPP_ANY, out_group=ofp.OFPG_ANY, match=stats.match,
    )  # fmt: skip
    return ForeignFlow(f"table {stats.table_id}, priority {stats.priority}: {fault}", _serialize(delete, 0))


def _port_name(port: Any) -> str:
    name = port.name
    return name.decode(errors="replace").rstrip("\0") if isinstance(name, bytes) else str(name)


def _reason(message: Any) -> str:
    try:
        kind: str = ofp.ofp_error_type_to_str(message.type)
        code: str = ofp.ofp_error_code_to_str(message.type, message.code)
    except (AttributeError, KeyError):
        return f"error type {message.type}, code {message.code}"
    return f"{kind.split('(')[0]} {code.split('(')[0]}"
