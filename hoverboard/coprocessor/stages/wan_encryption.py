"""WAN encryption: encrypts a VM's packets to other hosts with ESP (paper section 4.4).

One stage serves both directions of one VM: it seals egress packets, opens ingress packets, and rejects packets that are
not genuine. Each key is derived from the cluster's secret, the pair of hosts, the network and the SPI, so hosts need
not exchange keys. An SPI is an epoch and the number of the sending VM on its host.

A stage may lose its state safely. Sequence numbers begin at the nanoseconds since boot and never go back, across
epochs, restarts of the stage and restarts of the host process. So no nonce is used twice. A receiver without state
rejects sequence numbers that are older than an epoch can last. A machine that slept ends its epochs when it wakes up.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from cryptography.exceptions import InvalidTag
from pydantic import Field
from typing_extensions import override

from hoverboard.contract.errors import InputError
from hoverboard.coprocessor import esp
from hoverboard.coprocessor.esp import Cipher, ReplayWindow
from hoverboard.coprocessor.stage import PLAIN_VNET, ConfiguredStage, Packet, StageConfig

NOT_IP, NO_PEER, TOO_LONG = "esp-not-ip", "esp-no-peer", "esp-too-long"
PLAIN, MALFORMED, WRONG_TAG = "esp-plain", "esp-malformed", "esp-wrong-tag"
REPLAYED, STALE = "esp-replayed", "esp-stale-epoch"

_SECRET_LEAST = 16
_LINKS_MAX = 4096  # remote VMs that are stored; there are few, and only genuine packets add one
_SECOND = 10**9


class Rotation(StageConfig):
    """The limits of an epoch: at the first one that is reached, a new epoch begins, with a new key."""

    packets: Annotated[int, Field(ge=1, le=1 << 32)] = 1 << 24
    bytes: Annotated[int, Field(ge=1)] = 1 << 36  # RFC 9001 puts the limit of a key far above that
    seconds: Annotated[float, Field(gt=0)] = 3600


class EncryptionConfig(StageConfig):
    """Keys of the configuration.

    Attributes:
        key_bits: length of the AES key.
        window: how far a late packet's sequence number may be behind the highest one.
        require: whether an ingress packet that is not ESP is dropped.
        rotation: when keys change.
        grace_seconds: how long a packet may take from one host to another.
    """

    key_bits: Literal[128, 256] = 128
    window: Annotated[int, Field(ge=32, le=65536)] = 1024
    require: bool = True
    rotation: Rotation = Rotation()
    grace_seconds: Annotated[float, Field(ge=0)] = 60


# Peer, VNI, bits of the key. For a relayed packet, the two inner addresses replace the peer.
CipherKey = tuple[int | bytes, int, int]


@dataclass
class Sending:
    """The sender state of a VM; kept when the stage is restarted, and shared by all encryption rules of the VM.

    Two counters under one SPI, and so under one key, would use nonces twice.
    """

    epoch: int
    spi: int = 0
    sequence: int = 0  # the last one used, under any key
    packets: int = 0  # of this epoch
    bytes: int = 0
    until: int = 0  # nanoseconds of the boot clock
    ciphers: dict[CipherKey, Cipher] = field(default_factory=dict)


@dataclass
class Epoch:
    """One key of a remote VM, with the sequence numbers received under it."""

    spi: int
    cipher: Cipher
    window: ReplayWindow


@dataclass
class Link:
    """The receiver state for one remote VM: its current and its previous epoch."""

    current: Epoch
    previous: Epoch | None = None


# Peer, VNI, number of the remote VM on its host, bits of the key. The peer is an integer, because hashing an
# IPv4Address is slow. For a relayed packet, the two inner addresses replace the peer.
LinkKey = tuple[int | bytes, int, int, int]


class WanEncryption(ConfiguredStage[EncryptionConfig]):
    """Seals egress packets and opens ingress packets."""

    name = "wan-encryption"
    Config = EncryptionConfig

    @override
    def setup(self) -> None:
        if len(self.context.secret) < _SECRET_LEAST:
            raise InputError(
                f"no secret of at least {_SECRET_LEAST} bytes to derive keys from",
                where=f"stage {self.name}",
                next_step="give all hosts of the cluster the same random secret",
            )
        kept = self.context.kept
        self._out: Sending = kept.setdefault("sending", Sending(epoch=self.context.boot_clock() // _SECOND))
        self._links: OrderedDict[LinkKey, Link] = kept.setdefault("links", OrderedDict())
        self._now = 0  # of the batch, in nanoseconds since boot
        # The old frame of the last packet: memory for the next packet.
        self._spare: bytearray | None = None
        self._counts = {"sealed": 0, "opened": 0, "epochs": 0, "epochs_heard": 0}

    def statistics(self) -> dict[str, Any]:
        """Packets sealed and opened, epochs begun and received, remote VMs, the SPI in use."""
        return {**self._counts, "remote_vms": len(self._links), "spi": f"{self._out.spi:#010x}"}

    def process(self, batch: list[Packet]) -> list[Packet]:
        """Seal or open each packet; a packet for which this fails is dropped with a reason."""
        self._now = self.context.boot_clock()
        return [
            packet for packet in batch if (self._seal(packet) if packet.direction == "egress" else self._open(packet))
        ]

    # --- egress ---

    def _seal(self, packet: Packet) -> bool:
        out, rotation = self._out, self.config.rotation
        if packet.peer is None:
            packet.drop(NO_PEER)
            return False
        if len(packet.frame) > esp.FRAME_MAX:
            packet.drop(TOO_LONG)
            return False
        if out.packets >= rotation.packets or out.bytes >= rotation.bytes or not out.spi or self._now >= out.until:
            self._next_epoch()
        who = esp.addresses(packet.frame) if packet.relayed else int(packet.peer)
        pair = (who, packet.vni, self.config.key_bits)
        cipher = out.ciphers.get(pair)
        if cipher is None:
            cipher = self._cipher(self.context.local.packed + packet.peer.packed, packet, out.spi)
            out.ciphers[pair] = cipher
        # Count the nonce before it is used: after a failure it must not be used again.
        out.sequence += 1
        out.packets += 1
        out.bytes += len(packet.frame)
        spare, self._spare = self._spare, None
        sealed = esp.seal(packet.frame, packet.vnet, cipher, out.spi, out.sequence, spare)
        if sealed is None:
            packet.drop(NOT_IP)
            return False
        packet.frame, packet.vnet, self._spare = sealed, PLAIN_VNET, packet.frame
        self._counts["sealed"] += 1
        return True

    def _next_epoch(self) -> None:
        out = self._out
        # 15 bits and a set top bit: an SPI is never one of the reserved ones below 256 (RFC 4303 section 2.1).
        out.epoch = (out.epoch + 1) & 0x7FFF
        out.spi = 1 << 31 | out.epoch << 16 | self.context.number & 0xFFFF
        out.sequence = max(out.sequence, self._now)
        out.packets = out.bytes = 0
        out.until = self._now + int(self.config.rotation.seconds * _SECOND)
        out.ciphers.clear()
        self._counts["epochs"] += 1

    def _cipher(self, hosts: bytes, packet: Packet, spi: int) -> Cipher:
        """The cipher of a pair of hosts; of a pair of VMs if a Hoverboard hides one host.

        No other VM has that address in that network, so no nonce is used twice under such a key either.
        """
        ends, name = (esp.addresses(packet.frame), f"{self.name} relayed") if packet.relayed else (hosts, self.name)
        return Cipher(esp.key_material(self.context.secret, ends, spi, packet.vni, self.config.key_bits, name))

    # --- ingress ---

    def _open(self, packet: Packet) -> bool:
        if packet.peer is None:
            packet.drop(NO_PEER)
            return False
        header = esp.header_of(packet.frame)
        if header is None:
            if self.config.require:
                packet.drop(PLAIN)
            return not self.config.require
        spi, sequence, begin, end = header
        if spi < 1 << 31:
            packet.drop(MALFORMED)
            return False
        who = esp.addresses(packet.frame) if packet.relayed else int(packet.peer)
        key = (who, packet.vni, spi & 0xFFFF, self.config.key_bits)
        link = self._links.get(key)
        epoch = self._epoch(link, spi)
        if epoch is not None:
            if not epoch.window.fresh(sequence):
                packet.drop(REPLAYED)
                return False
            cipher = epoch.cipher
        elif self._may_begin(link, sequence):
            cipher = self._cipher(packet.peer.packed + self.context.local.packed, packet, spi)
        else:
            packet.drop(STALE)
            return False
        spare, self._spare = self._spare, None
        try:
            opened = esp.open_frame(packet.frame, begin, end, cipher, spi, sequence, spare)
        except InvalidTag:
            packet.drop(WRONG_TAG)
            return False
        if opened is None:
            # This may be a genuine packet with a changed outer header; the original may still arrive.
            packet.drop(MALFORMED)
            return False
        # The packet is genuine: only now may it change the state.
        if epoch is None:
            self._begin(key, link, Epoch(spi, cipher, ReplayWindow(self.config.window, sequence)))
        else:
            epoch.window.mark(sequence)
        self._spare = packet.frame
        packet.frame, packet.vnet = opened
        self._counts["opened"] += 1
        return True

    @staticmethod
    def _epoch(link: Link | None, spi: int) -> Epoch | None:
        if link is None:
            return None
        if link.current.spi == spi:
            return link.current
        return link.previous if link.previous is not None and link.previous.spi == spi else None

    def _may_begin(self, link: Link | None, sequence: int) -> bool:
        """Whether an unknown epoch may begin: it must be newer than the known epochs, and not too old.

        Sequence numbers begin at the sender's boot clock, which is ours, and never go back. So they give the age.
        """
        if link is not None and sequence <= link.current.window.top:
            return False
        now, grace = self._now, self.config.grace_seconds * _SECOND
        return now - self.config.rotation.seconds * _SECOND - grace <= sequence <= now + grace

    def _begin(self, key: LinkKey, link: Link | None, epoch: Epoch) -> None:
        self._counts["epochs_heard"] += 1
        self._links[key] = Link(epoch, link.current if link is not None else None)
        self._links.move_to_end(key)
        if len(self._links) > _LINKS_MAX:
            self._links.popitem(last=False)
