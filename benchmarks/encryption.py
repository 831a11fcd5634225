"""WAN encryption beside `openssl speed`: CPU time of AES-GCM for the same bytes, and of the whole stage, one thread.

Bar: the stage's AES-GCM costs at most 1.3 times the figure of `openssl speed -evp`. That command leaves out the work
for each packet: a nonce of its own, authenticated data and a tag. With -aead it includes it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from cryptography.hazmat.backends.openssl import backend
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich.table import Table

from benchmarks.harness import command, report
from benchmarks.harness.bars import Bar
from benchmarks.harness.statistics import distribution, paired_ratio, turns
from console.show import tables
from experiments.frame.progress import Progress
from hoverboard import programs
from hoverboard.contract.errors import MachineError, MeasurementError
from hoverboard.coprocessor import esp
from hoverboard.coprocessor.stage import Packet, StageContext
from hoverboard.coprocessor.stages.wan_encryption import WanEncryption

BAR = 1.3
SIZES = (1448, 65_536)  # a TCP payload of an Ethernet frame; a whole segment
_BATCH, _BATCH_BYTES = 32, 1 << 16  # the limits of a coprocessor's batch
_SPARE = 128  # bytes of room behind each frame, as the fast path leaves them
_STAGE_MAX = 64_000  # GUEST_GSO_MAX: a VM sends no larger packets
_HERE, _THERE = IPv4Address("172.16.0.1"), IPv4Address("172.16.0.2")

# The contestants. "seal" and "open" are the stage's call into AES-GCM for each packet.
OPENSSL, OPENSSL_AEAD, SEAL, OPEN, STAGE_OUT, STAGE_IN = NAMES = (
    "openssl speed -evp", "openssl speed -aead -evp", "seal", "open", "stage, egress", "stage, ingress",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a measurement: rounds, whole seconds of each turn, bits of the key."""

    rounds: int
    seconds: int
    bits: int


def parse_speed(printed: str, size: int) -> float:
    """Seconds of CPU for one buffer, from the output of `openssl speed -mr`.

    Raises:
        MeasurementError: the output has no figure.
    """
    found = re.search(r"^\+F:\d+:[^:]+:([\d.]+)$", printed, re.MULTILINE)
    if not found or float(found[1]) <= 0:
        raise MeasurementError(
            f"no figure in {printed.strip()[-200:]!r}", where="openssl speed", next_step="run the same command by hand"
        )
    return size / float(found[1])


def openssl(plan: Plan, size: int, *flags: str) -> float:
    """Seconds of CPU for `size` bytes."""
    program = programs.find("openssl")
    if program is None:
        raise MachineError("there is no openssl command", where="PATH", next_step="install the package openssl")
    line = [program, "speed", "-mr", "-seconds", str(plan.seconds), "-bytes", str(size), *flags]
    line += ["-evp", f"aes-{plan.bits}-gcm"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=plan.seconds * 3 + 20, check=False)
    except subprocess.TimeoutExpired:
        raise MeasurementError("the command did not end", where=" ".join(line), next_step="run it by hand") from None
    return parse_speed(done.stdout, size)


