"""OpenFlow messages; only this module knows os-ken (paper section 3.1; OpenFlow 1.4).

Flows to flow-mod bytes and back, bundles, and the other messages that a front end needs; no sockets. For speed, two
things do not use os-ken: `ofe.templates` encodes most flow-mods, and this module decodes the match of a listed flow.
Unit tests compare both with os-ken's results.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import os_ken.base.app_manager  # noqa: F401  (first, because os-ken's modules import each other in a circle)
from os_ken.lib import type_desc
from os_ken.ofproto import ofproto_parser, ofproto_protocol, oxm_fields
from os_ken.ofproto import ofproto_v1_4 as ofp
from os_ken.ofproto import ofproto_v1_4_parser as parser

from controllers.ofe import messages
from hoverboard.contract.openflow.flow import (
    CONTROLLER,
    FIELDS,
    Action,
    Flow,
    Goto,
    Match,
    Move,
    Output,
    SetField,
)
from hoverboard.contract.openflow.shares import WHOLE, Share


class _OpenVSwitchField(oxm_fields._OxmClass):
    """Fields of the class that Open vSwitch 2.11 and later use for neighbour discovery; os-ken does not know them."""

    _class = 0x1000


if "nd_options_type" not in {field.name for field in ofp.oxm_types}:
    ofp.oxm_types += [
        _OpenVSwitchField("nd_reserved", 1, type_desc.Int4),
        _OpenVSwitchField("nd_options_type", 2, type_desc.Int1),
    ]
    oxm_fields.generate(ofp.__name__)

HEADER = struct.Struct("!BBHI")  # version, type, length, xid
_MULTIPART = struct.Struct("!BBHIHHxxxx")  # header, type of multipart, flags
_ACTIONS_REMEMBERED = 50_000
VERSION: int = ofp.OFP_VERSION

_DESC: Any = ofproto_protocol.ProtocolDesc(version=VERSION)
_BUNDLE_FLAGS: int = ofp.OFPBF_ATOMIC | ofp.OFPBF_ORDERED
_ADD: int = ofp.OFPFC_ADD
_DELETE: int = ofp.OFPFC_DELETE_STRICT


class UndecodableFlow(ValueError):
    """A flow in a switch that our flow type cannot express: another program installed it."""


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
                # The controller needs all bytes of a packet: it sends the packet on.
                applied.append(parser.OFPActionOutput(port, ofp.OFPCML_NO_BUFFER if port == CONTROLLER else 0))
            case Goto(table):
                rest.append(parser.OFPInstructionGotoTable(table))
        if rest and isinstance(action, SetField | Move | Output):
            raise ValueError(f"{action}: actions come before goto, as a switch executes them")
    return ([parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, applied)] if applied else []) + rest


def serialize_flow_mod(delete: bool, flow: Flow, mask: int = 0) -> bytes:
    """A flow-mod, xid 0, that adds or replaces a flow, or deletes the flow of its key (and cookie, by `mask`)."""
    message = parser.OFPFlowMod(
        _DESC, cookie=flow.cookie, cookie_mask=mask if delete else 0, table_id=flow.table,
        command=_DELETE if delete else _ADD, priority=flow.priority,
        out_port=ofp.OFPP_ANY, out_group=ofp.OFPG_ANY, flags=0, match=_oxm(flow.match),
        instructions=_instructions(flow.actions),
    )  # fmt: skip
    return _serialize(message, 0)


def _serialize(message: Any, xid: int) -> bytes:
    message.set_xid(xid)
    message.serialize()
    return bytes(message.buf)


def _integer(field: str, value: Any) -> int:
    """A field's value in os-ken's form ("10.0.0.1", "02:00:...") as an integer."""
    if isinstance(value, int):
        return value
    size = (FIELDS[field].bits + 7) // 8
    raw = ofp.oxm_from_user(field, value)[1]
    return int.from_bytes(raw.rjust(size, b"\0"), "big")


def _decode_match(raw: bytes) -> tuple[Match, ...]:
    """The match fields in OXM bytes without padding."""
    decoded, at = [], 0
    while at < len(raw):
        header = int.from_bytes(raw[at : at + 4], "big")
        end = at + 4 + (header & 0xFF)
        known = _OXM.get(header)
        if known is None:
            raise UndecodableFlow(f"match field with OXM header {header:#010x}")
        field, size, masked = known
        value = int.from_bytes(raw[at + 4 : at + 4 + size], "big")
        decoded.append(Match(field, value, int.from_bytes(raw[at + 4 + size : end], "big") if masked else None))
        at = end
    decoded.sort()
    return tuple(decoded)


def _oxm_headers() -> dict[int, tuple[str, int, bool]]:
    """OXM header -> (os-ken's field name, bytes of its value, whether a mask follows)."""
    headers = {}
    for field, (_, bits) in FIELDS.items():
        size = (bits + 7) // 8
        number = ofp.oxm_from_user_header(field)
        raw = bytearray()
        ofp.oxm_serialize_header(number, raw, 0)
        plain = int.from_bytes(raw[:4], "big")
        headers[plain] = (field, size, False)
        # Bit 8 says that a mask as long as the value follows.
        headers[plain & 0xFFFFFF00 | 0x100 | size * 2] = (field, size, True)
    return headers


_OXM = _oxm_headers()


def _decode_action(action: Any) -> Action:
    match action:
        case parser.OFPActionSetField() if action.key in FIELDS:
            return SetField(action.key, _integer(action.key, action.value))
        case parser.NXActionRegMove() if action.src_ofs == action.dst_ofs == 0:
            # Open vSwitch answers with the older of a field's two headers; os-ken's name of it ends in _nxm.
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
        case parser.OFPInstructionGotoTable():
            return [Goto(instruction.table_id)]
        case _:
            raise UndecodableFlow(f"instruction {instruction}")


_STATS = struct.Struct("!HBxIIHHHHHxxQQQ")  # struct ofp_flow_stats up to its match
_actions_seen: dict[bytes, tuple[Action, ...]] = {}


def _decode_actions(raw: bytes) -> tuple[Action, ...]:
    """The actions in instruction bytes; cached, because many flows of a switch share them."""
    actions = _actions_seen.get(raw)
    if actions is None:
        decoded: list[Action] = []
        at = 0
        while at < len(raw):
            instruction = parser.OFPInstruction.parser(raw, at)
            decoded += _decode_instruction(instruction)
            at += instruction.len
        if len(_actions_seen) > _ACTIONS_REMEMBERED:
            _actions_seen.clear()
        actions = _actions_seen[raw] = tuple(decoded)
    return actions


def decode_flows(body: bytes) -> tuple[list[Flow], list[messages.ForeignFlow]]:
    """The flows in the body of a flow-stats reply: ours, and those that our flow type cannot express."""
    flows: list[Flow] = []
    foreign: list[messages.ForeignFlow] = []
    at = 0
    while at < len(body):
        length, table, _, _, priority, _, _, _, _, cookie, _, _ = _STATS.unpack_from(body, at)
        match_at = at + _STATS.size
        match_length = int.from_bytes(body[match_at + 2 : match_at + 4], "big")
        actions_at = match_at + (match_length + 7) // 8 * 8
        try:
            match = _decode_match(body[match_at + 4 : match_at + match_length])
            actions = _decode_actions(body[actions_at : at + length])
            flows.append(Flow(table, priority, match, actions, cookie))
        except UndecodableFlow as fault:
            foreign.append(_foreign(parser.OFPFlowStats.parser(body, at), str(fault)))
        at += length
    return flows, foreign


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


def flows_request(xid: int, share: Share = WHOLE) -> bytes:
    """OFPMP_FLOW request for the flows of a share, in all tables."""
    return _serialize(parser.OFPFlowStatsRequest(_DESC, 0, ofp.OFPTT_ALL, ofp.OFPP_ANY, ofp.OFPG_ANY, *share), xid)


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
    """Discard an open bundle."""
    return _serialize(parser.OFPBundleCtrlMsg(_DESC, bundle, ofp.OFPBCT_DISCARD_REQUEST, _BUNDLE_FLAGS, []), xid)


def packet_out(xid: int, in_port: int, frame: bytes) -> bytes:
    """OFPT_PACKET_OUT: sends a frame through the tables as if it came in by `in_port`."""
    actions = [parser.OFPActionOutput(ofp.OFPP_TABLE, 0)]
    message = parser.OFPPacketOut(_DESC, ofp.OFP_NO_BUFFER, in_port, actions, frame)
    return _serialize(message, xid)


_BUNDLE_ADD = struct.Struct("!BBHIIHH")  # header, bundle id, pad and flags; the message follows


def bundle_add(xid: int, bundle: int, flow_mod: bytes) -> bytes:
    """Put a flow-mod, as `FlowModEncoder` makes it, into a bundle."""
    head = _BUNDLE_ADD.pack(
        VERSION, ofp.OFPT_BUNDLE_ADD_MESSAGE, _BUNDLE_ADD.size + len(flow_mod), xid, bundle, 0, _BUNDLE_FLAGS
    )
    # The message inside a bundle must carry the xid of the message around it (OpenFlow 1.4, 7.3.9.6).
    return head + flow_mod[:4] + xid.to_bytes(4, "big") + flow_mod[8:]


# --- messages of switches ---------------------------------------------------------------------------


def parse(raw: bytes) -> tuple[int, messages.SwitchMessage]:
    """(xid, meaning) of one complete message.

    Raises:
        ValueError: not a message of OpenFlow 1.4.
    """
    version, kind, length, xid = HEADER.unpack_from(raw)
    if kind == ofp.OFPT_HELLO:
        return xid, messages.Hello(_hello_versions(version, raw))
    if version != VERSION:
        raise ValueError(f"OpenFlow version {version} where {VERSION} was agreed on")
    if kind == ofp.OFPT_ECHO_REQUEST:
        return xid, messages.EchoRequest(raw[HEADER.size :])
    if kind == ofp.OFPT_ECHO_REPLY:
        return xid, messages.EchoReply()
    if kind == ofp.OFPT_BARRIER_REPLY:
        return xid, messages.Barrier()
    if kind == ofp.OFPT_BUNDLE_CONTROL:
        return xid, messages.BundleReply()
    if kind == ofp.OFPT_MULTIPART_REPLY and _MULTIPART.unpack_from(raw)[4] == ofp.OFPMP_FLOW:
        more = bool(_MULTIPART.unpack_from(raw)[5] & ofp.OFPMPF_REPLY_MORE)
        flows, foreign = decode_flows(raw[_MULTIPART.size :])
        return xid, messages.Flows(tuple(flows), tuple(foreign), more)
    if kind == ofp.OFPT_PACKET_IN:
        return xid, _packet_in(raw)
    if kind not in (ofp.OFPT_ERROR, ofp.OFPT_FEATURES_REPLY, ofp.OFPT_PORT_STATUS, ofp.OFPT_MULTIPART_REPLY):
        return xid, messages.Other(kind)
    message = ofproto_parser.msg(_DESC, version, kind, length, xid, raw)
    if message is None:
        raise ValueError(f"a message of type {kind} that os-ken cannot parse")
    return xid, _meaning(message)


def _hello_versions(version: int, raw: bytes) -> tuple[int, ...]:
    if version < VERSION:
        return (version,)
    message = parser.OFPHello.parser(_DESC, version, ofp.OFPT_HELLO, len(raw), 0, bytearray(raw))
    bitmaps = [one for one in message.elements if isinstance(one, parser.OFPHelloElemVersionBitmap)]
    return tuple(number for one in bitmaps for number in one.versions) or (version,)


def _meaning(message: Any) -> messages.SwitchMessage:
    match message:
        case parser.OFPErrorMsg():
            return messages.Rejection(_reason(message))
        case parser.OFPSwitchFeatures():
            return messages.Features(message.datapath_id)
        case parser.OFPPortDescStatsReply():
            ports = tuple((_port_name(port), port.port_no) for port in message.body)
            return messages.Ports(ports, bool(message.flags & ofp.OFPMPF_REPLY_MORE))
        case parser.OFPPortStatus():
            gone = message.reason == ofp.OFPPR_DELETE
            return messages.PortStatus(_port_name(message.desc), None if gone else message.desc.port_no)
        case _:
            return messages.Other(message.msg_type)


_PACKET_IN = struct.Struct("!IHBBQ")  # buffer id, length, reason, table, cookie; the match follows


def _packet_in(raw: bytes) -> messages.PacketIn:
    *_, cookie = _PACKET_IN.unpack_from(raw, HEADER.size)
    match_at = HEADER.size + _PACKET_IN.size
    match_length = int.from_bytes(raw[match_at + 2 : match_at + 4], "big")
    fields = {}
    at = match_at + 4
    while at < match_at + match_length:
        header = int.from_bytes(raw[at : at + 4], "big")
        end = at + 4 + (header & 0xFF)
        if header in _OXM:  # the match also has registers and tunnel fields, which are not used here
            name, size, _ = _OXM[header]
            fields[name] = int.from_bytes(raw[at + 4 : at + 4 + size], "big")
        at = end
    data_at = match_at + (match_length + 7) // 8 * 8 + 2
    return messages.PacketIn(fields.get("in_port", 0), cookie, raw[data_at:])


def _foreign(stats: Any, fault: str) -> messages.ForeignFlow:
    delete = parser.OFPFlowMod(
        _DESC, table_id=stats.table_id, command=_DELETE, priority=stats.priority,
        out_port=ofp.OFPP_ANY, out_group=ofp.OFPG_ANY, match=stats.match,
    )  # fmt: skip
    return messages.ForeignFlow(f"table {stats.table_id}, priority {stats.priority}: {fault}", _serialize(delete, 0))


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
