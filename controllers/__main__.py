"""`python -m controllers`: runs the control plane as one process, or one of its roles with --role.

SIGTERM and SIGINT end it in order; the switches keep their flows. A directory holds one control plane: a second
one is rejected.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import gc
import logging
import math
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from controllers.crash import Crash, error_place, record_crash
from controllers.roles import front_end_socket
from controllers.roles.fabric_manager import FabricManagerRole
from controllers.roles.front_end import FrontEndRole
from controllers.roles.vm_controller import ReplicaId, VmControllerRole
from controllers.single_process import ControlPlane, Settings
from controllers.store.etcd import EtcdStore
from controllers.store.port import Store
from controllers.store.remote import RemoteStore
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy import OffloadSettings
from hoverboard.contract.errors import HoverboardError, RunError
from hoverboard.contract.models import DEFAULT_MODEL, MODELS, choices
from hoverboard.contract.plugins import absolute, file_of

_STOP_TIMEOUT = 2.0  # seconds that a process has to answer and to stop in order after an unexpected exception


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number greater than 0")
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0")
    return value


def _model(text: str) -> str:
    if text not in MODELS and file_of(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is neither one of {choices()} nor a FILE.py:CLASS")
    return absolute(text, Path())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m controllers", description="The control plane of one run.")
    parser.add_argument("--dir", type=Path, required=True, help="directory for control.sock and of.sock")
    parser.add_argument(
        "--model", type=_model, default=DEFAULT_MODEL, help=f"programming model: {choices()}, or FILE.py:CLASS"
    )
    offload = OffloadSettings()
    for option, default, what in (
        ("--threshold", offload.threshold_bps, "offload a VM pair above this many bits a second"),
        ("--offload-keep", offload.keep_bps, "an offload is idle at or below this many bits a second"),
        ("--offload-lifetime", offload.minimum_lifetime, "seconds before a busier pair may replace an offload"),
    ):
        parser.add_argument(option, type=_not_negative, default=default, help=what)
    parser.add_argument(
        "--idle-expiry", type=_positive, default=offload.idle_expiry,
        help="withdraw an offload after this many idle seconds",
    )  # fmt: skip
    parser.add_argument(
        "--offload-budget", type=int, default=offload.budget, help="maximum number of offloads of a host; 0: no limit"
    )
    parser.add_argument(
        "--offload-reports",
        default=offload.reports,
        choices=["hosts", "hoverboards"],
        help="nodes that send the usage reports",
    )
    parser.add_argument("--offload-policy", metavar="FILE.py:CLASS", help="your own offload policy")
    parser.add_argument("--report-interval", type=_positive, default=1.0, help="seconds between usage reports")
    parser.add_argument(
        "--shared-queue", action="store_true", help="one queue of changes for all networks, for comparison"
    )
    parser.add_argument("--scope", default="whole", choices=["whole", "regional", "global"], help="see docs/regions.md")
    parser.add_argument("--region", help="region of the switches that a regional or global control plane programs")
    roles = parser.add_argument_group("one process for each role")
    roles.add_argument("--role", default="all", choices=["all", "fabric-manager", "vm-controller", "front-end"])
    roles.add_argument("--number", type=int, default=0, help="number of this front end")
    roles.add_argument("--partition", type=int, default=0, help="partition of this VM controller")
    roles.add_argument("--partitions", type=int, default=1, help="number of partitions")
    roles.add_argument("--replica", type=int, default=0, help="number of this VM controller within its partition")
    roles.add_argument("--front-ends", type=int, default=1, help="number of front ends")
    roles.add_argument(
        "--store",
        default="embedded",
        metavar="embedded|SOCKET,...",
        help="store for elections: embedded in the fabric manager, or the sockets of etcd's members",
    )
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    arguments = parser.parse_args()
    if (arguments.scope == "whole") != (arguments.region is None):
        parser.error("--scope regional and --scope global need --region, and only they take it")
    if arguments.scope != "whole" and arguments.role != "all":
        parser.error("--scope needs a control plane in one process (--role all)")
    return arguments


def _lock(directory: Path, name: str) -> int:
    """Lock the directory for this process.

    Raises:
        RunError: another control plane holds the lock.
    """
    descriptor = os.open(directory / f"{name}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(
            f"{'a control plane' if name == 'control' else name} already runs in this directory",
            where=str(directory),
            next_step="stop it first, or use another --dir",
        ) from None
    return descriptor


class _Runs(Protocol):
    async def answered(self) -> None:
        """Wait until all requests have their answers."""

    async def stop(self) -> None:
        """Stop in order."""


def _store(arguments: argparse.Namespace) -> Store:
    if arguments.store == "embedded":
        return RemoteStore(f"unix:{arguments.dir / 'control.sock'}")
    return EtcdStore(arguments.store.split(","))


async def _start(arguments: argparse.Namespace, settings: Settings) -> _Runs:
    """Start the roles that the arguments name; they run until `stop`."""
    match arguments.role:
        case "fabric-manager":
            manager = FabricManagerRole(settings, arguments.partitions, embedded=arguments.store == "embedded")
            await manager.start()
            return manager
        case "vm-controller":
            return VmControllerRole(
                model_named(settings.model),
                settings.offload,
                settings.offload_policy,
                ReplicaId(arguments.partition, arguments.partitions, arguments.replica),
                _store(arguments),
                f"unix:{settings.directory / 'control.sock'}",
                [f"unix:{front_end_socket(settings.directory, number)}" for number in range(arguments.front_ends)],
            )
        case "front-end":
            front_end = FrontEndRole(
                front_end_socket(settings.directory, arguments.number),
                _store(arguments),
                settings.report_interval,
                report_relayed=settings.offload.reports == "hoverboards",
            )
            await front_end.start()
            return front_end
        case _:
            plane = ControlPlane(settings)
            await plane.start()
            return plane


async def _serve(arguments: argparse.Namespace, settings: Settings, name: str) -> int:
    """Run until a signal or an unexpected exception; return the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    crash = Crash(stop.set)
    loop.set_exception_handler(crash)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    running = await _start(arguments, settings)
    logging.getLogger("controllers").info("%s (%s) serves in %s", name, settings.model, settings.directory)
    try:
        await stop.wait()
    finally:
        if crash.error is None:
            await running.stop()
        else:
            record_crash(settings.directory, name, error_place(crash.error))
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_TIMEOUT):
                    await running.answered()
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_TIMEOUT):
                    await running.stop()
    return 0 if crash.error is None else 1