def aead(plan: Plan, size: int, *, opening: bool) -> float:
    """Seconds of CPU of the stage's AES-GCM call for `size` bytes: a nonce, authenticated data, a tag."""
    cipher = AESGCM(os.urandom(plan.bits // 8))
    nonce, known = os.urandom(esp.SALT + esp.IV), os.urandom(12)
    plain, sealed = bytearray(os.urandom(size)), bytearray(size + esp.TAG)
    source, target = memoryview(plain), memoryview(sealed)
    call = cipher.encrypt_into
    call(nonce, source, known, target)
    if opening:
        call, source, target = cipher.decrypt_into, target, source
    count, spent, calls = 0, 0.0, max(1, 2_000_000 // size)
    while spent < plan.seconds:
        begin = time.thread_time()
        for _ in range(calls):
            call(nonce, source, known, target)
        spent += time.thread_time() - begin
        count += calls
    return spent / count


def stage(plan: Plan, size: int, *, ingress: bool) -> float:
    """Seconds of CPU of the whole stage for a packet whose TCP payload is `size`."""
    secret = os.urandom(32)
    sender = WanEncryption(StageContext("a", "h1", _HERE, 1, secret), {"key_bits": plan.bits})
    receiver = WanEncryption(StageContext("b", "h2", _THERE, 1, secret), {"key_bits": plan.bits})
    frame = _frame(min(size, _STAGE_MAX))
    spent, count, wanted = 0.0, 0, min(_BATCH, max(1, _BATCH_BYTES // len(frame)))
    while spent < plan.seconds:
        batch = [Packet(_copy(frame), vni=7, peer=_THERE) for _ in range(wanted)]
        begin = time.thread_time()
        batch = sender.process(batch)
        if ingress:
            for packet in batch:
                packet.direction, packet.peer = "ingress", _HERE
            begin = time.thread_time()
            batch = receiver.process(batch)
        spent += time.thread_time() - begin
        count += len(batch)
        if len(batch) != wanted:
            raise MeasurementError("the stage dropped packets", where="stage", next_step="run the stage's tests")
    return spent / count * (size / min(size, _STAGE_MAX))


def _copy(frame: bytes) -> bytearray:
    made = bytearray(len(frame) + _SPARE)
    made[: len(frame)] = frame
    del made[len(frame) :]
    return made


def _frame(payload: int) -> bytes:
    """A frame with Ethernet, IPv4 and TCP headers; the checksums do not matter."""
    header = bytearray(54)
    header[12:16] = b"\x08\x00\x45\x00"
    header[16:18] = (40 + payload).to_bytes(2, "big")
    header[22:34] = b"\x40\x06\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02"
    return bytes(header) + os.urandom(payload)


Contestant = tuple[str, Callable[[Plan, int], float]]
CONTESTANTS: tuple[Contestant, ...] = (
    (OPENSSL, lambda plan, size: openssl(plan, size)),
    (SEAL, lambda plan, size: aead(plan, size, opening=False)),
    (OPENSSL_AEAD, lambda plan, size: openssl(plan, size, "-aead")),
    (OPEN, lambda plan, size: aead(plan, size, opening=True)),
    (STAGE_OUT, lambda plan, size: stage(plan, size, ingress=False)),
    (STAGE_IN, lambda plan, size: stage(plan, size, ingress=True)),
)


def measure(plan: Plan, progress: Progress) -> list[dict[str, Any]]:
    """Measure all contestants in turns; one row a size, microseconds of CPU a packet."""
    rows = []
    done, total = 0, len(SIZES) * plan.rounds * len(CONTESTANTS)
    for size in SIZES:
        samples: dict[str, list[float]] = {name: [] for name in NAMES}
        for number, order in enumerate(turns(CONTESTANTS, plan.rounds), 1):
            for name, run in order:
                progress(f"{size} bytes: {name}, round {number} of {plan.rounds}", done / total)
                samples[name].append(run(plan, size) * 1e6)
                done += 1
        rows.append(
            {
                "bytes": size,
                "unit": "us of CPU a packet",
                "samples": samples,
                "summary": {name: distribution(values).as_dict() for name, values in samples.items()},
                "over_openssl": {name: paired_ratio(samples[name], samples[OPENSSL]) for name in NAMES[1:]},
            }
        )
    return rows


def bars(rows: list[dict[str, Any]]) -> list[Bar]:
    """AES-GCM here over `openssl speed -evp`, for each size and direction."""
    return [
        Bar(f"AES-GCM, {row['bytes']} bytes: {name} over {OPENSSL}", row["over_openssl"][name], BAR, "<=", "x")
        for row in rows
        for name in (SEAL, OPEN)
    ]


def table(rows: list[dict[str, Any]]) -> Table:
    """Medians, and the rate of one thread that does no other work."""
    return tables.table(
        "CPU time of one packet, one thread, median of the rounds",
        ("bytes", "what", "#us", "#least .. most", "#Gbit/s", "#over openssl"),
        (
            (
                row["bytes"],
                name,
                f"{one['median']:.2f}",
                f"{one['minimum']:.2f} .. {one['maximum']:.2f}",
                f"{row['bytes'] * 8e-3 / one['median']:.2f}",
                f"{row['over_openssl'].get(name, 1.0):.2f} x",
            )
            for row in rows
            for name, one in row["summary"].items()
        ),
    )


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="rounds (%(default)s)")
    parser.add_argument("--seconds", type=int, default=1, metavar="S", help="seconds of each turn (%(default)s)")
    parser.add_argument("--bits", type=int, default=128, choices=(128, 256), help="of the key (%(default)s)")
    given = parser.parse_args(argv)
    command.above_zero(parser, given, "repeat", "seconds")
    return given


def main() -> int:
    """Run `python -m benchmarks.encryption`."""
    given = options()
    plan = Plan(given.repeat, given.seconds, given.bits)

    def run(progress: Progress) -> int:
        rows = measure(plan, progress)
        version = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True).stdout.strip()
        parameters = {
            "rounds": plan.rounds, "seconds": plan.seconds, "key_bits": plan.bits, "openssl": version,
            "cryptography_openssl": backend.openssl_version_text(),
        }  # fmt: skip
        return report.finish(
            "encryption", parameters, {"cases": rows}, bars(rows), [table(rows)], as_json=given.json, out=given.out
        )

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
