"""The adapter of `cluster.Cluster` for Dask, and the worker that joins a cluster. Dask is optional: `hoverboard[dask]`.

A peer of a Dask cluster can run any code on its workers, as their user, by the scheduler and by the worker's own port.
That user may be root. So an address is tls://, and each peer shows a certificate (`cluster_keys`), unless the caller
asks for `insecure`.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from experiments.sweeps import measuring_process, worker
from experiments.sweeps.cluster import WorkerLost
from experiments.sweeps.cluster_keys import ClusterKeys
from experiments.sweeps.folder import Outcome
from hoverboard.contract.errors import InputError

if TYPE_CHECKING:
    import distributed

_CONNECT_SECONDS = 10
_LOOK_SECONDS = 2.0  # between two checks that a measuring worker is still there
T = TypeVar("T")


def _dask() -> Any:
    try:
        import distributed
    except ImportError:
        raise InputError(
            "Dask is not installed",
            where="--scheduler",
            next_step="run `bootstrap.sh test`, or pip install 'hoverboard[dask]'",
        ) from None
    return distributed


def _security(dask: Any, scheduler: str, keys: ClusterKeys | None, insecure: bool) -> Any:
    """Dask's settings for encryption; None: no encryption.

    Raises:
        InputError: the address is not tls://, without `insecure`; or there are no certificates for it.
    """
    if not scheduler.startswith("tls://"):
        if not insecure:
            raise InputError(
                "without TLS, all users of that network can run code on the workers",
                where=scheduler,
                next_step="give tls://HOST:PORT and --tls DIR (docs/experiments.md), or --insecure in your own network",
            )
        return None
    if keys is None:
        raise InputError("tls:// needs certificates", where=scheduler, next_step="add --tls DIR, the folder of them")
    keys.check()
    names = {
        f"tls_{role}_{part}": str(path)
        for role in ("client", "worker", "scheduler")
        for part, path in (("cert", keys.certificate), ("key", keys.key))
    }
    return dask.security.Security(require_encryption=True, tls_ca_file=str(keys.authority), **names)


def facing(scheduler: str) -> str:
    """The address of this machine that faces the scheduler: the one address that a worker binds.

    Raises:
        InputError: the scheduler's address makes no sense, or there is no way to it.
    """
    host, _, port = scheduler.partition("://")[2].rpartition(":")
    try:
        (family, _, _, _, place), *_ = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
        with socket.socket(family, socket.SOCK_DGRAM) as way:
            way.connect(place)  # sends nothing
            return str(way.getsockname()[0])
    except (OSError, ValueError) as error:
        raise InputError(
            f"no way to the Dask scheduler: {error}", where=scheduler, next_step="give its address as tls://HOST:PORT"
        ) from error


class DaskCluster:
    """The workers of a Dask scheduler.

    Args:
        scheduler: its address, tls://HOST:PORT.
        keys: certificates.
        insecure: take an address without TLS.

    Raises:
        InputError: Dask is not installed, the address is not secure, or there is no scheduler at it.
    """

    def __init__(self, scheduler: str, keys: ClusterKeys | None = None, *, insecure: bool = False) -> None:
        dask = _dask()
        security = _security(dask, scheduler, keys, insecure)
        try:
            self._client: distributed.Client = dask.Client(
                scheduler, timeout=_CONNECT_SECONDS, set_as_default=False, security=security
            )
        except (OSError, ValueError, TypeError) as error:  # TimeoutError is an OSError
            raise InputError(
                f"no Dask scheduler: {str(error) or type(error).__name__}",
                where=scheduler,
                next_step="start a scheduler (docs/experiments.md), and give the address that it prints, as tls://HOST:8786",
            ) from None

    def workers(self) -> dict[str, dict[str, Any]]:
        """The machine of each worker, by address. InputError: a worker measures several points at a time."""
        for address, one in self._present().items():
            if one["nthreads"] != 1:
                raise InputError(
                    f"the worker has {one['nthreads']} threads, and points must be measured alone",
                    where=address,
                    next_step="start workers with `hoverboard experiment worker`",
                )
        return {address: self._have(address, worker.describe) for address in self._present()}

    def measure(self, address: str, job: worker.Job) -> tuple[Outcome, dict[str, str]]:
        """Measure a point on a worker."""
        return self._have(address, measuring_process.measure, job)

    def finish(self, address: str) -> None:
        """Take down the testbeds of a worker."""
        self._have(address, measuring_process.finish)

    def close(self) -> None:
        """Close the connection to the scheduler."""
        self._client.close()

    def _present(self) -> dict[str, dict[str, Any]]:
        return dict(self._client.scheduler_info(n_workers=-1)["workers"])

    def _have(self, address: str, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function on one worker. Dask waits for a lost worker without a limit, so check that it is there."""
        future = self._client.submit(function, *arguments, workers=[address], pure=False, retries=0)
        while True:
            try:
                return future.result(timeout=_LOOK_SECONDS)
            except TimeoutError:
                if self._client.status != "running" or address not in self._present():
                    future.cancel()
                    raise WorkerLost("it no longer answers the scheduler") from None
            except _dask().scheduler.KilledWorker:
                raise WorkerLost("it ended during a measurement") from None


def serve(
    scheduler: str, say: Callable[[str], None], keys: ClusterKeys | None = None, *, insecure: bool = False
) -> None:
    """Run a worker until a signal or the scheduler ends it. It measures one point at a time, on its own testbeds.

    Args:
        scheduler: its address, tls://HOST:PORT.
        say: takes lines for the user.
        keys: certificates.
        insecure: take an address without TLS.

    Raises:
        InputError: Dask is not installed, the address is not secure, or there is no scheduler at it.
        MachineError: this user cannot have a run on this machine.
    """
    dask = _dask()
    settings_of = {"host": facing(scheduler), "security": _security(dask, scheduler, keys, insecure)}
    measuring_process.check()
    import dask as settings

    # The profiler reads the stack every 10 ms, which would disturb the measurements.
    # A worker serves pages over HTTP without any check of who asks: there are none here.
    settings.config.set({"distributed.worker.profile.enabled": False, "distributed.worker.http.routes": []})
    with tempfile.TemporaryDirectory(prefix="hb-dask-") as directory:
        try:
            asyncio.run(_serve(dask, scheduler, directory, say, settings_of))
        finally:
            measuring_process.finish()


async def _serve(
    dask: Any, scheduler: str, directory: str, say: Callable[[str], None], settings: dict[str, Any]
) -> None:
    try:
        one = await asyncio.wait_for(
            dask.Worker(
                scheduler,
                nthreads=1,
                memory_limit=0,
                local_directory=directory,
                death_timeout=_CONNECT_SECONDS,
                dashboard=False,
                dashboard_address="127.0.0.1:0",
                **settings,
            ),
            2 * _CONNECT_SECONDS,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"no Dask scheduler: {str(error) or type(error).__name__}",
            where=scheduler,
            next_step="start a scheduler (docs/experiments.md), and give its address",
        ) from None
    one.http_server.stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: asyncio.ensure_future(one.close(reason="interrupted")))
    say(f"{one.address} measures for {scheduler}; Ctrl-C ends it")
    await one.finished()