def _name(arguments: argparse.Namespace) -> str:
    match arguments.role:
        case "vm-controller":
            return f"vm-controller-{arguments.partition}-{arguments.replica}"
        case "front-end":
            return f"front-end-{arguments.number}"
        case "fabric-manager":
            return "fabric-manager"
        case _:
            return "control"


def main() -> int:
    """Run the control plane until it is stopped; return the exit code."""
    arguments = _arguments()
    logging.basicConfig(
        level=arguments.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    os.umask(0o077)
    # Intent and flows are many objects without cycles. With the default thresholds, Python would scan them very often.
    gc.set_threshold(100_000, 20, 100)
    lock = None
    name = _name(arguments)
    try:
        arguments.dir.mkdir(parents=True, exist_ok=True)
        lock = _lock(arguments.dir, name)
        offload = OffloadSettings(
            arguments.threshold, arguments.offload_keep, arguments.offload_lifetime, arguments.idle_expiry,
            arguments.offload_budget, arguments.offload_reports,
        )  # fmt: skip
        settings = Settings(
            arguments.dir, arguments.model, offload, arguments.offload_policy, arguments.report_interval,
            fair_queues=not arguments.shared_queue,
            scope=arguments.scope, region=arguments.region,
        )  # fmt: skip
        code = asyncio.run(_serve(arguments, settings, name))
        os.close(lock)
    except HoverboardError as error:
        print(error, file=sys.stderr)
        if lock is not None:  # else another process of this name runs
            record_crash(arguments.dir, name, str(error).partition("\n")[0])
        return error.exit_code
    return code


if __name__ == "__main__":
    sys.exit(main())
