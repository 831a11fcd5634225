"""`python -m controllers`: the control plane as a process.

Ends cleanly on SIGTERM and SIGINT; what the switches hold stays. A second control plane in the same
directory is refused.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import gc
import logging
import os
import signal
import sys
from pathlib import Path

from controllers.plane import ControlPlane, Settings
from controllers.vmc.models import MODELS
from controllers.vmc.offload import OffloadSettings
from hoverboard.contract.errors import HoverboardError, RunError


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m controllers", description="The control plane of one run.")
    parser.add_argument("--dir", type=Path, required=True, help="where control.sock and of.sock are made")
    parser.add_argument("--model", default="hoverboard", choices=sorted(MODELS), help="programming model")
    offload = OffloadSettings()
    for option, default, what in (
        ("--threshold", offload.threshold_bps, "offload above this many bits a second"),
        ("--idle-expiry", offload.idle_expiry, "take an offload back after idle seconds"),
        ("--offload-keep", offload.keep_bps, "an offload that sends more bits a second than this is not idle"),
        ("--offload-lifetime", offload.minimum_lifetime, "seconds for which no bigger pair displaces an offload"),
    ):
        parser.add_argument(option, type=_positive if default else _not_negative, default=default, help=what)
    parser.add_argument("--offload-budget", type=int, default=offload.budget, help="offloads of a host; 0: any number")
    parser.add_argument(
        "--offload-reports", default=offload.reports, choices=["hosts", "hoverboards"], help="who tells of usage"
    )
    parser.add_argument("--offload-policy", metavar="FILE.py:CLASS", help="an offload policy of your own")
    parser.add_argument("--report-interval", type=_positive, default=1.0, help="seconds between usage reports")
    parser.add_argument(
        "--shared-queue", action="store_true", help="one queue of changes for all networks, to compare with"
    )
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    return parser.parse_args()


def _lock(directory: Path) -> int:
    """Hold the directory for this process.

    Raises:
        RunError: another control plane holds it.
    """
    descriptor = os.open(directory / "control.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(
            "a control plane is running here already",
            where=str(directory),
            next_step="end that one first, or give another --dir",
        ) from None
    return descriptor


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    plane = ControlPlane(settings)
    await plane.start()
    logging.getLogger("controllers").info("control plane (%s) serves in %s", settings.model, settings.directory)
    try:
        await stop.wait()
    finally:
        await plane.stop()


def main() -> int:
    """Run until told to stop; returns the exit code."""
    arguments = _arguments()
    logging.basicConfig(
        level=arguments.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    os.umask(0o077)
    # Intent and flows are many objects without cycles: the default thresholds scan them over and over.
    gc.set_threshold(100_000, 20, 100)
    try:
        arguments.dir.mkdir(parents=True, exist_ok=True)
        lock = _lock(arguments.dir)
        offload = OffloadSettings(
            arguments.threshold, arguments.offload_keep, arguments.offload_lifetime, arguments.idle_expiry,
            arguments.offload_budget, arguments.offload_reports,
        )  # fmt: skip
        settings = Settings(
            arguments.dir, arguments.model, offload, arguments.offload_policy, arguments.report_interval,
            fair_queues=not arguments.shared_queue,
        )  # fmt: skip
        asyncio.run(_serve(settings))
        os.close(lock)
    except HoverboardError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
