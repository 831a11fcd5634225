"""One OpenFlow session: handshake, keep-alive, programs and reads of one switch.

A program is one atomic bundle: the switch first checks every message, and the bundle is committed only if none was
rejected. A slow switch delays only those who wait for its session.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from typing_extensions import override

from controllers.ofe import messages, openflow
from controllers.ofe.switch_interface import SwitchEvents
from controllers.ofe.templates import FlowModEncoder
from controllers.program import Program
from hoverboard.contract.errors import SwitchError
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.openflow.shares import WHOLE, Share

_log = logging.getLogger(__name__)

_CHUNK = 1 << 16  # bytes encoded before other sessions may run: about 3 ms
# Silent seconds before a probe, and before the session ends (Open vSwitch probes after 5).
_SILENCE_PROBE, _SILENCE_END = 10.0, 30.0


class Session(asyncio.Protocol):
    """The front end's side of one connection; a `switch_interface.SwitchSession` as soon as the switch is known.

    Args:
        events: receives the events of the switch: connected, port changed, packet-in, disconnected.
        encoder: shared by all sessions: it only caches templates.
        ended: called once when the connection is over.
        share: the flows that are read.
    """

    def __init__(
        self,
        events: SwitchEvents,
        encoder: FlowModEncoder,
        ended: Callable[[Session], None],
        share: Share = WHOLE,
    ) -> None:
        self.dpid = -1
        self._share = share
        self._events = events
        self._encoder = encoder
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._ports: dict[str, int] = {}
        self._ready = False
        self._xid = 0
        self._bundle = 0
        self._last_received = self._loop.time()
        self._turn = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._writable = asyncio.Event()
        self._writable.set()
        self._barriers: dict[int, asyncio.Future[None]] = {}
        self._rejections: list[tuple[int, str]] | None = None
        self._foreign: list[messages.ForeignFlow] = []
        self._read: tuple[int, list[Flow], asyncio.Future[list[Flow]]] | None = None

    # --- asyncio.Protocol -------------------------------------------------------------------------

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(openflow.hello(self._next_xid()))

    @override
    def data_received(self, data: bytes) -> None:
        self._last_received = self._loop.time()
        self._buffer += data
        try:
            received = [openflow.parse(raw) for raw in self._messages()]
        except (ValueError, IndexError, AssertionError) as fault:
            _log.warning("switch %#x: not OpenFlow 1.4: %s; closing the session", self.dpid, fault)
            self.close()
            return
        for xid, message in received:
            self._handle(xid, message)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        gone = SwitchError(
            "the switch disconnected",
            where=f"switch {self.dpid:#x}",
            next_step="it is programmed when it reconnects",
        )
        for waiting in (*self._barriers.values(), *(() if self._read is None else (self._read[2],))):
            if not waiting.done():
                waiting.set_exception(gone)
        self._barriers.clear()
        self._writable.set()
        self._transport = None
        self._ended(self)
        if self._ready:
            self._ready = False
            self._events.switch_disconnected(self)

    @override
    def pause_writing(self) -> None:
        self._writable.clear()

    @override
    def resume_writing(self) -> None:
        self._writable.set()

    # --- switch_interface.SwitchSession -------------------------------------------------------------------

    async def send(self, program: Program) -> None:
        """Apply a program as one atomic change (see `switch_interface.SwitchSession`)."""
        async with self._turn:
            self._bundle += 1
            bundle = self._bundle
            rejections: list[tuple[int, str]] = []
            self._rejections = rejections
            try:
                first = self._write(openflow.bundle_open, bundle)
                origin = await self._write_flow_mods(bundle, program)
                await self._barrier()
                if not rejections:
                    self._write(openflow.bundle_commit, bundle)  # tour: vm 10
                    await self._barrier()
                elif all(xid != first for xid, _ in rejections):
                    self._write(openflow.bundle_discard, bundle)
            finally:
                self._rejections = None
            if rejections:
                xid, reason = rejections[0]
                raise SwitchError(
                    f"rejected {len(rejections)} of {len(program)} flow changes; the first: {reason}",
                    where=f"switch {self.dpid:#x}, {_named(program, xid - origin)}",
                    next_step="nothing of the program was applied; the switch is read again, and the program retried",
                )

    async def dump(self) -> list[Flow]:
        """All flows of the switch (see `switch_interface.SwitchSession`)."""
        async with self._reading:
            # The switch answers in order: the next request need not wait for this answer.
            async with self._turn:
                answer: asyncio.Future[list[Flow]] = self._loop.create_future()
                xid = self._write(openflow.flows_request, self._share)
                self._read, self._foreign = (xid, [], answer), []
            try:
                flows = await answer
            finally:
                self._read = None
            async with self._turn:
                await self._evict_foreign()
            return flows

    def packet_out(self, in_port: int, frame: bytes) -> None:
        """Send a packet through the tables (see `switch_interface.SwitchSession`)."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(openflow.packet_out(self._next_xid(), in_port, frame))

    def close(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def check_alive(self, now: float) -> None:
        """Probe a silent switch; end its session if it stays silent for too long."""
        silence = now - self._last_received
        if silence > _SILENCE_END:
            _log.warning("switch %#x has been silent for %.0f s; closing the session", self.dpid, silence)
            self.close()
        elif silence > _SILENCE_PROBE and self._transport is not None:
            self._write(openflow.echo_request)

    async def _evict_foreign(self) -> None:
        """Delete foreign flows from the tables: they could lead packets past the pipeline."""
        if self._foreign:
            _log.warning(
                "switch %#x held %d foreign flows; deleted them; the first: %s",
                self.dpid, len(self._foreign), self._foreign[0].text,
            )  # fmt: skip
            for foreign in self._foreign:
                self._writer().write(foreign.delete)
            self._foreign = []
            await self._barrier()

    # --- writing ----------------------------------------------------------------------------------

    def _next_xid(self) -> int:
        self._xid = (self._xid + 1) & 0xFFFFFFFF
        return self._xid

    def _write(self, make: Callable[..., bytes], *args: object) -> int:
        xid = self._next_xid()
        self._writer().write(make(xid, *args))
        return xid

    def _writer(self) -> asyncio.Transport:
        if self._transport is None or self._transport.is_closing():
            raise SwitchError("the switch is not connected", where=f"switch {self.dpid:#x}")
        return self._transport

    async def _write_flow_mods(self, bundle: int, program: Program) -> int:
        """Write the program's messages; return the xid of the first."""
        origin = self._next_xid()
        pieces: list[bytes] = []
        size = 0
        for piece, count in self._encoder.bundle(program, origin, bundle):
            pieces.append(piece)
            size += len(piece)
            self._xid = (self._xid + count) & 0xFFFFFFFF
            if size >= _CHUNK:
                self._writer().write(b"".join(pieces))
                pieces.clear()
                size = 0
                await asyncio.sleep(0)  # lets other sessions run
                await self._writable.wait()
        self._writer().write(b"".join(pieces))
        return origin

    async def _barrier(self) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        xid = self._write(openflow.barrier_request)
        self._barriers[xid] = done
        await done

    # --- reading ----------------------------------------------------------------------------------

    def _messages(self) -> Iterator[bytes]:
        buffer, start = self._buffer, 0
        try:
            while len(buffer) - start >= openflow.HEADER.size:
                length = int.from_bytes(buffer[start + 2 : start + 4], "big")
                if length < openflow.HEADER.size:
                    raise ValueError(f"a message of {length} bytes")
                if len(buffer) - start < length:
                    return
                message = bytes(buffer[start : start + length])
                start += length
                yield message
        finally:
            del buffer[:start]

    def _handle(self, xid: int, message: messages.SwitchMessage) -> None:
        match message:
            case messages.Hello(versions):
                self._agree(versions)
            case messages.EchoRequest(data):
                self._writer().write(openflow.echo_reply(xid, data))
            case messages.Features(dpid):
                self.dpid = dpid
                self._write(openflow.ports_request)
            case messages.Ports(ports, more):
                self._ports.update(ports)
                if not more and not self._ready:
                    self._ready = True
                    self._events.switch_connected(self, dict(self._ports))
            case messages.PortStatus(name, port):
                if self._ready:
                    self._events.port_changed(self, name, port)
            case messages.PacketIn():
                if self._ready:
                    self._events.packet_in(self, message)
            case messages.Flows():
                self._handle_flows(xid, message)
            case messages.Barrier():
                done = self._barriers.pop(xid, None)
                if done is not None and not done.done():
                    done.set_result(None)
            case messages.Rejection(reason):
                self._rejected(xid, reason)
            case _:
                pass

    def _agree(self, versions: tuple[int, ...]) -> None:
        if openflow.VERSION not in versions:
            _log.error(
                "a switch offers OpenFlow wire versions %s, but not 5 (1.4): set the bridge's protocols=OpenFlow14",
                list(versions),
            )
            self.close()
            return
        self._write(openflow.features_request)

    def _handle_flows(self, xid: int, message: messages.Flows) -> None:
        if self._read is None or self._read[0] != xid:
            return
        _, flows, answer = self._read
        flows.extend(message.flows)
        self._foreign.extend(message.foreign)
        if not message.more and not answer.done():
            answer.set_result(flows)

    def _rejected(self, xid: int, reason: str) -> None:
        if self._read is not None and self._read[0] == xid:
            _, _, answer = self._read
            if not answer.done():
                answer.set_exception(
                    SwitchError(f"rejected the request for its flows: {reason}", where=f"switch {self.dpid:#x}")
                )
        elif self._rejections is not None:
            self._rejections.append((xid, reason))
        else:
            _log.warning("switch %#x: %s (message %d)", self.dpid, reason, xid)


def _named(program: Program, index: int) -> str:
    """A description of the message at `index` of a program."""
    if 0 <= index < len(program.deletes):
        return f"deleting {program.deletes[index]}"
    index -= len(program.deletes)
    return f"adding {program.adds[index]}" if 0 <= index < len(program.adds) else "bundle"
